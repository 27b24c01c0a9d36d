"""From decoded pairs to the batch that a method is trained on: augmentation, front-end, further positives, truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from avbench.augment import augment_images, draw_flips, flipped, mask_spectrograms, normalise, simclr_view
from avbench.data.batches import RawBatch
from avbench.data.splits import Sample
from avbench.errors import AvbenchError, UsageError, unknown_name
from avbench.recipe import Recipe
from avbench.types import CANVAS, Batch, View, Window
from avbench.weights import is_annotated, truth_weights

MASKS: dict[str, Literal["official", "fixed"]] = {"masks": "official", "masks_fixed": "fixed"}
"""How an augmentation of a recipe counts a spectrogram's axes."""

SALT = "avbench-annotated:"
"""Stands before an id where its place among the annotated clips is hashed."""


def views_of(method: Any) -> tuple[View, ...]:
    """The further positives that a method's loss reads, in its order.

    Raises:
        UsageError: for a kind that there is not.
    """
    kinds = get_args(View)
    views: tuple[View, ...] = tuple(getattr(method, "views", ()))
    for view in views:
        if view not in kinds:
            raise unknown_name("view", view, kinds, "avbench.types.View")
    return views


def training_windows(method: Any) -> list[Window]:
    """The parts of each clip that a method hears in training: its front-end's, and one at random for another view."""
    own: Window = method.frontend.window
    return [own, _shifted(own)] if "augmented" in views_of(method) else [own]


def prepare(raw: RawBatch, method: Any, recipe: Recipe, samples: Sequence[Sample] = ()) -> Batch:
    """The training batch of a method: augmented and normalised on the device, front-end included.

    The recipe's augmentation is for all pictures and all sounds, each with chances of its own, except for the
    ``augmented`` picture, which is :func:`avbench.augment.simclr_view` of the one that was decoded. The ``augmented``
    sound is the clip's window at random, the ``conceptual`` pair that of the partners. The truth, the union of the
    boxes, is cropped and flipped with the picture; samples beyond the recipe's share of the annotated are without.

    Args:
        raw: with the windows of :func:`training_windows`, and with partners where the method has conceptual views.
        method: what is trained.
        recipe: how it is trained.
        samples: of the split; read where the method wants truth.

    Raises:
        AvbenchError: without pictures, or for conceptual views without partners.
    """
    own: Window = method.frontend.window
    flips = draw_flips(len(raw.ids), recipe.augment)
    batch = Batch(raw.ids, _picture(_images(raw), recipe, flips), _sound(raw, own, method, recipe))
    if getattr(method, "wants_truth", False):
        batch.truth, batch.annotated = _truth(raw, samples, flips, recipe.annotated)
    for view in views_of(method):
        if view == "augmented":
            batch.image_views[view] = normalise(simclr_view(_images(raw)))
            batch.audio_views[view] = _sound(raw, _shifted(own), method, recipe)
        else:
            other = _partner(raw)
            flips = draw_flips(len(other.ids), recipe.augment)
            batch.image_views[view] = _picture(_images(other), recipe, flips)
            batch.audio_views[view] = _sound(other, own, method, recipe)
    return batch


def within_share(name: str, share: float) -> bool:
    """Whether the clip ``name`` is among the ``share`` of clips whose annotation a training uses.

    It is where the SHA-256 of :data:`SALT` and the id, as a fraction in [0, 1), lies below the share, so that it is the
    same in every epoch and process, and stays so for every larger share.
    """
    place = int.from_bytes(hashlib.sha256((SALT + name).encode()).digest())
    return place < share * 2**256


def _shifted(window: Window) -> Window:
    return replace(window, anchor="random")


def _images(raw: RawBatch) -> Tensor:
    if raw.image is None:
        raise AvbenchError("training needs images, and the split has none: name a folder with --data")
    return raw.image


def _partner(raw: RawBatch) -> RawBatch:
    if raw.partner is None:
        raise UsageError("conceptual views are drawn from neighbours, and the training has none: name them")
    return raw.partner


def _picture(images: Tensor, recipe: Recipe, flips: Tensor | None) -> Tensor:
    images = images if flips is None else flipped(images, flips)
    return normalise(augment_images(images, [name for name in recipe.augment if name != "flip"]))


def _sound(raw: RawBatch, window: Window, method: Any, recipe: Recipe) -> Tensor:
    spectrograms: Tensor = method.frontend(raw.waveforms[window], raw.rate)
    for name, axes in MASKS.items():
        if name in recipe.augment:
            spectrograms = mask_spectrograms(spectrograms, axes=axes)
    return spectrograms


def _truth(raw: RawBatch, samples: Sequence[Sample], flips: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
    shown = [(samples[index], place) for index, place in zip(raw.indices, raw.places, strict=True)]
    known = [is_annotated(sample) and within_share(sample.id, share) for sample, _ in shown]
    hidden = torch.zeros(CANVAS, CANVAS)
    truth = torch.stack([truth_weights(*one) if use else hidden for one, use in zip(shown, known, strict=True)])
    truth = truth if flips is None else flipped(truth, flips)
    device = _images(raw).device
    return truth.to(device), torch.tensor(known, device=device)
