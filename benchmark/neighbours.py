"""The samples of a split that resemble each of its samples most: exact search, kept in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from avbench.data.coverage import media_fingerprint
from avbench.data.splits import DEMO_SOURCE, Split
from avbench.data.training_set import Neighbours
from avbench.encoders import MODALITIES, Encoder, Machine, Modality, Vectors, encoder_called, vectors_of
from avbench.errors import AvbenchError, UsageError
from avbench.locking import locked
from avbench.nets.resnet import imagenet_weights
from avbench.store import code_fingerprint, fingerprint, hash_json, home, write_atomic

Table = NDArray[np.int32]

HEADER, TENSOR = "avbench", "neighbours"
CODE = ("neighbours.py", "encoders.py", "frontends.py", "augment.py", "nets", "data")
"""The source on which a table depends."""

SCALE = 2.0**26
"""Unit vectors are rounded to multiples of 1 / SCALE: their products then are whole numbers below 2^53, which float64
adds up without error in any order, so that every device and every chunk gives the same table."""

CHUNK_BYTES = 2**27
"""Similarities that are held at a time."""


@dataclass(frozen=True)
class Search:
    """What a table is made of: neighbours by which encoder, and how many."""

    encoder: Encoder
    k: int


def neighbour_table(split: Split, search: Search, machine: Machine) -> Path:
    """The file of the table, found in the store or made now; of two processes that want it, one makes it.

    The key hashes the split, the media's names, sizes and times, the encoder with its weights, ``k`` and the code, so
    that a table in the store is used without reading any media.

    Raises:
        UsageError: where ``k`` is not between 1 and the number of other samples.
        AvbenchError: as :func:`avbench.encoders.vectors_of`.
    """
    n, encoder = len(split.samples), search.encoder
    if not 0 < search.k < n:
        raise UsageError(
            f"a sample of {split.name} has {n - 1} others to resemble, and k is {search.k}: choose a k of 1 to {n - 1}"
        )
    title = f"{split.name}-{encoder.modality}-{Path(encoder.name).stem}-{search.k}"
    path = home() / "neighbours" / f"{title}-{_key(split, search)[:12]}.safetensors"
    with locked(path):
        if not _stored(path, split, search):
            vectors = vectors_of(split, encoder, machine)
            with machine.progress(f"searching {split.name} for neighbours", n) as advance:
                table = nearest(vectors, search.k, device=machine.device, advance=advance)
            write_atomic(path, save({TENSOR: table}, {HEADER: json.dumps(_described(split, search))}))
    return path


def _stored(path: Path, split: Split, search: Search) -> bool:
    """Whether the store has the table, undamaged."""
    try:
        table = load_table(path, split, search.encoder.modality)
    except AvbenchError:
        return False
    return bool(table.shape[1] == search.k)


def find_neighbours(split: Split, sources: Mapping[str, str], k: int, machine: Machine) -> Neighbours:
    """The ``k`` nearest neighbours of each sample by picture and by sound, for conceptual views.

    Args:
        split: what is trained on.
        sources: by ``image`` and ``audio``: an encoder's name, a ``.npy`` file of its vectors, or the
            ``.safetensors`` file of a table.
        k: how many neighbours; a table may hold more.
        machine: as for :func:`neighbour_table`.

    Raises:
        UsageError: where a source is missing or unknown, before any search, or a table has fewer columns.
        AvbenchError: as :func:`neighbour_table` and :func:`load_table`.
    """
    named = {modality: _named(split, sources.get(modality), modality, k) for modality in MODALITIES}
    image, audio = (_columns(split, source, modality, k=k, machine=machine) for modality, source in named.items())
    return Neighbours(image, audio)


def _named(split: Split, source: str | None, modality: Modality, k: int) -> Path | Encoder:
    """The table's file, or the encoder, that ``source`` names."""
    if source is None:
        raise UsageError(
            f"conceptual views are drawn from samples that resemble each other by {modality}, and none are named: "
            f"run avbench neighbours --split {split.name} --encoder E -k {k} --out FILE, then train with --neighbours "
            f"{modality}=FILE"
        )
    return Path(source) if source.endswith(".safetensors") else encoder_called(source, modality)


def _columns(split: Split, source: Path | Encoder, modality: Modality, *, k: int, machine: Machine) -> Table:
    path = source if isinstance(source, Path) else neighbour_table(split, Search(source, k), machine)
    table = load_table(path, split, modality)
    if not 0 < k <= table.shape[1]:
        raise UsageError(
            f"{k} neighbours are asked for, and {path} holds {table.shape[1]} of each sample: make a table with "
            f"-k {k}, or set fewer"
        )
    return table[:, :k]


