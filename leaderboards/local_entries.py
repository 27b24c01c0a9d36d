"""Entries out of runs folders: what ``avbench run`` recorded, with maps, parameters and the answer about listening."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from avbench.errors import AvbenchError, UsageError
from avbench.leaderboards.entries import Entry, Parameters, gallery_ids, in_order
from avbench.records import Record, Selection, read_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from avbench.listening import Listening

LARGEST_SIDE = 16
"""Of a kept map: larger ones, as those of controls, are averaged down to it."""

BATCH = 2
"""Samples of the batch on which parameters are counted: the least that a contrast and a normalisation need."""

Note: TypeAlias = Callable[[str], None]
"""Takes a sentence on what was left out."""


def _unsaid(text: str) -> None:
    del text


def entries_of_runs(
    places: Sequence[Path], *, trainings: Mapping[str, Path] | None = None, note: Note = _unsaid
) -> list[Entry]:
    """The local entries of runs folders: each method, selection and predictions with their own sounds on a split.

    Of several records of one row, as another version of the code leaves them, the one that was made last counts.

    Args:
        places: Runs folders.
        trainings: Folders of trainings by method, whose evaluations the method's entries then hold.
        note: Called once for each entry that is left out for being partial.

    Returns:
        By split, method, selection and key.

    Raises:
        UsageError: for a place that is no runs folder.
        AvbenchError: for a file that cannot be used.
    """
    found = []
    for runs in dict.fromkeys(place.resolve() for place in places):
        for records in _groups(_records(runs)).values():
            if any(record.partial for record in records):
                note(_partial(records, runs))
            else:
                found.append(_entry(records, runs, trainings or {}))
    return sorted(found, key=lambda entry: (entry.split, entry.method, entry.selection, entry.key))


def collect(
    runs: Path,
    *,
    split: str,
    method: str,
    selection: Selection | None = None,
    key: str | None = None,
    trainings: Mapping[str, Path] | None = None,
) -> Entry:
    """The one local entry of a runs folder that is of this method and split.

    Args:
        runs: A runs folder.
        split: Name.
        method: Name.
        selection: Where there are several.
        key: Of the predictions, or its beginning, where there are several.
        trainings: As of :func:`entries_of_runs`.

    Raises:
        UsageError: for another number than one, or a place that is no runs folder.
        AvbenchError: for partial records, or a file that cannot be used.
    """
    groups = [
        records
        for (of_split, of_method, of_selection, of_key, _), records in _groups(_records(runs.resolve())).items()
        if (of_split, of_method) == (split, method)
        and selection in {None, of_selection}
        and of_key.startswith(key or "")
    ]
    if len(groups) != 1:
        there = ", ".join(sorted(_titled(records[0]) for records in groups)) or "none"
        raise UsageError(
            f"expected records of one checkpoint of {method} on {split} with its own sounds in {runs}, found {there}: "
            "name its selection or its key, or score it"
        )
    if any(record.partial for record in groups[0]):
        raise AvbenchError(_partial(groups[0], runs))
    return _entry(groups[0], runs.resolve(), trainings or {})


def _records(runs: Path) -> list[Record]:
    """Those with a sample's own sound."""
    if not (runs / "records").is_dir():
        raise UsageError(f"expected a runs folder with records/ in it, got {runs}: name one that avbench run filled")
    paths = [path for path in sorted(runs.glob("records/*/*.json")) if ".listening-" not in path.name]
    return [record for record in map(read_record, paths) if record.audio == "true"]


def _groups(records: Sequence[Record]) -> dict[tuple[str, str, str, str, str], list[Record]]:
    """By split, method, selection, key and truth; one record of each row."""
    found: dict[tuple[str, str, str, str, str], dict[tuple[str, str], Record]] = {}
    for record in sorted(records, key=lambda one: (str(one.run.get("finished")), one.path.name)):
        key, truth = str(record.provenance["key"]), str(record.provenance["truth"])
        rows = found.setdefault((record.split, record.method, record.selection, key, truth), {})
        rows[record.variant, record.protocol] = record
    return {group: list(rows.values()) for group, rows in found.items()}


