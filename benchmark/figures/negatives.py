"""Which samples of a batch a method takes for false negatives of each other, and whether they are of one class.

JSA leaves out of its contrast the pairs that are among each other's nearest by picture and by sound. FNAC leaves
nothing out: its guides pull a pair together as far as it is alike within a modality. What is flagged here, a pair that
the mean of the guides (by the weights of their terms) draws together more than in a batch of equals, is our reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from avbench.data.splits import Sample
from avbench.errors import AvbenchError, UsageError
from avbench.figures.asking import Question, ready
from avbench.figures.seeing import see
from avbench.figures.style import DARK, SMALL, looks
from avbench.figures.tiles import Mark, Pixels, axes_of, below, frame, settled, show_image, tiles
from avbench.methods import fnac, jsa
from avbench.metrics.retrieval import same_label
from avbench.opening import Progress, silent
from avbench.types import Embeddings

LEAST = 4
"""Columns of a figure that may stay empty, so that its words have room."""


class Flags(NamedTuple):
    """What a method says of the pairs of a batch.

    Attributes:
        flagged: bool ``[B, B]``, the anchor first; False on the diagonal.
        alike: ``[B, B]``, by which partners are put in order.
        rule: what makes a pair flagged, in words.
    """

    flagged: Tensor
    alike: Tensor
    rule: str


@dataclass(frozen=True)
class Item:
    """A sample: its id, its class where it is known, its whole picture."""

    id: str
    label: str | None
    image: Pixels


@dataclass(frozen=True)
class Anchor:
    """A sample and those that are flagged as its false negatives, the most alike first.

    Attributes:
        partners: as many as are shown.
        right: of each, whether it is of the anchor's class; None where one of the classes is not known.
        more: how many others are flagged.
    """

    item: Item
    partners: tuple[Item, ...]
    right: tuple[bool | None, ...]
    more: int


@dataclass(frozen=True)
class Tally:
    """Of a whole batch, counted over ordered pairs of samples with known classes.

    Attributes:
        flagged: pairs that the method flags.
        alike: pairs of one class.
        right: pairs that are both.
    """

    flagged: int
    alike: int
    right: int

    def told(self) -> str:
        """In words, with precision and recall in percent where there is something to divide by."""
        parts = [f"{self.flagged} pairs flagged, {self.right} of one class"]
        if self.flagged:
            parts.append(f"precision {100 * self.right / self.flagged:.1f} %")
        if self.alike:
            parts.append(f"recall {100 * self.right / self.alike:.1f} % of {self.alike}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Negatives:
    """The anchors that are drawn, and what is true of the whole batch."""

    method: str
    split: str
    batch: int
    rule: str
    tally: Tally
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True)
class BatchChoice:
    """Which samples make the batch, and how many of them are drawn.

    Attributes:
        size: samples in the batch.
        seed: of the draw, every sample being equally likely.
        rows: anchors at most, the first of the batch with a flagged partner.
        columns: partners of each at most.
    """

    size: int = 64
    seed: int = 0
    rows: int = 6
    columns: int = 6


def gather(question: Question, choice: BatchChoice, progress: Progress = silent) -> Negatives:
    """Ask a method which pairs of a batch it takes for false negatives; it answers as in testing, nothing is hidden.

    Raises:
        UsageError: for a method that flags none, settings under which it flags none, or a batch larger than the split.
        AvbenchError: where nothing is flagged; for media or weights that cannot be used.
    """
    name = question.request.ref.name
    if name not in FLAGGING:
        raise UsageError(f"{name} looks for no false negatives: name one of {', '.join(FLAGGING)}")
    asked = ready(question, progress)
    samples = asked.split.samples
    if not 2 <= choice.size <= len(samples):
        raise UsageError(f"expected a batch of 2 to {len(samples)} samples of {asked.split.name}, got {choice.size}")
    numbers = np.random.default_rng(choice.seed).permutation(len(samples))[: choice.size].tolist()
    answers = [answer for _, _, answer in asked.answers(numbers, lambda net, batch: net.embed(batch), progress)]
    found = FLAGGING[name](asked.network.config, _joined(answers))
    batch = [samples[number] for number in numbers]
    anchors = _anchors(found, batch, choice)
    if not anchors:
        raise AvbenchError(
            f"{name} flags no pair of the {choice.size} samples ({found.rule}), so that there is nothing to draw: name "
            "another batch, or settings under which it flags more"
        )
    return Negatives(name, asked.split.name, choice.size, found.rule, tally(found.flagged, batch), tuple(anchors))


def flags_of_jsa(config: Any, found: Embeddings) -> Flags:
    """The pairs that JSA leaves out of its contrast, by the sum of both cosines.

    Args:
        config: for ``reciprocal_k``.
        found: target slots ``[B, D]``, or ``[B, t, D]`` of several targets.

    Raises:
        UsageError: where ``reciprocal_k`` is 0, or not smaller than the batch.
    """
    if config.reciprocal_k == 0:
        raise UsageError(
            "JSA's reciprocal_k is 0 as it was trained, which flags no pair: choose one to look through, for example "
            "--set reciprocal_k=10"
        )
    images, audios = (
        F.normalize(side.reshape(len(side), -1, side.shape[-1]), dim=2) for side in (found.image, found.audio)
    )
    rows = torch.arange(len(images), device=images.device)
    seen, heard = (
        side[rows, place] for side, place in zip((images, audios), jsa.best_pairs(images, audios), strict=True)
    )
    flagged = jsa.false_negatives(seen, heard, config.reciprocal_k)
    return Flags(flagged, seen @ seen.T + heard @ heard.T, f"k = {config.reciprocal_k} reciprocal neighbours")


def flags_of_fnac(config: Any, found: Embeddings) -> Flags:
    """The pairs that FNAC's guides liken more than ``1 / B``, as a batch would be where all are equally alike.

    Args:
        config: for ``tau`` and the weights of the terms; a guide of weight 0 is left out.
        found: unit cells ``[B, C, h, w]`` and unit sounds ``[B, C]``.

    Raises:
        UsageError: where both guides have no weight.
    """
    guides = {
        "sounds": (config.fns1_weight, found.audio),
        "images": (config.fns2_weight, found.image.mean(dim=(2, 3))),
    }
    used = {name: guide for name, guide in guides.items() if guide[0]}
    if not used:
        raise UsageError("FNAC has no guide with fns1_weight = 0 and fns2_weight = 0: set one of them above 0")
    total = sum(weight for weight, _ in used.values())
    terms = [weight / total * fnac.likeness(vectors, config.tau) for weight, vectors in used.values()]
    alike = torch.stack(terms).sum(dim=0)
    own = torch.eye(len(alike), dtype=torch.bool, device=alike.device)
    return Flags((alike > 1 / len(alike)) & ~own, alike, f"likeness of {' and '.join(used)} above 1/{len(alike)}")


FLAGGING: dict[str, Callable[[Any, Embeddings], Flags]] = {"jsa": flags_of_jsa, "fnac": flags_of_fnac}
"""Methods that look for false negatives within a batch."""


def tally(flagged: Tensor, batch: Sequence[Sample]) -> Tally:
    """Count the flags ``[B, B]`` of a batch; pairs with a sample of unknown class are left out."""
    known = torch.tensor([sample.label is not None for sample in batch], device=flagged.device)
    pairs = known[:, None] & known & ~torch.eye(len(batch), dtype=torch.bool, device=flagged.device)
    labels = [sample.label for sample in batch]
    alike = same_label(labels, labels).to(flagged.device) & pairs
    return Tally(int((flagged & pairs).sum()), int(alike.sum()), int((flagged & alike).sum()))


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    return Embeddings(torch.cat([part.image for part in parts]), torch.cat([part.audio for part in parts]))


def _anchors(found: Flags, batch: Sequence[Sample], choice: BatchChoice) -> list[Anchor]:
    shown = found.flagged.any(dim=1).nonzero()[: choice.rows, 0].tolist()
    return [_anchor(found, batch, row, choice.columns) for row in shown]


def _anchor(found: Flags, batch: Sequence[Sample], row: int, columns: int) -> Anchor:
    order = found.alike[row].masked_fill(~found.flagged[row], -torch.inf).argsort(descending=True, stable=True)
    count = int(found.flagged[row].sum())
    partners = [batch[place] for place in order[: min(count, columns)].tolist()]
    return Anchor(
        item=_item(batch[row]),
        partners=tuple(map(_item, partners)),
        right=tuple(_of_one_class(batch[row], partner) for partner in partners),
        more=max(0, count - columns),
    )


def _of_one_class(one: Sample, other: Sample) -> bool | None:
    return None if one.label is None or other.label is None else one.label == other.label


def _item(sample: Sample) -> Item:
    return Item(sample.id, sample.label, see(sample, (), "squash").pixels)


@looks()
def draw(data: Negatives) -> Figure:
    """A row per anchor: its picture, then its partners, framed and signed by whether they are of its class."""
    columns = max(LEAST, 1 + max(len(anchor.partners) for anchor in data.anchors))
    figure = tiles(columns + 0.3, 1.2 * len(data.anchors) + 0.45)
    axes = axes_of(figure, len(data.anchors), columns)
    for line, anchor in zip(axes, data.anchors, strict=True):
        _draw_anchor(line, anchor)
    axes[0][0].set_title("anchor", pad=3)
    axes[0][1].set_title("taken for false negatives (\u2713 of its class, \u2717 of another)", pad=3, loc="left")
    words = f"{data.method} on {data.batch} samples of {data.split}, {data.rule}\n{data.tally.told()}"
    figure.suptitle(words, fontsize=SMALL, color=DARK)
    return settled(figure)


def _draw_anchor(line: Sequence[Axes], anchor: Anchor) -> None:
    _draw_item(line[0], anchor.item)
    for axis, partner, right in zip(line[1:], anchor.partners, anchor.right, strict=False):  # a row may end early
        _draw_item(axis, partner)
        if right is not None:
            mark: Mark = "right" if right else "wrong"
            frame(axis, mark)
    if anchor.more:
        last = line[len(anchor.partners)]
        last.text(1.06, 0.5, f"+ {anchor.more}", transform=last.transAxes, ha="left", va="center")


def _draw_item(axis: Axes, item: Item) -> None:
    show_image(axis, item.image)
    below(axis, item.label or item.id)
