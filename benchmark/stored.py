"""Predictions as they lie on disk, with all that a record will say of them: enough to be scored without the method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from avbench.errors import AvbenchError, UsageError
from avbench.records import Selection, selection_of
from avbench.request import Job, RecordPlace, part_count, part_path
from avbench.store import read_json, write_json

OBJECT_PRIOR = "ogl"
"""The method whose map the refinement ogl fuses in."""

ABOUT = "about.json"
FORMAT = 1
"""Version of the description's form."""


@dataclass(frozen=True)
class Stored:
    """One method's predictions on one split.

    Attributes:
        folder: of the part files.
        key: SHA-256 over everything that the predictions depend on.
        control: whether the method is a control, which is never refined.
        truth: name of the truth file, below the same runs folder.
        expected: samples that the split lists.
        missing: ids of those without media.
        resolved: what records say of the method: name, origin, config, checkpoint.
        inputs: what the key is made of.
        asked: the command and the device that made the predictions.
    """

    folder: Path
    key: str
    method: str
    control: bool
    audio: str
    split: str
    split_sha256: str
    truth: str
    expected: int
    missing: tuple[str, ...]
    resolved: dict[str, Any]
    inputs: dict[str, Any]
    asked: dict[str, str]

    @property
    def runs(self) -> Path:
        """The folder of predictions, records and truths that this one belongs to."""
        return self.folder.parents[2]

    @property
    def truth_path(self) -> Path:
        """The file that holds what is true of these samples."""
        return self.runs / "truth" / self.truth

    @property
    def samples(self) -> int:
        """How many were predicted."""
        return self.expected - len(self.missing)

    @property
    def has_image_query(self) -> bool:
        """Whether the method gave image-query maps beside its own."""
        from safetensors import safe_open

        with safe_open(part_path(self.folder, 0), framework="numpy") as file:
            return "extra.image_query" in file.keys()  # noqa: SIM118 - no dict

    @property
    def selection(self) -> Selection:
        """How the checkpoint was chosen, as the records of these predictions say it."""
        return selection_of({**self.resolved, "split": {"name": self.split, "sha256": self.split_sha256}})

    @property
    def title(self) -> str:
        """The method, and what it heard where that is not the sample's own sound."""
        return self.method if self.audio == "true" else f"{self.method} ({self.audio} audio)"


@dataclass(frozen=True)
class Task:
    """Predictions, and the rows wanted of them.

    Attributes:
        rows: ``(variant, protocol)`` pairs.
        prior_key: key of the predictions whose map ``av+ogl`` fuses in.
    """

    stored: Stored
    rows: tuple[tuple[str, str], ...]
    prior_key: str | None = None

    @property
    def is_prior(self) -> bool:
        """Whether the maps are those that others fuse in."""
        return self.stored.method == OBJECT_PRIOR

    def record_path(self, variant: str, protocol: str) -> Path:
        """Where the record of one row under one protocol stands."""
        stored = self.stored
        place = RecordPlace(stored.runs, stored.split, stored.method, stored.key, self.prior_key, stored.truth)
        return place.path(variant, protocol)


def describe_job(job: Job, *, truth: Path, resolved: dict[str, Any], device: str) -> Stored:
    """The description of a job's predictions."""
    return Stored(
        folder=job.folder,
        key=job.key,
        method=job.method.ref.name,
        control=job.method.info.control,
        audio=job.settings.audio if "audio" in job.method.info.needs else "true",
        split=job.split.name,
        split_sha256=job.split.sha256,
        truth=truth.name,
        expected=job.coverage.expected,
        missing=job.coverage.missing,
        resolved=resolved,
        inputs=job.ingredients,
        asked={"command": job.settings.command, "device": device},
    )


def write_stored(stored: Stored) -> None:
    """Write the description into its folder; of one that is there only the truth changes, if masks or sources did."""
    path = stored.folder / ABOUT
    content = {"format": FORMAT, **{name: value for name, value in asdict(stored).items() if name != "folder"}}
    known = read_json(path) if path.exists() else content
    if not path.exists() or known.get("truth") != stored.truth:
        write_json(path, {**known, "truth": stored.truth})


def read_stored(folder: Path) -> Stored:
    """Read the description of a folder of predictions, and make sure that they are complete.

    Raises:
        AvbenchError: if there is none, it is of another format or changed, or part files are missing.
    """
    content = _described(folder / ABOUT)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise AvbenchError(
            f"expected predictions described in format {FORMAT} in {folder}, found another form: run their method "
            "again with this version of avbench"
        )
    names = {field.name for field in fields(Stored)} - {"folder"}
    given = {name: value for name, value in content.items() if name != "format"}
    if set(given) != names:
        wrong = ", ".join(sorted(set(given) ^ names))
        raise AvbenchError(f"{folder / ABOUT} is incomplete or changed ({wrong}): delete the folder and run again")
    stored = Stored(folder=folder, **{**given, "missing": tuple(given["missing"])})
    absent = [n for n in range(part_count(stored.samples)) if not part_path(folder, n).exists()]
    if absent:
        raise AvbenchError(
            f"{len(absent)} of the {part_count(stored.samples)} part files of {stored.title} on {stored.split} are "
            f"missing in {folder}: repeat the run that was interrupted ({stored.asked['command'] or 'avbench run'})"
        )
    return stored


def _described(path: Path) -> Any:
    try:
        return read_json(path)
    except AvbenchError as problem:
        raise AvbenchError(f"{problem}; it describes the predictions beside it: run their method again") from None


def find_stored(places: Sequence[Path]) -> list[Stored]:
    """The predictions that ``places`` name, each once: folders of predictions, records, or folders that hold either.

    Raises:
        UsageError: for a place that is not there or holds none.
        AvbenchError: for predictions that cannot be used.
    """
    found: dict[Path, Stored] = {}
    for place in places:
        folders = list(_folders(place))
        if not folders:
            raise UsageError(
                f"expected predictions in {place}, found none: name a runs folder, or one below its predictions/"
            )
        for folder in folders:
            found.setdefault(folder.resolve(), read_stored(folder))
    return list(found.values())


def _folders(place: Path) -> Iterator[Path]:
    if not place.exists():
        raise UsageError(f"expected a folder of predictions or a record at {place}, found nothing: check the path")
    if place.is_file():
        yield place.parent if place.name == ABOUT else _of_record(place)
        return
    below = place / "predictions" if (place / "predictions").is_dir() else place
    folders = sorted(about.parent for about in below.rglob(ABOUT))
    unnamed = {part.parent for part in below.rglob("part-*.safetensors")} - set(folders)
    if unnamed:
        raise AvbenchError(
            f"the predictions in {min(unnamed)} lack their {ABOUT}, without which nothing says whose they are: run the "
            "method again, or move them elsewhere"
        )
    yield from folders


def _of_record(path: Path) -> Path:
    from avbench.records import read_record

    if path.suffix != ".json" or path.parent.parent.name != "records":
        raise UsageError(
            f"expected a runs folder, a folder below its predictions/ or a record below its records/, got {path}"
        )
    record = read_record(path)
    folder = path.parents[2] / "predictions" / record.split / f"{record.method}-{record.provenance['key'][:12]}"
    if not (folder / ABOUT).exists():
        raise AvbenchError(f"the predictions of the record {path} are not kept at {folder}: run the method again")
    return folder
