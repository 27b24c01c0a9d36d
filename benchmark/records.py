"""Result records: one JSON per row of a table, with everything needed to doubt it. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from avbench.errors import AvbenchError
from avbench.store import hash_json, read_json, write_json

SCHEMA = 1
"""Version of the record's form, raised with every change of meaning."""

DERIVED = "selection"
"""What a record's file says of its provenance for those who read it; records of before do without."""

Selection = Literal["last", "validation", "oracle", "unknown", "none"]
"""The last epoch; the best on a validation list; the best on a test set; not told; nothing was trained."""

SELECTIONS: tuple[Selection, ...] = get_args(Selection)

TEXTS: dict[str, Selection] = {"last epoch": "last", "mean of annotations": "none"}
"""The rule behind the text of a checkpoint that has nothing else."""


@dataclass(frozen=True)
class Record:
    """One variant of one method on one split under one protocol.

    Everything but ``run`` is a function of the inputs: two runs of the same request, interrupted or not, give the
    same record but for ``run``, which says when, where and how fast.
    """

    method: str
    variant: str
    split: str
    protocol: str
    audio: str
    n_expected: int
    """Samples that the split lists."""
    n_scored: int
    """Samples that were predicted; less than expected makes the record partial."""
    n_positive: int
    """Samples with a sounding object: the denominator of cIoU and AUC."""
    n_nan: int
    """Positive samples whose consensus IoU is not a number; they count as failures."""
    partial: bool
    metrics: dict[str, float]
    """By metric id, fractions in [0, 1]; what a method does not offer is absent."""
    intervals: dict[str, tuple[float, float]]
    """95 % intervals by metric id: Wilson's for success rates."""
    provenance: dict[str, Any]
    run: dict[str, Any]
    seal: str = field(default="", compare=False)
    """SHA-256 over all but ``run`` and this, set when the record is written: what was changed by hand is noticed."""
    per_sample: str = ""
    """File name of the per-sample values, beside the record."""
    schema: int = SCHEMA
    path: Path = field(default=Path(), compare=False)

    @property
    def title(self) -> str:
        """Method, variant where it is not the plain map, and audio where it is not the sample's own."""
        notes = [note for note in (self.variant, f"{self.audio} audio") if note not in {"av", "true audio"}]
        return self.method + (f" ({', '.join(notes)})" if notes else "")

    @property
    def selection(self) -> Selection:
        """How the checkpoint was chosen, from the provenance: a record written before this was told is read the same.

        ``last``: the last epoch. ``validation``: the best on a list that is in no test. ``oracle``: the best on a test
        set, as many official trainings keep it; not to be ranked with others. ``unknown``: the checkpoint does not say,
        as official files do not. ``none``: nothing was trained.
        """
        return selection_of(self.provenance)

    @property
    def seconds(self) -> float:
        """Decoding, front-end and forward pass of all samples, in seconds."""
        return float(self.run["seconds"])

    def as_json(self) -> dict[str, Any]:
        """The element that ``--json`` prints; a metric that is not a number (nothing to average) is None."""
        content = _plain(self)
        rate = self.n_scored / self.seconds if self.seconds > 0 else None
        return {**content, "seconds": self.seconds, "samples_per_second": rate, "record": str(self.path)}


def selection_told(told: Mapping[str, Any]) -> Selection:
    """The rule that the description of a checkpoint tells.

    Args:
        told: With ``selected``, of which ``rule`` is one of :data:`SELECTIONS`, or with the text ``selection`` alone;
            ``unknown`` where neither says anything that is understood.
    """
    selected, text = told.get("selected"), told.get("selection")
    rule = selected.get("rule") if isinstance(selected, dict) else TEXTS.get(text) if isinstance(text, str) else None
    return rule if rule in SELECTIONS else "unknown"


def selection_of(provenance: Mapping[str, Any]) -> Selection:
    """How the checkpoint behind a result was chosen.

    ``none`` without a checkpoint, but ``unknown`` for a method given as an object, whose weights nobody described. The
    best on a validation list that is the very split of the result was chosen on what it is tested on: ``oracle``.

    Args:
        provenance: Of a record.
    """
    checkpoint = provenance.get("checkpoint") or {}
    if checkpoint.get("sha256") is None:
        return "unknown" if provenance.get("method", {}).get("origin") == "object" else "none"
    rule = selection_told(checkpoint)
    if rule == "validation" and _is_same_list(checkpoint["selected"], provenance.get("split", {})):
        return "oracle"
    return rule


def _is_same_list(selected: Mapping[str, Any], split: Mapping[str, Any]) -> bool:
    """By the hashes of both lists, or by their names where one has none."""
    if "sha256" in selected and "sha256" in split:
        return bool(selected["sha256"] == split["sha256"])
    return bool(selected.get("split") == split.get("name"))


def write_record(record: Record) -> None:
    """Write ``record`` to its path; a metric that is not a number becomes null, which :func:`read_record` undoes."""
    content = _plain(record)
    write_json(record.path, {**content, "seal": seal_of(content)})


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        AvbenchError: if the file is not a record of this schema.
    """
    return record_of(read_json(path), path)


def record_of(content: Any, path: Path, *, name: str = "") -> Record:
    """The record that a file holds as ``content``, its seal made sure of.

    Args:
        content: As :func:`~avbench.store.read_json` gives it.
        path: That the record gets.
        name: What sentences call the record; the path where it is left out.

    Raises:
        AvbenchError: if the content is not a record of this schema.
    """
    called = name or str(path)
    _require_schema(content, called)
    try:
        intervals = {key: (low, high) for key, (low, high) in content["intervals"].items()}
        metrics = {key: math.nan if value is None else float(value) for key, value in content["metrics"].items()}
        fields = {key: value for key, value in content.items() if key != DERIVED}
        record = Record(**{**fields, "intervals": intervals, "metrics": metrics, "path": path})
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise AvbenchError(
            f"the record {called} is incomplete or changed ({problem}): delete it and run again"
        ) from None
    if record.seal != seal_of(content):
        raise AvbenchError(f"the record {called} was changed after it was written: delete it and score again")
    return record


def content_of(record: Record) -> dict[str, Any]:
    """What the file of a record holds, from which :func:`record_of` makes it again; its seal stays as it is.

    Raises:
        AvbenchError: for a record that its seal does not fit.
    """
    content = _plain(record)
    older = {key: value for key, value in content.items() if key != DERIVED}
    found = next((one for one in (content, older) if seal_of(one) == record.seal), None)
    if found is None:
        raise AvbenchError(f"the record {record.path} was changed after it was read: read it again")
    return found


def seal_of(content: Mapping[str, Any]) -> str:
    """The seal that belongs to the content of a record's file: SHA-256 over all but ``run`` and the seal itself."""
    return hash_json({key: value for key, value in content.items() if key not in {"run", "seal"}})


def _require_schema(content: Any, called: str) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise AvbenchError(
            f"the record {called} is of schema {schema}, newer than the {SCHEMA} that this avbench reads: upgrade "
            "avbench"
        )
    if schema != SCHEMA:
        raise AvbenchError(
            f"expected a record of schema {SCHEMA} in {called}, found another form: delete it and run again"
        )


def _plain(record: Record) -> dict[str, Any]:
    content = {key: value for key, value in asdict(record).items() if key != "path"}
    metrics = {k: None if math.isnan(v) else v for k, v in record.metrics.items()}
    return {**content, DERIVED: record.selection, "metrics": metrics}