def load_table(path: Path, split: Split, modality: Modality) -> Table:
    """The table ``[N, k]`` that a file holds for ``split``: the nearest first, none its own.

    Raises:
        AvbenchError: for a file that is none of ours, damaged, of another split or of the other modality.
    """
    header, table = _read(path)
    if header.get("modality") != modality:
        raise AvbenchError(
            f"expected neighbours by {modality} in {path}, which holds those by {header.get('modality')}"
        )
    made_for = header["split"]
    if (made_for.get("sha256"), made_for.get("n")) != (split.sha256, len(split.samples)):
        raise AvbenchError(
            f"{path} holds the neighbours of {made_for.get('name')} with {made_for.get('n')} samples, not those of "
            f"{split.name} with {len(split.samples)}: make its own with avbench neighbours --split {split.name}"
        )
    n = len(split.samples)
    shaped = table.dtype == np.int32 and table.ndim == 2 and len(table) == n and table.size > 0
    if not shaped or table.min() < 0 or table.max() >= n:
        raise AvbenchError(f"{path} is damaged: delete it and make it again with avbench neighbours")
    return table


def nearest(
    vectors: Vectors,
    k: int,
    *,
    device: torch.device | str = "cpu",
    rows: int | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Table:
    """The ``k`` other rows with the highest cosine to each row, the highest first; of equals the lower index first.

    Cosines are exact to about 2^-26 per coordinate (see :data:`SCALE`): closer ones count as equal where they round
    to the same. The search is exhaustive, and its result the same on all devices and for all ``rows``.

    Args:
        vectors: ``[N, D]``, finite, no row zero.
        k: between 1 and N - 1.
        device: where the products are computed, in float64.
        rows: how many rows are compared at a time; None takes what fits into :data:`CHUNK_BYTES`.
        advance: called with the number of rows that were finished.

    Returns:
        int32 ``[N, k]``.
    """
    whole = torch.from_numpy(_whole_numbers(vectors)).to(device)
    n = len(whole)
    rows = rows or max(1, CHUNK_BYTES // (8 * n))
    found: list[Tensor] = []
    for start in range(0, n, rows):
        scores = whole[start : start + rows] @ whole.T
        own = torch.arange(len(scores), device=scores.device)
        scores[own, own + start] = -torch.inf
        found.append(_highest(scores, k).to("cpu", torch.int32))
        advance(len(scores))
    table: Table = torch.cat(found).numpy()
    return table


def _whole_numbers(vectors: Vectors) -> Vectors:
    scaled = vectors / np.abs(vectors).max(axis=1, keepdims=True)  # else squares of large or small numbers overflow
    whole: Vectors = np.rint(scaled / np.linalg.norm(scaled, axis=1, keepdims=True) * SCALE)
    return whole


def _highest(scores: Tensor, k: int) -> Tensor:
    """Columns of the ``k`` highest per row; topk alone leaves open which of equals it takes, and in which order."""
    values, columns = scores.topk(k)
    columns = columns.sort(dim=1).values
    order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True).indices
    columns = columns.gather(1, order)
    tied = (scores >= values[:, -1:]).sum(1) > k
    columns[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return columns


def _described(split: Split, search: Search) -> dict[str, object]:
    return {
        "split": {"name": split.name, "sha256": split.sha256, "n": len(split.samples)},
        "modality": search.encoder.modality,
        "encoder": search.encoder.name,
        "k": search.k,
    }


def _key(split: Split, search: Search) -> str:
    encoder = search.encoder
    from_media = not encoder.name.endswith(".npy") and split.source != DEMO_SOURCE
    return hash_json(
        {
            **_described(split, search),
            "media": media_fingerprint(split, (encoder.modality,)) if from_media else None,
            "weights": _weights(encoder),
            "code": code_fingerprint(*CODE),
        }
    )


def _weights(encoder: Encoder) -> str | None:
    """Hash of what the encoder knows beside the code."""
    if encoder.name.endswith(".npy"):
        return fingerprint([Path(encoder.name)])
    if encoder.name != "resnet18":
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(imagenet_weights(encoder.weights).items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], Table]:
    if not path.is_file():
        raise AvbenchError(f"expected a table of neighbours at {path}, found nothing: make it with avbench neighbours")
    try:
        with safe_open(path, framework="np") as file:
            header, table = json.loads(file.metadata()[HEADER]), file.get_tensor(TENSOR)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as problem:
        raise AvbenchError(
            f"{path} cannot be read as a table of neighbours ({problem}): make it with avbench neighbours"
        ) from problem
    if not isinstance(header, dict) or not isinstance(header.get("split"), dict):
        raise AvbenchError(
            f"expected in the header of {path} which split its neighbours are of, got something else: make it with "
            "avbench neighbours"
        )
    return header, table
