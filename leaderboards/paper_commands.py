"""The commands that would fill the blank cells of published tables, each once with all that it fills."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from avbench.leaderboards.paper_cells import Filled, Place
from avbench.leaderboards.paper_wanted import OBJECT_MAP, Neighbours, Wanted, sweeps
from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_names import METHODS
from avbench.leaderboards.published_tables import MARKS, Row

Kind = Literal["sweep", "train", "convert", "run", "write"]

SCALE = "paper"
"""The scale of sweeps that tables ask for."""
PLACES = "--data ROOT --metadata DIR"
SEARCHES: dict[Neighbours, str] = {
    "": "",
    "supervised": " --neighbours audio=SOUNDS.npy",
    "self-supervised": " --neighbours image=PICTURES.npy --neighbours audio=SOUNDS.npy",
}
"""Where neighbours come from; the recipes have the supervised encoder of pictures alone."""
PLACEHOLDERS = {
    "ROOT": "the folder with frames/ and audio/",
    "DIR": "the folder with the official annotation files",
    "FILE": "the authors' file",
    "PICTURES.npy": "vectors of the training pictures by an encoder that learnt without labels (the paper's: CLIP)",
    "SOUNDS.npy": "vectors of the training sounds by the paper's encoder (a ResNet trained on VGGSound; without labels "
    "Wav2CLIP)",
}
"""What stands in commands for what only their user knows."""
FILES = "checkpoints"
"""The folder that commands write trainings to."""


@dataclass(frozen=True)
class Step:
    """Commands to give one after the other, and what they fill."""

    title: str
    commands: tuple[str, ...]
    fills: Mapping[str, Mapping[str, int]]
    """Number of cells by table and row."""


@dataclass(frozen=True)
class _Job:
    """What one training, sweep, conversion or run gives."""

    kind: Kind
    name: str
    """Of the method; of a sweep its id, of a method that is not here its name in the index."""
    train: str = ""
    recipe: str = ""
    settings: tuple[tuple[str, Any], ...] = ()
    neighbours: Neighbours = ""
    oracle: str = ""
    """The list that the best checkpoint is chosen on; empty for none."""


@dataclass
class _Need:
    """The cells that wait for a job."""

    fills: dict[str, dict[str, int]] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)

    def add(self, table: str, row: str, want: Wanted | None) -> None:
        rows = self.fills.setdefault(table, {})
        rows[row] = rows.get(row, 0) + 1
        if want is not None:
            self.wanted.append(want)


def steps(tables: Sequence[Filled]) -> list[Step]:
    """What fills the blank cells of tables, in the tables' order; methods to be written first come last."""
    needs: dict[_Job, _Need] = defaultdict(_Need)
    for filled in tables:
        for place in _blank(filled):
            row = filled.table.rows[place[0]]
            want = filled.wanted.get(place)
            job = _Job("write", row.method) if want is None else _job(filled, place, want)
            needs[job].add(filled.table.id, row_name(row), want)
    joined = _joined(needs)
    order = sorted(joined, key=lambda job: job.kind == "write")
    return [Step(_title(job), tuple(_commands(job, joined[job].wanted)), joined[job].fills) for job in order]


def row_name(row: Row) -> str:
    """A row in words, without its marks."""
    return ", ".join(label for label in row.labels if label not in {"", "—", *MARKS.values()})


def placeholders(found: Sequence[Step]) -> dict[str, str]:
    """What the placeholders in commands mean."""
    words = {word for step in found for command in step.commands for word in command.replace("=", " ").split()}
    return {name: meaning for name, meaning in PLACEHOLDERS.items() if name in words}


def _blank(filled: Filled) -> Iterator[Place]:
    """Places without a number of ours; without those that only a method's authors could fill."""
    for i, row in enumerate(filled.table.rows):
        here = METHODS[read_index().methods[row.method]["key"]]
        for j in range(len(filled.table.columns)):
            if (i, j) not in filled.numbers and ((i, j) in filled.wanted or here is None):
                yield i, j


def _job(filled: Filled, place: Place, want: Wanted) -> _Job:
    if want.train is None or want.recipe is None:
        return _Job("run", want.method)
    if want.released:
        return _Job("convert", want.method, want.train)
    if _swept(filled.table.id, want):
        return _Job("sweep", filled.table.id, neighbours=want.neighbours)
    oracle = want.split if want.selections == ("oracle",) else ""
    settings = tuple(sorted(want.settings.items()))
    return _Job("train", want.method, want.train, want.recipe, settings, want.neighbours, oracle)


