"""Where a training folder keeps the checkpoints that each rule chose. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from avbench.checkpoints import CONFIG, MODEL
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.records import Selection, selection_told
from avbench.store import read_json

FOLDERS = {"last": "", "validation": "best-validation", "oracle": "best-oracle"}
"""Where a training folder keeps the checkpoint of each rule; the last one lies in the folder itself."""

TRAINING = {
    "last": "name the folder of a finished training, or train again",
    "validation": "train with avbench train --validate SPLIT",
    "oracle": "train with avbench train --oracle SPLIT",
}
"""What gives the checkpoint of each rule."""


def rules_named(rules: Sequence[str], known: Sequence[str] = tuple(FOLDERS)) -> list[Selection]:
    """``rules`` as they were given, if all are ``known``.

    Raises:
        UsageError: if one is not.
    """
    for rule in rules:
        if rule not in known:
            raise unknown_name("selection", rule, known, f"the list {', '.join(known)}")
    return cast("list[Selection]", list(rules))


def checkpoints_of(training: Path, rules: Sequence[Selection]) -> list[Path]:
    """The checkpoints of a training folder that were chosen by each of ``rules``, which are keys of :data:`FOLDERS`.

    Raises:
        UsageError: for one that is not there, or was chosen in another way than its place says.
        AvbenchError: if a description cannot be read.
    """
    return [_checkpoint(training, rule) for rule in rules]


def _checkpoint(training: Path, rule: Selection) -> Path:
    folder = training / FOLDERS[rule]
    if not ((folder / MODEL).is_file() and (folder / CONFIG).is_file()):
        raise UsageError(
            f"the selection {rule} needs {MODEL} and {CONFIG} in {folder}, which are not there: {TRAINING[rule]}"
        )
    told = read_json(folder / CONFIG)
    meta = told.get("meta") if isinstance(told, dict) else None
    if not isinstance(meta, dict):
        raise AvbenchError(f"expected method, config and meta in {folder / CONFIG}, got something else: train it again")
    found = selection_told(meta)
    if found != rule:
        raise UsageError(
            f"the selection {rule} needs a checkpoint chosen so, and the one in {folder} says {found}: {TRAINING[rule]}"
            ", or leave --selection out"
        )
    return folder
