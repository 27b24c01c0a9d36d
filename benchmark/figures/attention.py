"""Where the slots of a method look and listen: each slot's own attention, over the picture and along the spectrogram.

The slots of JSA compete for what they attend to: a softmax over the slots for each cell of the picture and for each
position of the sound, here of the last iteration and without sharpening, as the iterations themselves compute it
(JSA ``model_slot.py``). Of methods without slots the maps that they give beside their own are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from avbench.data.loader import RawBatch
from avbench.errors import UsageError
from avbench.figures.asking import Asked, Question, numbers_of, ready
from avbench.figures.choice import FigureChoice
from avbench.figures.seeing import Seen, see
from avbench.figures.style import SMALL, caption, looks
from avbench.figures.tiles import (
    Floats,
    axes_of,
    beside,
    settled,
    show_heat,
    show_image,
    show_spectrogram,
    tiles,
)
from avbench.metrics.maps import minmax_guarded
from avbench.nets.resnet import STRIDE
from avbench.nets.slot_attention import JointSlotAttention, Slots, compete
from avbench.opening import Progress, silent
from avbench.pictures import HEAT
from avbench.predicting import picture_of
from avbench.types import Batch

ROWS = 5
"""Samples of a figure, unless told otherwise."""

SOUND = "sound"
"""What the panel of the spectrogram is called."""


@dataclass(frozen=True)
class AttentionRow:
    """One sample: what it is, and where is attended to.

    Attributes:
        title: class of the sound, or the sample's id.
        seen: the picture as the method sees it, with the boxes of the truth.
        looks: by panel, ``[h, w]`` in [0, 1].
        spectrogram: ``[F, T]``, low frequencies first; None where no panel listens.
        listens: by panel, ``[P]`` in [0, 1], one for every :data:`avbench.nets.resnet.STRIDE` columns of the
            spectrogram; the last may have fewer.
    """

    title: str
    seen: Seen
    looks: dict[str, Floats]
    spectrogram: Floats | None
    listens: dict[str, Floats]


@dataclass(frozen=True)
class Attention:
    """The rows of a figure, which have the same panels.

    Attributes:
        method: its name.
        split: the list that the samples are of.
        slots: True where weights are the slots' own, shares that sum to 1 over the slots; False for maps that are
            stretched to [0, 1] one by one.
    """

    method: str
    split: str
    slots: bool
    rows: tuple[AttentionRow, ...]


def gather(question: Question, choice: FigureChoice, progress: Progress = silent) -> Attention:
    """Ask a method where it attends to in some samples.

    Args:
        question: the method and the split.
        choice: of the samples.
        progress: for a bar.

    Raises:
        UsageError: for a method that has neither slots nor further maps, or that does not look; for samples that are
            not there.
        AvbenchError: for media or weights that cannot be used.
    """
    asked = ready(question, progress)
    slots = slots_of(asked.network)
    numbers = numbers_of(asked.split, choice, count=ROWS)
    ask = _further if slots is None else _attended
    rows = [row for answer in asked.answers(numbers, ask, progress) for row in _rows(asked, *answer)]
    return Attention(asked.name, asked.split.name, slots is not None, tuple(rows))


def slots_of(network: Any) -> JointSlotAttention | None:
    """The slot attention in a method; None where it has none."""
    parts = network.modules() if isinstance(network, torch.nn.Module) else ()
    return next((part for part in parts if isinstance(part, JointSlotAttention)), None)


def slot_weights(image: Slots, audio: Slots) -> tuple[Tensor, Tensor]:
    """Each slot's attention to its own modality, of the last iteration: ``[B, K, P]`` and ``[B, K, T]``.

    Positive, and for each position the slots sum to 1 but for :data:`avbench.nets.slot_attention.EPSILON` each.
    """
    return compete(image.queries, image.keys), compete(audio.queries, audio.keys)


def slot_names(slots: int, targets: int) -> list[str]:
    """What the slots are called, targets first: ``target slot``, ``off-target slot``, numbered where there are more."""
    counts = {"target slot": targets, "off-target slot": slots - targets}
    return [name if n == 1 else f"{name} {number}" for name, n in counts.items() for number in range(1, n + 1)]


Panels = dict[str, Tensor]


def _attended(network: Any, batch: Batch) -> tuple[Panels, Panels]:
    """Of a method with slots: by slot ``[B, h, w]`` over the picture and ``[B, T]`` along the sound."""
    caught: list[tuple[Slots, Slots]] = []
    part = slots_of(network)
    assert part is not None  # noqa: S101 - chosen by it
    hook = part.register_forward_hook(lambda module, given, found: caught.append(found))
    try:
        grid = network.localize(batch).map.shape[1:]
    finally:
        hook.remove()
    seen, heard = slot_weights(*caught[-1])
    names = slot_names(seen.shape[1], getattr(network.config, "num_targets", 1))
    looks = {name: seen[:, place].reshape(-1, *grid) for place, name in enumerate(names)}
    return looks, {name: heard[:, place] for place, name in enumerate(names)}


def _further(network: Any, batch: Batch) -> tuple[Panels, Panels]:
    """Of another method: its map and those that it gives beside it, each stretched to [0, 1]."""
    if not batch.image.shape[-1]:
        raise UsageError(f"this figure shows pictures, and {type(network).__name__} looks at none: name another method")
    found = network.localize(batch)
    if not found.extra:
        raise UsageError(
            f"this figure needs a method with slots or with further maps, as jsa has, and "
            f"{type(network).__name__} gives one map alone: name another, or draw a grid"
        )
    names = {"map": found.map} | {name.replace("_", " "): extra for name, extra in found.extra.items()}
    return {name: minmax_guarded(maps) for name, maps in names.items()}, {}


def _rows(asked: Asked, raw: RawBatch, batch: Batch, panels: tuple[Panels, Panels]) -> Iterator[AttentionRow]:
    looks, listens = ({name: _floats(values) for name, values in side.items()} for side in panels)
    spectrograms = _floats(batch.audio[:, 0]) if listens and batch.audio is not None else None
    for row, index in enumerate(raw.indices):
        sample = asked.split.samples[index]
        yield AttentionRow(
            title=sample.label or sample.id,
            seen=see(sample, sample.boxes, picture_of(asked.network)),
            looks={name: values[row] for name, values in looks.items()},
            spectrogram=None if spectrograms is None else spectrograms[row],
            listens={name: values[row] for name, values in listens.items()},
        )


def _floats(values: Tensor) -> Floats:
    found: Floats = values.float().cpu().numpy()
    return found


@looks()
def draw(data: Attention) -> Figure:
    """A row per sample: the picture with the boxes of the truth, each panel over it, the spectrogram, each over that.

    The colours are one scale from 0 to 1 for all panels, of the slots' shares or of maps that are each stretched to it.
    """
    first = data.rows[0]
    heard = [SOUND, *first.listens] if first.listens else []
    titles = ["image", *first.looks, *heard]
    figure = tiles(len(titles) + 0.7, 1.04 * len(data.rows) + 0.4)
    axes = axes_of(figure, len(data.rows), len(titles))
    for line, row in zip(axes, data.rows, strict=True):
        _draw_row(line, row)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, pad=3)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), HEAT),
        ax=[axis for line in axes for axis in line],
        aspect=12 * len(data.rows),
        pad=0.01,
    )
    bar.set_label("share of the slot" if data.slots else "each map, from its least to its most", fontsize=SMALL)
    caption(figure, f"{data.method} on {data.split}")
    return settled(figure)


def _draw_row(line: Sequence[Axes], row: AttentionRow) -> None:
    places = iter(line)
    show_image(next(places), row.seen.pixels, row.seen.boxes)
    beside(line[0], row.title)
    for weights in row.looks.values():
        show_heat(next(places), row.seen.pixels, weights)
    if row.spectrogram is None:
        return
    show_spectrogram(next(places), row.spectrogram)
    for heard in row.listens.values():
        show_spectrogram(next(places), row.spectrogram, heard, span=STRIDE)