def _swept(table: str, want: Wanted) -> bool:
    """Whether the sweep of a table tests what the table wants."""
    if table not in sweeps():
        return False
    scale = sweeps()[table].scales[SCALE]
    asked = (want.method, want.train, want.recipe, want.split, want.protocol)
    return asked == (sweeps()[table].method, scale.train, scale.recipe, scale.test, scale.protocol)


def _joined(needs: Mapping[_Job, _Need]) -> dict[_Job, _Need]:
    """With trainings whose last checkpoint is all that is wanted joined to those that keep a best one as well, and
    the halves of a sweep with and without neighbours to each other."""
    found: dict[_Job, _Need] = {}
    for job in sorted(needs, key=lambda one: (not one.oracle, not one.neighbours)):
        host = next((other for other in found if _gives(other, job)), job)
        need = found.setdefault(host, _Need())
        need.wanted += needs[job].wanted
        for table, rows in needs[job].fills.items():
            own = need.fills.setdefault(table, {})
            for row, count in rows.items():
                own[row] = own.get(row, 0) + count
    first = {job: place for place, job in enumerate(needs)}
    return {job: found[job] for job in sorted(found, key=first.__getitem__)}


def _gives(other: _Job, job: _Job) -> bool:
    if job.kind == "sweep":
        return (other.kind, other.name) == (job.kind, job.name)
    return not job.oracle and _Job(**{**vars(other), "oracle": ""}) == job


def _title(job: _Job) -> str:
    if job.kind == "write":
        return f"{job.name} ({read_index().methods[job.name]['ref']}) is not in the package: write it first"
    if job.kind == "sweep":
        return f"the sweep {job.name}"
    if job.kind == "run":
        return f"{job.name}, which needs no training"
    if job.kind == "convert":
        return f"{job.name}, the authors' weights, trained on {job.train}"
    settings = "".join(f", {key} = {value}" for key, value in job.settings)
    search = f", neighbours by {job.neighbours} encoders" if job.neighbours else ""
    oracle = f", with the best epoch on {job.oracle}" if job.oracle else ""
    return f"{job.name} trained on {job.train}{settings}{search}{oracle}"


def _commands(job: _Job, wanted: Sequence[Wanted]) -> Iterator[str]:
    if job.kind == "write":
        yield f"avbench new-method {read_index().methods[job.name]['key'].replace('_', '-')}"
        return
    if job.kind == "sweep":
        yield f"avbench sweep {job.name} --scale {SCALE} {PLACES}{SEARCHES[job.neighbours]}"
        return
    checkpoint = f"{FILES}/{_folder(job)}"
    if job.kind == "convert":
        yield f"avbench convert {job.name} FILE --out {checkpoint}"
    if job.kind == "train":
        yield _training(job, checkpoint)
    yield from _runs(wanted, "" if job.kind == "run" else f" --checkpoint {checkpoint}", chooses=bool(job.oracle))


def _training(job: _Job, out: str) -> str:
    settings = "".join(f" --set {key}={_value(value)}" for key, value in job.settings)
    oracle = f" --oracle {job.oracle}" if job.oracle else ""
    return (
        f"avbench train --method {job.name} --recipe {job.recipe} --split {job.train} {PLACES} --out {out}"
        f"{settings}{SEARCHES[job.neighbours]}{oracle}"
    )


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folder(job: _Job) -> str:
    """A folder of its own for each training; an authors' file says by its name what it was trained on."""
    further = [f"{key}-{_value(value)}" for key, value in job.settings]
    further += [job.neighbours] if job.neighbours == "self-supervised" else []
    further += [f"best-on-{job.oracle}"] if job.oracle else []
    further += ["released"] if job.kind == "convert" else []
    return "-".join([job.name, job.train, *further])


def _runs(wanted: Sequence[Wanted], checkpoint: str, *, chooses: bool) -> Iterator[str]:
    """One run for each protocol, with all its test lists."""
    method = wanted[0].method
    for protocol in dict.fromkeys(want.protocol for want in wanted):
        group = [want for want in wanted if want.protocol == protocol]
        rules = dict.fromkeys("oracle" if want.selections == ("oracle",) else "last" for want in group)
        options = [f" --selection {','.join(rules)}"] if chooses else []
        options += [" --refine ogl"] if method != OBJECT_MAP and any("ogl" in want.variant for want in group) else []
        options += [" --retrieval"] if any("_instance_r" in want.metric for want in group) else []
        splits = ",".join(dict.fromkeys(want.split for want in group))
        yield (
            f"avbench run --method {method} --split {splits} --protocol {protocol}{''.join(options)} "
            f"{PLACES}{checkpoint}"
        )
