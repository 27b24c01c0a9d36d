"""Which results of ours fill a cell of a published table: the same method, training, test list, protocol and selection.

A training counts as the paper's where its settings are those of the package's recipe; another number of epochs or
another batch is told beside the number. Authors' files do not say what they were trained on: their name has to.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from avbench.leaderboards.paper_wanted import Wanted, published_settings, recipe_called
from avbench.records import Record, Selection

if TYPE_CHECKING:
    from avbench.leaderboards.entries import Badge, Entry

BADGES: tuple[Badge, ...] = ("verified", "submitted", "local")
"""The first of these that a cell has a result of is shown."""
SUPERVISED_ENCODER = "resnet18"
"""The built-in encoder that learnt from labels; of neighbours found by others the files are known by their hashes."""
NEEDLESS = frozenset({"decoders", "heads"})
"""Settings that leave out what training alone uses."""
ASIDE = frozenset(
    {"name", "method", "split", "selection", "summary", "seed", "method_values", "image_neighbours", "audio_neighbours"}
)
"""Values of a recipe that are judged elsewhere, or may differ from run to run."""
AUTHORS_FILE = "authors' weights, which do not say how the checkpoint was chosen; trained on {train} by the file's name"
NOT_LAST = "best on a validation list, as nothing of the last epoch is there"


@dataclass(frozen=True)
class Run:
    """A result and the entry that it stands in."""

    record: Record
    entry: Entry


@dataclass(frozen=True)
class Ours:
    """What fills a cell: one run, or several that differ in the seed alone."""

    runs: tuple[Run, ...]
    metric: str
    badge: Badge
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """The runs' numbers, fractions in [0, 1]."""
        return tuple(run.record.metrics[self.metric] for run in self.runs)

    @property
    def value(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation (of a sample: n - 1); None for one run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def samples(self) -> int:
        """Samples of the test list, all of which were scored."""
        return self.runs[0].record.n_scored

    @property
    def selection(self) -> Selection:
        """How the checkpoints were chosen."""
        return self.runs[0].record.selection


def ours(want: Wanted, entries: Sequence[Entry]) -> Ours | None:
    """What fills the cell; None for nothing.

    Of several results the better selection goes first, then the badge as in :data:`BADGES`, then trainings by the
    recipe as it is; within those all seeds count, each once, by the run that ended last.
    """
    found: dict[tuple[int, int, tuple[str, ...]], dict[Any, Run]] = {}
    for run in candidates(want, entries):
        told = notes_of(want, run.record)
        place = (want.selections.index(run.record.selection), BADGES.index(run.entry.badge), told)
        seeds, key = found.setdefault(place, {}), seed_of(run.record)
        if key not in seeds or _ended(seeds[key]) < _ended(run):
            seeds[key] = run
    if not found:
        return None
    best = min(found, key=lambda place: (*place[:2], len(place[2]), place[2]))
    runs = tuple(run for _, run in sorted(found[best].items(), key=lambda item: str(item[0])))
    return Ours(runs, want.metric, runs[0].entry.badge, best[2])


def candidates(want: Wanted, entries: Iterable[Entry]) -> list[Run]:
    """All results that may stand in the cell."""
    return [Run(record, entry) for entry in entries for record in entry.records if fits(want, record)]


def fits(want: Wanted, record: Record) -> bool:
    """Whether a result may stand in the cell; a partial one never does, nor one of another sound."""
    value = record.metrics.get(want.metric, float("nan"))
    return (
        (record.method, record.variant, record.split, record.protocol)
        == (want.method, want.variant, want.split, want.protocol)
        and record.audio == "true"
        and not record.partial
        and value == value  # a number
        and _as_here(want, record)
        and record.selection in want.selections
        and _chosen_here(record)
        and _same_training(want, record)
    )


def seed_of(record: Record) -> Any:
    """The seed of the training; None where none is told."""
    return _training(record).get("recipe", {}).get("seed")


def notes_of(want: Wanted, record: Record) -> tuple[str, ...]:
    """What must be said of a result that stands in the cell."""
    training = _training(record)
    found = []
    if want.train is not None and not training.get("split"):
        found.append(AUTHORS_FILE.format(train=want.train))
    if record.selection == "validation" and want.selections[0] == "last":
        found.append(NOT_LAST)
    return (*found, *_changes(want, training.get("recipe")))


def _as_here(want: Wanted, record: Record) -> bool:
    """Whether a result is of the package's method, list, and versions of the protocol and the metric."""
    from avbench.data.splits import split_summary
    from avbench.metrics.catalogue import METRICS
    from avbench.metrics.protocols import get_protocol

    known, ours = record.provenance, split_summary(want.split)
    return bool(
        known["method"].get("origin") == "built-in"
        and (not ours.sha256 or known["split"].get("sha256") == ours.sha256)
        and known["protocol"].get("version") == get_protocol(want.protocol).version
        and known["metrics"].get(want.metric) == METRICS[want.metric].version
    )


def _chosen_here(record: Record) -> bool:
    """Whether the best on a test set is the best on the record's own: by name, and by hash where one is told."""
    chosen = (record.provenance.get("checkpoint") or {}).get("selected") or {}
    own = record.provenance["split"].get("sha256")
    return record.selection != "oracle" or (chosen.get("split") == record.split and chosen.get("sha256", own) == own)


def _ended(run: Run) -> str:
    return str(run.record.run.get("finished", ""))


def _training(record: Record) -> Mapping[str, Any]:
    checkpoint = record.provenance.get("checkpoint") or {}
    return checkpoint.get("training") or {}


def _same_training(want: Wanted, record: Record) -> bool:
    if want.train is None:
        return True
    training = _training(record)
    split = training.get("split")
    if not split:
        return _is_named_after(record, want.train) and _has(record, want.settings)
    return (
        not want.released
        and split["name"] == want.train
        and _is_our_list(want.train, split)
        and _has(record, {**published_settings(want.method, want.recipe), **want.settings})
        and _same_search(want, training.get("neighbours", {}))
    )


def _is_our_list(name: str, told: Mapping[str, Any]) -> bool:
    """Whether a list of this name is the package's; where one of both has no hash its name is all there is."""
    from avbench.data.splits import split_summary

    return not split_summary(name).sha256 or told.get("sha256") in {None, split_summary(name).sha256}


def _is_named_after(record: Record, train: str) -> bool:
    """Whether the name of an authors' file, or of the folder that it was converted into, says the training list."""
    checkpoint = record.provenance.get("checkpoint") or {}
    source = _training(record).get("converted", {}).get("file", "")
    return any(_plain(train) in _plain(name or "") for name in (checkpoint.get("name"), source))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _has(record: Record, settings: Mapping[str, Any]) -> bool:
    """Whether the method was set so; of pretrained weights it matters only whether there were any."""
    config = record.provenance.get("config") or {}
    return all(
        bool(config.get(key)) == bool(value) if key == "pretrained" else config.get(key) == value
        for key, value in settings.items()
        if key not in NEEDLESS
    )


def _same_search(want: Wanted, neighbours: Mapping[str, Any]) -> bool:
    """Whether neighbours were found as the paper found them, as far as the training tells."""
    if not want.neighbours:
        return True
    labels = neighbours.get("image") == SUPERVISED_ENCODER
    supplied = all(_is_supplied(neighbours.get(key)) for key in ("image", "audio"))
    return (labels and _is_supplied(neighbours.get("audio"))) if want.neighbours == "supervised" else supplied


def _is_supplied(source: Any) -> bool:
    """Whether neighbours come from a file, which is known by its SHA-256."""
    return isinstance(source, str) and re.fullmatch(r"[0-9a-f]{64}", source) is not None


def _changes(want: Wanted, used: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Values of the recipe that are not its own."""
    if want.recipe is None or used is None:
        return ()
    own = {key: value for key, value in asdict(recipe_called(want.method, want.recipe)).items() if key not in ASIDE}
    return tuple(
        f"trained with {key} {_shown(used[key])} instead of {_shown(value)}"
        for key, value in own.items()
        if key in used and _listed(used[key]) != _listed(value)
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
