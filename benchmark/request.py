"""What a run is asked to do, and the keys under which its results are found again. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from avbench.checkpoints import sha256_of
from avbench.data.audio_modes import AudioMode
from avbench.data.coverage import Coverage, media_fingerprint
from avbench.data.splits import Sample, Split
from avbench.errors import UsageError, unknown_name
from avbench.metrics.protocols import PROTOCOLS, Protocol, Truth, get_protocol
from avbench.registry import MethodInfo, MethodRef
from avbench.sources import source_fingerprint
from avbench.store import code_fingerprint, fingerprint, hash_json
from avbench.truth import truth_path

Refinement = Literal["none", "ogl", "iqr"]
ALL = "all"
"""In the place of protocols: every one that a split has the truth for."""

PART = 256
"""Samples in a part file; batches never straddle two parts, so that a resumed run gives the same bytes."""

DECODING = tuple(
    f"data/{name}.py"
    for name in (
        *("annotations", "batches", "decoding", "layouts", "loader", "names", "packed", "places", "shelves"),
        *("sound_files", "splits", "stacking", "video", "walking"),
    )
)
"""The source on which it depends what is decoded for a sample."""

PREDICTING = (
    *("types.py", "frontends.py", "augment.py", "checkpoints.py", "official_files.py", "building.py", "predicting.py"),
    *("parts.py", "nets", *DECODING, "data/audio_modes.py", "data/pack_manifest.py", "data/packs.py", "data/shards.py"),
    *(f"data/readers{family}.py" for family in ("", "_lists", "_multisource", "_pairs", "_strict", "_xml")),
    *("data/user_sets.py", "data/user_tables.py"),
)
"""The source on which predictions depend, beside the method's own file."""

FUSED: dict[Refinement, str] = {"iqr": "iqr", "ogl": "av+ogl"}
"""The variant that each refinement adds."""

COMBINED = "iqr+ogl"
"""The variant that both refinements together add: their maps' mean is fused in (JSA ``test_model.py``)."""

WITH_OBJECTS = (FUSED["ogl"], COMBINED)
"""The variants that depend on the object map."""

SCORING = (
    *("scoring.py", "aggregating.py", "several_sources.py", "retrieval.py", "truth.py", "stored.py", "parts.py"),
    *("types.py", "metrics"),
)
"""The source on which the numbers of stored predictions depend."""


@dataclass(frozen=True)
class MethodRequest:
    """One method of a run."""

    ref: MethodRef
    info: MethodInfo
    checkpoint: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def checkpoint_sha256(self) -> str | None:
        """Hash of the weights; None without a checkpoint."""
        return None if self.checkpoint is None else sha256_of(self.checkpoint)


@dataclass(frozen=True)
class Settings:
    """How the methods of a run are applied to a split."""

    protocols: tuple[str, ...] = ("common",)
    """Names, or ``all``."""
    audio: AudioMode = "true"
    audio_rate: int | None = 16_000
    """Hz; None leaves every file at its own rate, as the official loaders do."""
    refine: tuple[Refinement, ...] = ()
    retrieval: bool = False
    allow_missing: bool = False
    device: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    runs: Path = Path("runs")
    command: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs", Path(self.runs))
        for protocol in self.protocols:
            if protocol != ALL:
                protocol_called(protocol)
        for kind, values, known in (
            ("audio mode", (self.audio,), get_args(AudioMode)),
            ("refinement", self.refine, tuple(FUSED)),
        ):
            for value in values:
                if value not in known:
                    raise unknown_name(kind, value, known, f"the list {', '.join(known)}")
        check_batch_size(self.batch_size)


@dataclass(frozen=True)
class Job:
    """One method on one split: the unit that has a key, a folder of part files, and records."""

    method: MethodRequest
    split: Split
    coverage: Coverage
    settings: Settings
    prior_key: str | None = None
    """Key of the job whose map ``av+ogl`` fuses in."""

    @cached_property
    def key(self) -> str:
        """SHA-256 over everything that the predictions depend on, known without torch and without reading media."""
        return hash_json(self.ingredients)

    @cached_property
    def ingredients(self) -> dict[str, Any]:
        """What the key is made of, written beside the predictions."""
        request = self.method
        needs = request.info.needs
        media = [need for need in needs if need != "objects"]
        return {
            "method": request.ref.name,
            "method_source": source_fingerprint(request.ref),
            "overrides": contents(request.overrides),
            "checkpoint": request.checkpoint_sha256,
            "split": self.split.sha256,
            "objects": hash_json([sample.objects for sample in self.split.samples]) if "objects" in needs else None,
            "missing": list(self.coverage.missing),
            "media": media_fingerprint(self.split, media) if media else None,
            "audio": self.settings.audio if "audio" in needs else "true",
            "audio_rate": self.settings.audio_rate if "audio" in needs else None,
            "embeddings": self.settings.retrieval,
            "code": code_fingerprint(*PREDICTING),
        }

    @property
    def folder(self) -> Path:
        """Where the part files stand."""
        return self.settings.runs / "predictions" / self.split.name / f"{self.method.ref.name}-{self.key[:12]}"

    def rows(self) -> list[tuple[str, str]]:
        """The ``(variant, protocol)`` pairs that this job's predictions give: see :func:`rows_of`."""
        return rows_of(self.settings.protocols, () if self.method.info.control else self.settings.refine)

    def record_path(self, variant: str, protocol: str) -> Path:
        """Where the record of one row under one protocol stands."""
        return self._place.path(variant, protocol)

    @cached_property
    def _place(self) -> RecordPlace:
        runs, split = self.settings.runs, self.split
        return RecordPlace(
            runs, split.name, self.method.ref.name, self.key, self.prior_key, truth_path(split, runs).name
        )


