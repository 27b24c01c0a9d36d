"""Demands on what a method answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from avbench.contract.asking import (
    TOLERANCE,
    ContractError,
    ask_embeddings,
    ask_everything,
    ask_prediction,
    embeds,
    has_loss,
    in_training,
    require_close,
    require_untouched,
    some,
    told,
)
from avbench.contract.noise import SIZE, build_slim, noise_batch, reads_weights, rows_of, training_batch


def maps(cls: Any) -> None:
    """The maps are raw, ``[B, h, w]`` and finite; so are the extra ones; a confidence is ``[B]``."""
    method = build_slim(cls).eval()
    ask_prediction(method, noise_batch(method))


def score_range(cls: Any) -> str | None:
    """The maps stay inside the range that the method states."""
    method = build_slim(cls).eval()
    stated = getattr(method, "score_range", None)
    if stated is None:
        return "it states no score_range"
    if reads_weights(cls):
        return "its range is that of the published weights, which are made up here"
    low, high = stated
    found, slack = ask_prediction(method, noise_batch(method)).map, TOLERANCE * (high - low)
    least, most = found.min().item(), found.max().item()
    if least < low - slack or most > high + slack:
        raise ContractError(
            f"expected maps in the score_range [{low:g}, {high:g}], got [{least:.4g}, {most:.4g}]: correct one of them"
        )
    return None


def embeddings(cls: Any) -> str | None:
    """The embeddings are finite, one of each kind per sample."""
    return _on_embed(cls, lambda method: ask_embeddings(method, noise_batch(method)))


def similarity(cls: Any) -> str | None:
    """Every image can be compared with every sound, each pair for itself."""
    return _on_embed(cls, _check_similarity)


@torch.inference_mode()
def _check_similarity(method: Any) -> None:
    found = ask_embeddings(method, noise_batch(method))
    if not hasattr(method, "similarity"):
        if found.image.ndim != 2 or found.image.shape != found.audio.shape:
            raise ContractError(
                f"expected both embeddings [B, D] where there is no similarity, got {told(found.image)} and "
                f"{told(found.audio)}: write similarity(images, audios)"
            )
        return
    whole, block = (method.similarity(found.image[:n], found.audio) for n in (SIZE, 3))
    for table, rows in ((whole, SIZE), (block, 3)):
        if table.shape != (rows, SIZE) or not table.isfinite().all():
            raise ContractError(
                f"expected a finite similarity [{rows}, {SIZE}] of {rows} images and {SIZE} sounds, got {told(table)}: "
                "correct similarity"
            )
    usual, other = ({"the similarity": table} for table in (whole[:3], block))
    require_close(usual, other, where="with fewer images beside it", remedy="compare each pair for itself")


def silence(cls: Any) -> str | None:
    """A silent clip and a grey picture get finite answers too."""
    method = build_slim(cls).eval()
    if not {"image", "audio"} & set(cls.info.needs):
        return "it neither sees nor hears"
    ask_everything(method, noise_batch(method, silent=True))
    return None


def looking(cls: Any) -> None:
    """Looking in eval mode changes no state, and gives the same answer twice."""
    method = build_slim(cls).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    first, second = (ask_everything(method, noise_batch(method)) for _ in range(2))
    moved = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    if moved or method.training:
        raise ContractError(
            f"expected localize to leave the method as it was, but {some(moved) or 'its mode'} changed: update state "
            "in loss alone, and only if self.training"
        )
    remedy = "draw nothing in eval mode, and keep nothing from batch to batch"
    require_close(first, second, where="when asked twice", remedy=remedy, tolerance=0)


def batch_size(cls: Any) -> None:
    """What a sample is answered does not depend on how many stand beside it."""
    method = build_slim(cls).eval()
    batch = noise_batch(method)
    alone = [ask_everything(method, rows_of(batch, [i])) for i in range(SIZE)]
    joined = {name: torch.cat([one[name] for one in alone]) for name in alone[0]}
    remedy = "take no statistics over the batch in eval mode"
    require_close(ask_everything(method, batch), joined, where="alone in its batch", remedy=remedy)


def order(cls: Any) -> None:
    """What a sample is answered does not depend on its place in the batch."""
    method = build_slim(cls).eval()
    batch, rows = noise_batch(method), [2, 0, 3, 1]
    shuffled = ask_everything(method, rows_of(batch, rows))
    usual = {name: value[rows] for name, value in ask_everything(method, batch).items()}
    require_close(usual, shuffled, where="in another order", remedy="answer in the order of the batch, each for itself")


def untouched(cls: Any) -> None:
    """The method does not write into the batch that it is given."""
    method = build_slim(cls).eval()
    with torch.inference_mode():
        require_untouched("localize", noise_batch(method), method.localize)
        if embeds(cls):
            require_untouched("embed", noise_batch(method), method.embed)
    if has_loss(cls):
        method = in_training(cls)
        require_untouched("loss", training_batch(method), method.loss)


def _on_embed(cls: Any, check: Callable[[Any], object]) -> str | None:
    if not embeds(cls):
        return "it does not hear" if hasattr(cls, "embed") else "it has no embed"
    check(build_slim(cls).eval())
    return None
