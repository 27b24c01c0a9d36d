"""Taking the entries of a bundle that passed into the folder of accepted ones."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from avbench.errors import AvbenchError
from avbench.leaderboards.entries import Accepted, Badge, Largest, Rerun
from avbench.leaderboards.entry_checks import problems
from avbench.leaderboards.entry_files import read_entry, write_entry
from avbench.leaderboards.local_entries import collect

if TYPE_CHECKING:
    from avbench.bundles import Result
    from avbench.rerunning import Again
    from avbench.verification import Verified


@dataclass(frozen=True)
class Taken:
    """An entry that was accepted: where it stands, and what it counts as."""

    path: Path
    badge: Badge


def badge_of(again: Again | None) -> Badge:
    """``verified`` for an entry that was run again and came out the same, else ``submitted``."""
    return "verified" if again and not again.problem else "submitted"


def accept(found: Verified, agains: Mapping[str, Again], folder: Path, accepted: Accepted) -> list[Taken]:
    """Write the entries of a bundle below ``folder``, all or none.

    An entry that is there already is refused, unless it was submitted and is verified now.

    Args:
        found: A bundle whose checks all passed; its own records are put back into its folder.
        agains: How re-runs came out, by key.
        folder: As :data:`avbench.leaderboards.entry_files.RECORDS`.
        accepted: When, by whom and why.

    Raises:
        AvbenchError: if a check failed, an entry is there already, or the folder would not be whole with them.
    """
    if not found.report.passed:
        raise AvbenchError(f"{found.opened.name} is not accepted: {len(found.report.problems)} of its checks failed")
    found.put_back()
    with TemporaryDirectory(prefix="avbench-accept-") as place:
        trial = Path(place) / "records"
        if folder.exists():
            shutil.copytree(folder, trial)
        taken = [
            _write(found, entry, agains.get(entry.key), trial, accepted) for entry in found.opened.manifest.entries
        ]
        wrong = problems(trial)
        if wrong:
            more = f" and {len(wrong) - 1} more problems" if len(wrong) > 1 else ""
            said = wrong[0].replace(str(trial), str(folder))
            raise AvbenchError(f"{found.opened.name} is not accepted, since {said}{more}")
        for path in (path for one in taken for path in (one.path, one.path.with_suffix(".parquet"))):
            target = folder / path.relative_to(trial)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return [Taken(folder / one.path.relative_to(trial), one.badge) for one in taken]


def _write(found: Verified, entry: Result, again: Again | None, trial: Path, accepted: Accepted) -> Taken:
    from avbench.bundles import folder_name

    trainings = found.opened.folder / "trainings" / folder_name(entry.method, entry.key)
    local = collect(
        found.opened.folder,
        split=entry.split,
        method=entry.method,
        selection=entry.selection,
        key=entry.key,
        trainings={entry.method: trainings} if entry.training else None,
    )
    badge = badge_of(again)
    there = trial / entry.split / f"{local.name}.json"
    if there.exists() and (badge, read_entry(there).badge) != ("verified", "submitted"):
        raise AvbenchError(
            f"{found.opened.name} is not accepted, since {entry.title} is there already as {there.parent.name}/"
            f"{there.name}: delete that first if this is to take its place"
        )
    rerun = _rerun(again) if again and badge == "verified" else None
    return Taken(write_entry(local, trial, badge=badge, accepted=accepted, rerun=rerun), badge)


def _rerun(again: Again) -> Rerun:
    from avbench.provenance import software

    known = software()
    git = known["git"] or {"commit": "", "dirty": False}
    commit = f"{git['commit']}{'+changes' if git['dirty'] else ''}"
    return Rerun(known["avbench"], commit, known["torch"], Largest(again.metrics, again.ciou))