@dataclass(frozen=True)
class RecordPlace:
    """Where the records of some predictions stand, and what their names are made of."""

    runs: Path
    split: str
    method: str
    key: str
    prior_key: str | None
    truth: str
    """Name of the file that holds what is true of the samples: masks and sources are in no key of predictions."""

    def path(self, variant: str, protocol: str) -> Path:
        """The file of one row under one protocol."""
        prior = self.prior_key if variant in WITH_OBJECTS else None
        key = hash_json([self.key, prior, variant, protocol, self.truth, code_fingerprint(*SCORING)])[:12]
        plain = protocol.replace(":", "-")  # a colon is not allowed in the file names of every system
        return self.runs / "records" / self.split / f"{self.method}.{variant}.{plain}-{key}.json"


def rows_of(protocols: Sequence[str], refine: Sequence[Refinement]) -> list[tuple[str, str]]:
    """The ``(variant, protocol)`` pairs of a method's predictions, in the order of a table.

    ``av`` always; with the refinement iqr ``image_query`` and ``iqr``, with ogl ``av+ogl``, with both ``iqr+ogl``
    as well; fused variants under the protocols that define a fusion, and of several sources the plain map alone.
    """
    plain = ["av", *(["image_query"] if "iqr" in refine else [])]
    fused = [variant for part, variant in FUSED.items() if part in refine]
    fused += [COMBINED] if len(refine) == len(FUSED) else []
    found = []
    for name in protocols:
        protocol = protocol_called(name)
        variants = ["av"] if protocol.truth == "sources" else plain + (fused if protocol.fusion else [])
        found += [(variant, name) for variant in variants]
    return found


def part_count(samples: int) -> int:
    """The number of parts that ``samples`` fill."""
    return -(-samples // PART)


def part_path(folder: Path, number: int) -> Path:
    """The file of part ``number``, counted from 0."""
    return folder / f"part-{number:05d}.safetensors"


def contents(overrides: dict[str, Any]) -> dict[str, str]:
    """Settings as text for a key; a setting that names a file counts by what is in it."""
    found = {}
    for key, value in overrides.items():
        is_file = isinstance(value, str) and Path(value).is_file()
        found[key] = fingerprint([Path(value)]) if is_file else str(value)
    return found


def protocol_called(name: str) -> Protocol:
    """The protocol that a request names, with its parameter if it gives one.

    Raises:
        UsageError: for an unknown name, or a parameter that the protocol does not take.
    """
    base = name.partition(":")[0]
    if base not in PROTOCOLS:
        raise unknown_name("protocol", base, PROTOCOLS, "avbench list protocols")
    try:
        return get_protocol(name)
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def protocols_for(split: Split, asked: Sequence[str]) -> tuple[str, ...]:
    """The protocols asked for; ``all`` stands for every one that the split has the truth for.

    Raises:
        UsageError: for a split without truth, or one that scores against masks or several sources where it has none.
    """
    kinds = truth_kinds(split.samples)
    if not kinds:
        raise UsageError(_no_truth(split))
    found = [name for one in asked for name in (PROTOCOLS if one == ALL else [one])]
    fitting = [name for name in found if protocol_called(name).truth in kinds]
    for name in asked:
        if name != ALL and name not in fitting:
            kind = protocol_called(name).truth
            raise UsageError(
                f"the protocol {name} scores against {kind}, which the split {split.name} does not have: leave it out, "
                f"or name one of {', '.join(p for p in PROTOCOLS if PROTOCOLS[p].truth in kinds)}"
            )
    return tuple(dict.fromkeys(fitting))


def truth_kinds(samples: Sequence[Sample]) -> set[Truth]:
    """What the samples can be scored against; where boxes are asked, a mask stands for those of a sample without."""
    masks = [sample.mask is not None for sample in samples if sample.sounding]
    told = not masks or any(masks) or any(sample.boxes for sample in samples)
    found: set[Truth] = {"boxes"} if told else set()
    if masks and all(masks):
        found.add("masks")
    if any(len(sample.sources) > 1 for sample in samples):
        found.add("sources")
    return found


def _no_truth(split: Split) -> str:
    if split.purpose != "test":
        use = "train" if split.purpose == "train" else "validate a training"
        return f"the split {split.name} is a list to {use} on, without truth to score against: name a test split"
    return f"the split {split.name} has no boxes, and no masks were found: its masks lie with the media, pass --data"


def require_image_query(method: str, extra: Iterable[str]) -> None:
    """Refuse the refinement iqr for a method whose further maps ``extra`` hold no ``image_query``.

    Raises:
        UsageError: if so.
    """
    if "image_query" not in extra:
        raise UsageError(
            f"the refinement iqr needs a method with an image-query map, as jsa has; {method!r} has none: "
            "leave --refine iqr out or name methods that have one"
        )


def check_batch_size(size: int) -> None:
    """Refuse a batch size that would make part files depend on where a run was interrupted.

    Raises:
        UsageError: if ``size`` does not divide the samples of a part file.
    """
    if size < 1 or PART % size:
        raise UsageError(
            f"the batch size must divide {PART}, the samples of a part file; got {size}: use a power of two"
        )
