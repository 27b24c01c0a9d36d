"""Of a bundle's files: whose predictions they are, whether the truth is ours, whether the maps are whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from avbench.bundles import HASH, LAYOUT, Result, folder_name
from avbench.data.splits import Split, split_names, split_summary
from avbench.errors import AvbenchError
from avbench.opening import Places, Progress, open_split
from avbench.parts import Part, read_part
from avbench.request import PART, part_count, part_path
from avbench.rescoring import AUDIO
from avbench.store import hash_json, read_json
from avbench.stored import ABOUT, OBJECT_PRIOR, Stored, read_stored
from avbench.truth import Truth, read_truth, write_truth

TYPES: dict[str, type] = {
    **dict.fromkeys(("key", "method", "audio", "split", "split_sha256", "truth"), str),
    **dict.fromkeys(("resolved", "inputs", "asked"), dict),
    "control": bool,
    "expected": int,
    "missing": list,
}
"""What a description of predictions holds."""

INPUTS = ("method", "overrides", "checkpoint", "split", "missing", "audio", "audio_rate", "embeddings", "code")
"""What every key is made of, among others."""

LONGEST_SIDE = 1024
"""Cells of a native map, which is upsampled to the canvas whatever it has."""

SLACK = 1e-5
"""Share of its score range by which a map may leave it: rounding."""


def described(folder: Path) -> Stored:
    """The description of a folder of a bundle's predictions, every value of its type and true to the others.

    Raises:
        AvbenchError: for anything else.
    """
    content = read_json(folder / ABOUT)
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in TYPES.items()):
        raise AvbenchError(f"{folder / ABOUT} is incomplete or changed: expected {', '.join(TYPES)} of the usual types")
    resolved, inputs = content["resolved"], content["inputs"]
    method, checkpoint = resolved.get("method"), resolved.get("checkpoint")
    info = method.get("info") if isinstance(method, dict) else None
    if not isinstance(info, dict) or not isinstance(checkpoint, dict) or not isinstance(info.get("needs"), list):
        raise AvbenchError(
            f"{folder / ABOUT} is incomplete or changed: expected method, info and checkpoint in 'resolved'"
        )
    known = (
        (folder.name == folder_name(content["method"], content["key"]), "its folder is called otherwise"),
        (folder.parent.name == content["split"], "its folder is of another split"),
        (set(INPUTS) <= set(inputs), "its inputs are incomplete"),
        (HASH.fullmatch(content["key"]) and hash_json(inputs) == content["key"], "its key is not that of its inputs"),
        (inputs.get("method") == content["method"], "its inputs name another method"),
        (inputs.get("split") == content["split_sha256"], "its inputs name another list"),
        (inputs.get("audio") == content["audio"] and content["audio"] in AUDIO, "its inputs name other audio"),
        (inputs.get("checkpoint") == checkpoint.get("sha256"), "its inputs name another checkpoint"),
        (content["missing"] == [] == inputs.get("missing"), "it is partial"),
        (info.get("control") is content["control"], "it says two things of being a control"),
        (method.get("origin") != "object", "its method was given as an object"),
        (LAYOUT.fullmatch(f"truth/{content['truth']}"), "its truth has no proper name"),
        (isinstance(content["asked"].get("command"), str), "it lacks the command"),
    )
    for holds, problem in known:
        if not holds:
            raise AvbenchError(f"{folder / ABOUT} cannot be used, since {problem}: predict again, and submit that")
    return read_stored(folder)


def entry_problems(entry: Result, found: Mapping[str, Stored]) -> list[str]:
    """What the manifest says of an entry and its predictions do not, ``found`` being all of the bundle by key."""
    problems = []
    for audio, key in entry.audio.items():
        stored = found.get(key)
        if stored is None:
            problems.append(
                f"{entry.title} lacks its predictions with {audio} audio, {key[:12]}, or they cannot be used"
            )
        elif (stored.method, stored.split, stored.audio) != (entry.method, entry.split, audio):
            problems.append(f"{entry.title} names predictions with {audio} audio which are those of {stored.title}")
    if entry.prior and (entry.prior not in found or found[entry.prior].method != OBJECT_PRIOR):
        problems.append(f"{entry.title} lacks the object maps {entry.prior[:12]} that it fuses in")
    own = found.get(entry.key)
    if own and (rule := own.selection) != entry.selection:
        problems.append(
            f"{entry.title} is of the selection {entry.selection} in the manifest, and of {rule} by its checkpoint"
        )
    return problems


def own_split(name: str, places: Places, progress: Progress) -> Split:
    """Our own split of this name.

    Raises:
        AvbenchError: if there is none.
        UsageError: if its official files are not at hand.
    """
    if name not in split_names():
        raise AvbenchError(f"the split {name} is none of avbench's, so that its truth cannot be checked: submit others")
    return open_split(name, Places() if split_summary(name).kind == "demo" else places, progress)


def own_truth(split: Split, scratch: Path) -> tuple[Path, Truth]:
    """What is true of our own split, and the file that says so, below ``scratch``."""
    path = write_truth(split, scratch)
    return path, read_truth(path)


def list_problems(stored: Sequence[Stored], split: Split) -> list[str]:
    """Predictions of another list than ours."""
    return [
        f"the predictions {one.folder.name} are of the list {one.split_sha256[:12]} with {one.expected} samples, and "
        f"{split.name} is {split.sha256[:12]} with {split.n}"
        for one in stored
        if (one.split_sha256, one.expected) != (split.sha256, split.n)
    ]


def truth_problems(path: Path, ours: Truth) -> list[str]:
    """How the truth in a bundle is not ours."""
    try:
        theirs = _their_truth(path, len(ours))
    except AvbenchError as problem:
        return [str(problem)]
    told = ("split", "title", "family", "split_sha256", "sha256")
    differing = [name for name in told if getattr(theirs, name) != getattr(ours, name)]
    if not differing:
        return []
    sample = next((name for name, *pairs in _beside(theirs, ours) if any(one != other for one, other in pairs)), "")
    where = f", first that of {sample}" if sample else ""
    return [
        f"the truth {path} is not that of our own annotation ({', '.join(differing)} differ{where}): predict from the "
        "official files, with the masks that belong to them, and submit that"
    ]


def _beside(theirs: Truth, ours: Truth) -> Iterator[tuple[Any, ...]]:
    """For each sample of ours its id, and what both say of it in pairs."""
    columns = ("ids", "labels", "image_names", "sounding", "doubtful", "boxes", "consensus", "sources", "rles")
    pairs = (zip(getattr(theirs, name), getattr(ours, name), strict=True) for name in columns)
    return zip(ours.ids, *pairs, strict=True)


def _their_truth(path: Path, samples: int) -> Truth:
    require_rows(path, samples)
    try:
        return read_truth(path)
    except (KeyError, TypeError, ValueError) as problem:
        raise AvbenchError(f"{path} is no truth of avbench ({' '.join(str(problem).split())}): predict again") from None


def require_rows(path: Path, samples: int) -> None:
    """Refuse a table that is not of so many samples, before it is read: few bytes can say many rows.

    Raises:
        AvbenchError: if so, or if it is no Parquet.
    """
    try:
        rows = pq.read_metadata(pa.BufferReader(path.read_bytes())).num_rows
    except (OSError, ValueError, pa.ArrowException) as problem:
        raise AvbenchError(
            f"{path} is no table that can be read ({' '.join(str(problem).split())}): submit again"
        ) from None
    if rows != samples:
        raise AvbenchError(f"expected the {samples} samples of our own list in {path}, found {rows}: predict again")


def part_problems(stored: Stored, truth: Truth) -> list[str]:
    """What is wrong with the maps of some predictions of the samples of ``truth``.

    A map is finite everywhere, or NaN everywhere, by which a method says that it has none: that is a failure under
    every protocol.
    """
    problems, ranges = [], set()
    expected = [part_path(stored.folder, number) for number in range(part_count(len(truth)))]
    strays = sorted(set(stored.folder.glob("part-*")) - set(expected))
    problems += [f"{path} is a part more than {len(truth)} samples have: predict again" for path in strays]
    for number, path in enumerate(expected):
        try:
            part = _part(path, truth.ids[number * PART : (number + 1) * PART])
        except AvbenchError as problem:
            problems.append(str(problem))
            continue
        ranges.add(part.score_range)
        problems += [*_broken(path, part), *_outside(path, part)]
    if len(ranges) > 1:
        problems.append(f"the parts of {stored.folder} state {len(ranges)} different score ranges: predict again")
    return problems


def _part(path: Path, ids: Sequence[str]) -> Part:
    """One part, of these samples and of the form that methods give.

    Raises:
        AvbenchError: for anything else.
    """
    try:
        part = read_part(path)
    except (TypeError, KeyError, IndexError, RuntimeError, AttributeError) as problem:
        raise AvbenchError(f"the part {path} is of another form ({' '.join(str(problem).split())})") from None
    if list(part.ids) != list(ids):
        pairs = ((came, wanted) for came, wanted in zip(part.ids, ids, strict=False) if came != wanted)
        came, wanted = next(pairs, (str(len(part.ids)), f"{len(ids)} samples"))
        raise AvbenchError(f"the part {path} is of other samples, or in another order: expected {wanted}, found {came}")
    shapes = {name: tuple(tensor.shape) for name, tensor in part.tensors.items()}
    fits = all(_fits(name, tensor, len(ids)) for name, tensor in part.tensors.items())
    if "map" not in shapes or not fits:
        raise AvbenchError(f"the part {path} has other tensors than methods give: {shapes}")
    ends = part.score_range
    if ends is not None and not (
        all(isinstance(end, float | int) for end in ends) and -math.inf < ends[0] < ends[1] < math.inf
    ):
        raise AvbenchError(f"the part {path} states a score range that is none: {ends}")
    return part


def _fits(name: str, tensor: Tensor, rows: int) -> bool:
    if tensor.dtype != torch.float32 or not tensor.ndim or tensor.shape[0] != rows:
        return False
    if name == "confidence":
        return tensor.ndim == 1
    if name in {"embedding.image", "embedding.audio"}:  # of a sample whatever the method's similarity takes
        return tensor.ndim > 1
    return _is_map(name) and tensor.ndim == 3 and all(0 < side <= LONGEST_SIDE for side in tensor.shape[1:])


def _is_map(name: str) -> bool:
    return name == "map" or name.startswith("extra.")


def _maps(part: Part) -> Iterator[tuple[str, Tensor]]:
    """The maps of a part by name; one that all rows share once."""
    for name, tensor in part.tensors.items():
        if _is_map(name):
            yield name, tensor[:1] if tensor.stride(0) == 0 else tensor


def _broken(path: Path, part: Part) -> Iterator[str]:
    for name, maps in _maps(part):
        finite, none = maps.isfinite().flatten(1).all(dim=1), maps.isnan().flatten(1).all(dim=1)
        rows = (~finite & ~none).nonzero().flatten().tolist()
        if rows:
            yield (
                f"{len(rows)} of the {name} of {path} hold values that are no finite numbers beside such that are, "
                f"first that of {part.ids[rows[0]]}: mend the method"
            )


def _outside(path: Path, part: Part) -> Iterator[str]:
    if part.score_range is None:
        return
    low, high = part.score_range
    slack = SLACK * (high - low)
    for name, maps in _maps(part):
        rows = ((maps < low - slack) | (maps > high + slack)).flatten(1).any(dim=1).nonzero().flatten().tolist()
        if rows:
            yield (
                f"{len(rows)} of the {name} of {path} leave the score range [{low:g}, {high:g}] that they state, first "
                f"that of {part.ids[rows[0]]}: mend the method"
            )
