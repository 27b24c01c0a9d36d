"""Asking a method on behalf of its contract: every answer is looked at before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from avbench.contract.noise import build_slim, changed, tensors_of, training_batch
from avbench.errors import AvbenchError
from avbench.types import Batch, Embeddings, Prediction

TOLERANCE = 1e-4
"""Largest difference in float32 between answers that should be the same, as a share of their largest magnitude."""

LATE = 1000
"""An epoch after whatever a method warms up for."""

Answers = dict[str, Tensor]


class ContractError(AvbenchError):
    """A demand that a method does not meet: what was expected, what came, what to do."""


def has_loss(cls: Any) -> bool:
    """Whether the method is trained by a loss."""
    return callable(getattr(cls, "loss", None))


def embeds(cls: Any) -> bool:
    """Whether the method is asked for embeddings: those that do not hear are not."""
    return hasattr(cls, "embed") and "audio" in cls.info.needs


def in_training(cls: Any, *, epoch: int = LATE, seed: int = 0) -> Any:
    """A small build in training mode, told which epoch begins: by default one in which all terms count."""
    method = build_slim(cls, seed).train()
    if hasattr(method, "start_epoch"):
        method.start_epoch(epoch)
    return method


def ask_loss(method: Any, *, name: str = "loss", change: Callable[[Tensor], Tensor] = Tensor.clone) -> Answers:
    """The loss of the training batch, its random parts from one seed.

    Raises:
        ContractError: where it is no dict of finite scalars with a ``total``.
    """
    batch = changed(training_batch(method), change)
    torch.manual_seed(3)
    terms = getattr(method, name)(batch)
    if not isinstance(terms, dict) or "total" not in terms:
        came = f"the keys {', '.join(map(str, terms))}" if isinstance(terms, dict) else told(terms)
        raise ContractError(f"expected loss to answer with a dict of terms and their total, got {came}: name them")
    wrong = [f"{k} {told(v)}" for k, v in terms.items() if not isinstance(v, Tensor) or v.shape or not v.isfinite()]
    if wrong:
        raise ContractError(
            f"expected each term of the loss to be a finite scalar tensor, got {', '.join(wrong)}: correct loss"
        )
    return terms


@torch.inference_mode()
def ask_prediction(method: Any, batch: Batch) -> Prediction:
    """The prediction for a copy of ``batch``.

    Raises:
        ContractError: where it is not finite maps ``[B, h, w]``, and a confidence ``[B]`` if any.
    """
    size = len(batch.ids)
    found = method.localize(changed(batch, Tensor.clone))
    if not isinstance(found, Prediction):
        raise ContractError(f"expected localize to answer with a Prediction, got {told(found)}: wrap the map in one")
    for name, value in _named(found).items():
        dimensions = 1 if name == CONFIDENCE else 3
        if value.ndim != dimensions or len(value) != size or not value.is_floating_point():
            shape = f"[{size}]" if name == CONFIDENCE else f"[{size}, h, w]"
            raise ContractError(
                f"expected {name} to be {shape} floats for {size} samples, got {told(value)} of {value.dtype}: "
                "correct localize"
            )
        require_finite(name, value)
    return found


@torch.inference_mode()
def ask_embeddings(method: Any, batch: Batch) -> Embeddings:
    """The embeddings of a copy of ``batch``.

    Raises:
        ContractError: where they are not finite, or not one of each kind per sample.
    """
    found = method.embed(changed(batch, Tensor.clone))
    if not isinstance(found, Embeddings):
        raise ContractError(f"expected embed to answer with Embeddings, got {told(found)}: wrap both tensors in one")
    for name, value in (("image", found.image), ("audio", found.audio)):
        if value.ndim < 2 or len(value) != len(batch.ids):
            raise ContractError(
                f"expected one {name} embedding for each of {len(batch.ids)} samples, got {told(value)}: correct embed"
            )
        require_finite(f"the {name} embeddings", value)
    return found


def ask_everything(method: Any, batch: Batch) -> Answers:
    """All that a method says of each sample: maps, confidence, embeddings."""
    answers = _named(ask_prediction(method, batch))
    if embeds(type(method)):
        both = ask_embeddings(method, batch)
        answers |= {"the image embedding": both.image, "the audio embedding": both.audio}
    return answers


CONFIDENCE = "the confidence"


def _named(found: Prediction) -> Answers:
    answers = {"the map": found.map, **{f"the extra map {name}": value for name, value in found.extra.items()}}
    return answers if found.confidence is None else {**answers, CONFIDENCE: found.confidence}


def require_finite(name: str, value: Tensor) -> None:
    """Refuse infinities and values that are no number.

    Raises:
        ContractError: saying how many there are.
    """
    bad = int((~value.isfinite()).sum())
    if bad:
        raise ContractError(
            f"expected {name} to be finite, but {bad} of {value.numel()} values are not: look for a division by zero, "
            "a logarithm or an overflow"
        )


def require_close(usual: Answers, other: Answers, *, where: str, remedy: str, tolerance: float = TOLERANCE) -> None:
    """Refuse answers that differ by more than ``tolerance`` of the largest magnitude of the usual one.

    Raises:
        ContractError: for the first that does, saying ``where`` it came out otherwise, and the ``remedy``.
    """
    if usual.keys() != other.keys():
        raise ContractError(f"expected {', '.join(usual)} {where} too, got {', '.join(other)}: {remedy}")
    for name, value in usual.items():
        known, came = (tensor.detach().to("cpu", torch.float64) for tensor in (value, other[name]))
        if known.shape != came.shape:
            raise ContractError(
                f"expected {name} to be {told(known)} {where} as it is otherwise, got {told(came)}: {remedy}"
            )
        gap, largest = (known - came).abs().max().item(), known.abs().max().item()
        if gap > tolerance * largest:
            raise ContractError(
                f"expected {name} to be the same {where}, but it differs by {gap:.2g} where its largest value is "
                f"{largest:.2g}: {remedy}"
            )


def require_untouched(name: str, batch: Batch, call: Callable[[Batch], object]) -> None:
    """Refuse a ``call`` that writes into the batch it is given.

    Raises:
        ContractError: naming what changed.
    """
    before = changed(batch, Tensor.clone)
    call(batch)
    now, then = tensors_of(batch), tensors_of(before)
    touched = [key for key in then if key not in now or not torch.equal(now[key], then[key])]
    if touched or now.keys() != then.keys() or batch.ids != before.ids:
        raise ContractError(
            f"expected {name} to leave its batch as it was, but {some(touched) or 'its members'} changed: copy before "
            "writing, since other methods get the same tensors"
        )


def doubled(tensor: Tensor) -> Tensor:
    """A copy, in float64 where the tensor holds floats."""
    return tensor.double() if tensor.is_floating_point() else tensor.clone()


def told(value: Any) -> str:
    """A value in words: a number, a shape, or a kind."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if not value.shape:
        return f"{value.item():g}"
    return f"{list(value.shape)}" if value.isfinite().all() else f"{list(value.shape)} with values that are not finite"


def some(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