def _titled(record: Record) -> str:
    return f"{record.method} ({record.selection}, {record.provenance['key'][:12]})"


def _partial(records: Sequence[Record], runs: Path) -> str:
    one = next(record for record in records if record.partial)
    return (
        f"{_titled(one)} on {one.split} in {runs} is left out, being partial ({one.n_scored} of {one.n_expected} "
        "samples): predict all samples"
    )


def _entry(records: Sequence[Record], runs: Path, trainings: Mapping[str, Path]) -> Entry:
    first = records[0]
    config = first.provenance.get("config")
    built_in = first.provenance["method"].get("origin") == "built-in" and config is not None
    bare = Entry(
        badge="local",
        records=in_order(records),
        parameters=_parameters(first.method, json.dumps(config, sort_keys=True)) if built_in else None,
        listening=_listening(first, runs),
        evaluations=_evaluations(trainings[first.method]) if first.method in trainings else (),
        path=runs,
    )
    return replace(bare, maps=_maps(bare))


@cache
def _parameters(method: str, config: str) -> Parameters | None:
    """Of a built-in method with these settings; None where this version of it does not take them."""
    from avbench.building import build
    from avbench.measuring import count
    from avbench.registry import find_method

    values = json.loads(config)
    if "pretrained" in values:  # weights that are loaded first move no count
        values["pretrained"] = None
    try:
        counts = count(build(find_method(method), None, "cpu", values), BATCH)
    except AvbenchError:
        return None
    return Parameters(training=counts.parameters, inference=counts.inference)


def _listening(record: Record, runs: Path) -> Listening | None:
    """The answer for these predictions: by thresholds of their own, off-screen before swapped, most resamples, last."""
    from avbench.listening import read_listening

    paths = sorted((runs / "records" / record.split).glob(f"{record.method}.listening-*.json"))
    key = record.provenance["key"]
    answers = [answer for answer in map(read_listening, paths) if answer.provenance["keys"]["true"] == key]

    def rank(answer: Listening) -> tuple[bool, bool, int, float]:
        made = answer.path.stat().st_mtime
        return answer.threshold_from is None, answer.off_screen == "offscreen", answer.provenance["resamples"], made

    return max(answers, key=rank, default=None)


def _evaluations(training: Path) -> tuple[dict[str, Any], ...]:
    from avbench.training.step_log import evaluations

    return tuple(evaluations(training))


def _maps(entry: Entry) -> dict[str, NDArray[np.float32]]:
    """Native maps of the gallery's samples, none where the predictions are not kept."""
    from avbench.leaderboards.entry_samples import positive_rows
    from avbench.parts import read_part
    from avbench.request import PART, part_path
    from avbench.stored import ABOUT

    folder = entry.path / "predictions" / entry.split / f"{entry.method}-{entry.key[:12]}"
    if not (folder / ABOUT).exists():
        return {}
    record = entry.records[0]
    table = entry.contestant(record).samples
    ids = list(table["id"])
    wanted = set(gallery_ids(list(table["id"][positive_rows(table, record)])))
    found: dict[str, NDArray[np.float32]] = {}
    for number in sorted({place // PART for place, name in enumerate(ids) if name in wanted}):
        part = read_part(part_path(folder, number), ("map",))
        found |= {name: _small(part.tensors["map"][row]) for row, name in enumerate(part.ids) if name in wanted}
    return found


def _small(native: Tensor) -> NDArray[np.float32]:
    """``[h, w]`` float32, no side above :data:`LARGEST_SIDE`."""
    from torch.nn.functional import adaptive_avg_pool2d

    height, width = (min(side, LARGEST_SIDE) for side in native.shape)
    if (height, width) == tuple(native.shape):
        return native.float().numpy()
    return adaptive_avg_pool2d(native[None].float(), (height, width))[0].numpy()
