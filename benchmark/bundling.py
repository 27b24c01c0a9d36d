"""What of runs folders goes into a bundle: predictions with every kind of audio, their records, truth and trainings.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.audio_sets import audio_sets, hears
from avbench.bundles import Result, folder_name, without_paths
from avbench.checkpoints import CONFIG, MODEL, sha256_of
from avbench.data.splits import split_names, split_summary
from avbench.errors import UsageError
from avbench.listening import Listener, Plan, read_listening
from avbench.records import Record, read_record, seal_of
from avbench.redacting import redacted
from avbench.request import WITH_OBJECTS, RecordPlace, part_count, part_path
from avbench.rescoring import AUDIO, Choice, chosen
from avbench.selection import FOLDERS
from avbench.store import read_json, write_json
from avbench.stored import ABOUT, OBJECT_PRIOR, Stored, find_stored, read_stored

EVALUATIONS = "evaluations.jsonl"
BESIDE = ("timing.json", "retrieval.safetensors")
"""What may lie beside the parts of predictions."""


@dataclass(frozen=True)
class Collected:
    """What a bundle is made of.

    Attributes:
        files: where the content of each member stands.
        notes: what was left out, and why.
    """

    entries: tuple[Result, ...]
    files: dict[str, Path]
    notes: tuple[str, ...]


@dataclass
class _Desk:
    """Where members are gathered; those whose paths are taken out are written to ``staging``."""

    staging: Path
    files: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shelves: dict[Path, list[Record]] = field(default_factory=dict)

    def shelf(self, stored: Stored) -> list[Record]:
        """All records of a method on a split, of whatever predictions and version of the scoring."""
        folder = stored.runs / "records" / stored.split
        if folder / stored.method not in self.shelves:
            paths = [path for path in sorted(folder.glob(f"{stored.method}.*.json")) if ".listening-" not in path.name]
            self.shelves[folder / stored.method] = [read_record(path) for path in paths]
        return self.shelves[folder / stored.method]

    def add(self, name: str, path: Path) -> None:
        self.files[name] = path

    def add_json(self, name: str, content: Any) -> None:
        write_json(self.staging / name, content)
        self.files[name] = self.staging / name


def collect(
    places: Sequence[Path], choice: Choice, trainings: Mapping[str, Sequence[Path]], staging: Path
) -> Collected:
    """What a bundle of these predictions is made of.

    Of a method that hears, predictions with all kinds of audio that lie in its runs folder go with those chosen.

    Args:
        places: Runs folders, folders below their ``predictions/``, or records.
        choice: Methods and splits of them.
        trainings: Folders of trainings, by method.
        staging: An empty folder for what is written anew.

    Raises:
        UsageError: for a choice that leaves nothing, partial predictions, those of a method given as an object or of a
            split that is none of avbench's, predictions without those with their own sounds or without records, and a
            training that no checkpoint is of.
        AvbenchError: for files that are broken.
    """
    desk = _Desk(staging)
    kept = chosen(find_stored(places), choice)
    for stored in kept:
        _require_fit(stored)
    entries = {
        (found["true"].split, found["true"].key): _entry(found, trainings, desk) for found in _by_method(kept, desk)
    }
    _require_used(trainings, list(entries.values()))
    return Collected(
        tuple(entries[place] for place in sorted(entries, key=_order(entries))), desk.files, tuple(desk.notes)
    )


def _order(entries: Mapping[tuple[str, str], Result]) -> Callable[[tuple[str, str]], tuple[str, str, str]]:
    return lambda place: (entries[place].split, entries[place].method, entries[place].key)


def _by_method(kept: Sequence[Stored], desk: _Desk) -> list[dict[str, Stored]]:
    """The predictions of each method by kind of audio, each set with those of its own sounds."""
    first = sorted(kept, key=lambda stored: not stored.inputs.get("embeddings"))
    around = find_stored(sorted({place for one in kept if hears(one) for place in _alike(one)}))
    wanted = {one.key for one in kept}
    found = [dict(one.by_audio) for one in audio_sets([*first, *around])]
    sets = [one for one in found if wanted & {stored.key for stored in one.values()}]
    taken = {stored.key for one in sets for stored in one.values()}
    desk.notes += [
        f"{one.folder.name} on {one.split} is left out: it differs from others of {one.method} in embeddings alone"
        for one in kept
        if hears(one) and one.key not in taken
    ]
    for one in sets:
        if "true" not in one:
            other = next(iter(one.values()))
            raise UsageError(
                f"the predictions of {other.method} on {other.split} are with {','.join(one)} audio alone, and those "
                "with its own sounds are needed: add them with avbench run --audio true"
            )
        for stored in one.values():
            _require_fit(stored)
    return [*sets, *({"true": one} for one in kept if not hears(one))]


def _alike(stored: Stored) -> list[Path]:
    return [about.parent for about in stored.folder.parent.glob(f"{stored.method}-*/{ABOUT}")]


def _require_fit(stored: Stored) -> None:
    """Refuse predictions that can be checked by nobody else."""
    what = f"the predictions of {stored.title} on {stored.split}"
    if stored.missing:
        raise UsageError(
            f"{what} are partial ({stored.samples} of {stored.expected} samples), which nobody accepts: complete the "
            "media and run again"
        )
    if stored.resolved["method"]["origin"] == "object":
        raise UsageError(
            f"{what} are of a method given as an object, which nobody can tell: run it as a file or by name"
        )
    if stored.split not in split_names():
        raise UsageError(f"{what} cannot be checked by others, since the split is none of avbench's: choose by --split")
    known = split_summary(stored.split).sha256
    if known and stored.split_sha256 != known:
        raise UsageError(
            f"{what} are of the list {stored.split_sha256[:12]}..., and {stored.split} has {known[:12]}...: run again"
        )


def _entry(found: Mapping[str, Stored], trainings: Mapping[str, Sequence[Path]], desk: _Desk) -> Result:
    own = found["true"]
    rows = {audio: _records(stored, desk) for audio, stored in found.items()}
    if not rows["true"]:
        raise UsageError(
            f"expected records of {own.title} on {own.split} by this version of the scoring, found none in {own.runs}: "
            f"score first, avbench score {own.runs} --split {own.split} --method {own.method}"
        )
    prior = _prior(own, [record for records in rows.values() for record in records])
    for stored in [*found.values(), *([prior] if prior else [])]:
        _add_predictions(stored, desk)
    for record in (record for records in rows.values() for record in records):
        _add_record(record, desk)
    _add_answers(found, desk)
    protocols = dict.fromkeys(record.protocol for record in rows["true"])
    return Result(
        split=own.split,
        method=own.method,
        key=own.key,
        selection=own.selection,
        audio={audio: found[audio].key for audio in AUDIO if audio in found},
        prior=prior.key if prior else None,
        protocols=tuple(sorted(protocols)),
        training=_add_training(own, trainings.get(own.method, ()), desk),
    )


def _records(stored: Stored, desk: _Desk) -> list[Record]:
    """Those of some predictions that this version of the scoring wrote."""
    own = [one for one in desk.shelf(stored) if one.provenance["key"] == stored.key]
    found = [record for record in own if record.path == _path(stored, record)]
    if len(found) < len(own):
        desk.notes.append(
            f"{len(own) - len(found)} records of {stored.title} on {stored.split} are left out: another version of the "
            "scoring wrote them"
        )
    return found


def _path(stored: Stored, record: Record) -> Path:
    prior = record.provenance["prior_key"]
    place = RecordPlace(stored.runs, stored.split, stored.method, stored.key, prior, stored.truth)
    return place.path(record.variant, record.protocol)


def _prior(own: Stored, records: Sequence[Record]) -> Stored | None:
    keys = sorted({str(r.provenance["prior_key"]) for r in records if r.variant in WITH_OBJECTS})
    if not keys:
        return None
    if len(keys) > 1:
        raise UsageError(
            f"the rows of {own.title} on {own.split} fuse in the object maps {' and '.join(key[:12] for key in keys)}, "
            "and a bundle has those of one: keep one of them in the runs folder"
        )
    prior = read_stored(own.folder.with_name(folder_name(OBJECT_PRIOR, keys[0])))
    _require_fit(prior)
    return prior


def _add_predictions(stored: Stored, desk: _Desk) -> None:
    folder = f"predictions/{stored.split}/{folder_name(stored.method, stored.key)}"
    about = without_paths(read_json(stored.folder / ABOUT))
    about["asked"]["command"] = without_paths(redacted(stored.asked["command"]))
    desk.add_json(f"{folder}/{ABOUT}", about)
    parts = [part_path(stored.folder, number) for number in range(part_count(stored.samples))]
    for path in [*parts, *(stored.folder / name for name in BESIDE if (stored.folder / name).exists())]:
        desk.add(f"{folder}/{path.name}", path)
    desk.add(f"truth/{stored.truth}", stored.truth_path)


def _add_record(record: Record, desk: _Desk) -> None:
    folder = f"records/{record.split}"
    content = without_paths(read_json(record.path))
    content["run"]["command"] = without_paths(redacted(record.run["command"]))
    desk.add_json(f"{folder}/{record.path.name}", {**content, "seal": seal_of(content)})
    desk.add(f"{folder}/{record.per_sample}", record.path.with_name(record.per_sample))


def _add_answers(found: Mapping[str, Stored], desk: _Desk) -> None:
    """Answers of ``avbench listen`` about these very predictions."""
    own = found["true"]
    for path in sorted((own.runs / "records" / own.split).glob(f"{own.method}.listening-*.json")):
        answer = read_listening(path)
        known = answer.provenance
        if known["keys"]["true"] != own.key:
            continue
        kinds = {audio: found[audio] for audio in known["keys"] if audio in found}
        plan = Plan(resamples=known["resamples"], seed=known["seed"])
        donor = {audio: stored for audio, stored in kinds.items() if audio != "true"}
        if set(kinds) == set(known["keys"]) and Listener(kinds, donor, plan, own.method).path == path:
            desk.add(f"records/{own.split}/{path.name}", path)
        else:
            desk.notes.append(
                f"the answer {path.name} is left out: it is of another version, or of other predictions too"
            )


def _add_training(own: Stored, folders: Sequence[Path], desk: _Desk) -> bool:
    wanted = own.resolved["checkpoint"]["sha256"]
    for folder in folders:
        for place in (folder / name for name in FOLDERS.values()):
            if (place / MODEL).is_file() and sha256_of(place) == wanted:
                _add_evaluations(folder, place, f"trainings/{folder_name(own.method, own.key)}", desk)
                return True
    return False


def _add_evaluations(folder: Path, place: Path, name: str, desk: _Desk) -> None:
    if not (folder / EVALUATIONS).is_file():
        raise UsageError(
            f"the training {folder} has no {EVALUATIONS}, as one has that was evaluated as it went: leave it out of "
            "--training"
        )
    desk.add_json(f"{name}/{CONFIG}", without_paths(read_json(place / CONFIG)))
    staged = desk.staging / name / EVALUATIONS
    rows = (folder / EVALUATIONS).read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [json.dumps(without_paths(json.loads(row))) for row in rows if row.endswith("\n")]
    staged.write_text("".join(f"{row}\n" for row in whole), encoding="utf-8")
    desk.add(f"{name}/{EVALUATIONS}", staged)


def _require_used(trainings: Mapping[str, Sequence[Path]], entries: Sequence[Result]) -> None:
    """Refuse a training that gave no checkpoint of the bundle."""
    for method, folders in trainings.items():
        if folders and not any(entry.training for entry in entries if entry.method == method):
            raise UsageError(
                f"the training {folders[0]} has no checkpoint that predictions of {method} in the bundle were made "
                "with: name the folder of the training whose weights their records tell"
            )
