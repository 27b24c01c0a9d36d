"""Cross-modal retrieval from stored embeddings: ranks once, while the method is there; rates whenever asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from avbench.errors import AvbenchError
from avbench.metrics.retrieval import recalls, retrieval_ranks
from avbench.parts import read_parts
from avbench.store import write_atomic
from avbench.stored import Stored
from avbench.truth import Truth

RANKS = (1, 5, 10)
FILE = "retrieval.safetensors"
VERSION = 1
"""Raised whenever the same embeddings could get other ranks."""

Rates = dict[str, tuple[float, int]]


def rank_embeddings(stored: Stored, truth: Truth, method: Any) -> None:
    """Store how far each sample's partner stands, both ways, of the own pair and of any item of the own class.

    The gallery is the samples with a sounding object, in the split's order. Nothing is done for a method without
    embeddings, or where the ranks are stored already.
    """
    path = stored.folder / FILE
    if not hasattr(method, "embed") or (path.exists() and _version(path) == VERSION):
        return
    names = ("embedding.image", "embedding.audio")
    parts = list(read_parts(stored.folder, len(truth), names))
    images, audios = (torch.cat([part.tensors[name] for part in parts])[truth.positive] for name in names)
    labels = [label for label, kept in zip(truth.labels, truth.positive.tolist(), strict=True) if kept]
    known = [label for label in labels if label is not None]
    with torch.inference_mode():
        ranks = retrieval_ranks(
            images,
            audios,
            labels=known if len(known) == len(labels) else None,
            similarity=getattr(method, "similarity", None),
        )
    write_atomic(path, save(ranks, metadata={"version": str(VERSION)}))


def retrieval_of(stored: Stored, truth: Truth) -> Rates:
    """Recall at 1, 5 and 10 by metric id, each with the number of queries: ``a2i_instance_r1``, ``a2i_class_r1``, ...

    Empty where no ranks were stored.

    Raises:
        AvbenchError: for a file of ranks that cannot be read, of another version, or of another number of samples.
    """
    path = stored.folder / FILE
    if not path.exists():
        return {}
    if _version(path) != VERSION:
        raise AvbenchError(f"the ranks in {path} are not of version {VERSION}: delete the file and run again")
    ranks: dict[str, Tensor] = load_file(path)
    queries = int(truth.positive.sum())
    if any(len(values) != queries for values in ranks.values()):
        raise AvbenchError(f"the ranks in {path} are not those of {queries} samples: delete the file and run again")
    found: Rates = {}
    for name, values in ranks.items():
        found |= {f"{name}_r{k}": (rate, queries) for k, rate in recalls(values, RANKS).items()}
    return found


def _version(path: Path) -> int | None:
    """Of the ranks in a file; None for another form."""
    try:
        with safe_open(path, framework="pt") as file:
            stated = (file.metadata() or {}).get("version", "")
    except (SafetensorError, OSError) as problem:
        raise AvbenchError(f"the ranks in {path} cannot be read ({problem}): delete the file and run again") from None
    return int(stated) if stated.isdigit() else None
