"""Cross-modal retrieval from stored embeddings."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.metrics.retrieval import recall_at_k, same_label
from avbench.parts import read_parts
from avbench.request import Job

RANKS = (1, 5, 10)


def retrieval_metrics(job: Job, method: Any) -> dict[str, float]:
    """Recall at 1, 5 and 10 both ways, of the own pair and of any item of the own class; empty without embeddings.

    The gallery is the split's samples with a sounding object, in the split's order.
    """
    if not hasattr(method, "embed"):
        return {}
    names = ("embedding.image", "embedding.audio")
    parts = list(read_parts(job.folder, len(job.split.samples), names))
    keep = torch.tensor([bool(sample.boxes) for sample in job.split.samples])
    images, audios = (torch.cat([part.tensors[name] for part in parts])[keep] for name in names)
    similarity = _similarity(method, images, audios)
    labels = [sample.label for sample in job.split.samples if sample.boxes]
    return _recalls(similarity, labels)


@torch.inference_mode()
def _similarity(method: Any, images: Tensor, audios: Tensor) -> Tensor:
    if hasattr(method, "similarity"):
        compared: Tensor = method.similarity(images, audios)
        return compared
    return F.normalize(images, dim=1) @ F.normalize(audios, dim=1).T


def _recalls(similarity: Tensor, labels: list[str | None]) -> dict[str, float]:
    """By metric id: ``a2i_instance_r1`` is of the own pair, ``a2i_class_r1`` of any item of the own class."""
    relevant: dict[str, Tensor | None] = {"instance": None}
    known = [label for label in labels if label is not None]
    if len(known) == len(labels):
        relevant["class"] = same_label(known, known)
    found: dict[str, float] = {}
    for kind, hits in relevant.items():
        for way, matrix in (("i2a", similarity), ("a2i", similarity.T)):
            recalls = recall_at_k(matrix, hits, RANKS)
            found |= {f"{way}_{kind}_r{rank}": float(value) for rank, value in recalls.items()}
    return found
