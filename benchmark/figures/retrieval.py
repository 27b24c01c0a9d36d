"""Retrieval examples, as in the figures of JSA and Alignment: a query, and what a method finds most similar to it.

Everything comes from the embeddings that ``avbench run --retrieval`` stores. The gallery is that of the stored ranks,
the samples with a sounding object, in the split's order, ties going to the earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from avbench.data.batches import present
from avbench.data.decoding import decode_audio
from avbench.data.splits import Sample
from avbench.errors import AvbenchError, UsageError
from avbench.figures.choice import FigureChoice
from avbench.figures.gathering import gather_records
from avbench.figures.picking import named, pick
from avbench.figures.seeing import see, split_with_pictures
from avbench.figures.style import DARK, SMALL, looks
from avbench.figures.tiles import Floats, Mark, Pixels, axes_of, below, frame, settled, show_image, show_sound, tiles
from avbench.metrics.retrieval import Similarity
from avbench.opening import Progress, silent
from avbench.parts import read_parts
from avbench.registry import find_method, load_class, make_config, method_names
from avbench.retrieval import FILE, RANKS, Rates, retrieval_of
from avbench.stored import Stored, find_stored
from avbench.truth import read_truth

Direction = Literal["sound-to-image", "image-to-sound"]
WAYS: dict[Direction, str] = {"sound-to-image": "a2i", "image-to-sound": "i2a"}
"""What metrics call the directions."""

TOP, ROWS = 5, 4
"""Answers and queries of a figure, unless told otherwise."""

STEPS = 150
"""Parts of a sound that are drawn."""

SLACK = 1e-5
"""By which similarities may differ from those that were ranked, on another device: of the largest, or of 1."""

HEAD = 0.25
"""Height of the words above all, in tiles."""

TITLE = 7.0
"""Points of a block's title."""


@dataclass(frozen=True)
class Item:
    """A sample as a query or as an answer.

    Attributes:
        label: class of its sound; None where it is not known.
        image: the whole picture.
        envelope: lowest and highest samples ``[2, n]`` of its sound; None where it stands for its picture.
    """

    id: str
    label: str | None
    image: Pixels
    envelope: Floats | None


@dataclass(frozen=True)
class Hit:
    """An answer.

    Attributes:
        similarity: to the query, as the method compares them.
        mark: the query's own partner, another of its class, or one of another; None where a class is not known.
    """

    item: Item
    similarity: float
    mark: Mark | None


@dataclass(frozen=True)
class Query:
    """A query, the most similar of the gallery, and at which rank its own partner stands, from 1."""

    item: Item
    hits: tuple[Hit, ...]
    rank: int


@dataclass(frozen=True)
class Block:
    """Queries in one direction, with the recalls of all queries: by k, of the own pair."""

    direction: Direction
    recalls: Mapping[int, float]
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Retrieval:
    """What is drawn: whose embeddings, on which list, and of how many samples the gallery is."""

    title: str
    split: str
    gallery: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Gallery:
    """Embeddings of the samples with a sounding object, in the split's order, with what is stored of their ranks."""

    images: Tensor
    audios: Tensor
    samples: tuple[Sample, ...]
    similarity: Similarity
    ranks: Mapping[str, Tensor]
    rates: Rates

    def compared(self, queries: Sequence[int], direction: Direction) -> Tensor:
        """``[Q, N]`` similarities of the queries to all answers."""
        rows = list(queries)
        if direction == "image-to-sound":
            return self.similarity(self.images[rows], self.audios).float()
        return self.similarity(self.images, self.audios[rows]).T.float()


def gather(
    places: Sequence[Path],
    choice: FigureChoice,
    progress: Progress = silent,
    *,
    top: int = TOP,
    directions: Sequence[Direction] = tuple(WAYS),
) -> Retrieval:
    """Queries of one method with their answers.

    Args:
        places: a runs folder, one below its ``predictions/``, or a record.
        choice: of the method and the samples.
        progress: for a bar where something has to be read first.
        top: answers of each query.
        directions: at least one.

    Raises:
        UsageError: for several methods, a method without stored embeddings, or samples that are not there.
        AvbenchError: for files that are broken or do not belong together.
    """
    records = gather_records(places, choice, [choice.protocol], progress)
    if len(records) > 1:
        told = ", ".join(record.title for record in records)
        raise UsageError(f"expected one method in a figure of retrieval, got {told}: choose with --method")
    (stored,) = find_stored([records[0].path])
    split = split_with_pictures(records[0], choice, progress)
    gallery = _gallery(stored, {sample.id: sample for sample in split.samples})
    queries = _queries(gallery, choice, split.name)
    blocks = []
    with progress(f"reading {split.name}", len(queries) * len(directions)) as advance:
        for direction in directions:
            blocks.append(_block(gallery, queries, direction, top=top))
            advance(len(queries))
    return Retrieval(records[0].title, split.name, len(gallery.samples), tuple(blocks))


def similarity_of(stored: Stored) -> Similarity:
    """How a method compares its stored embeddings: its own ``similarity``, built without weights, or the cosine."""
    if stored.method not in method_names():
        return _cosines
    cls = load_class(find_method(stored.method))
    if not hasattr(cls, "similarity"):
        return _cosines
    config = stored.resolved["config"] or {}
    without = {"pretrained": None} if "pretrained" in config else {}
    return cast("Similarity", cls(make_config(cls.config_class, {**config, **without})).similarity)


def _cosines(images: Tensor, audios: Tensor) -> Tensor:
    return F.normalize(images.float(), dim=1) @ F.normalize(audios.float(), dim=1).T


def _gallery(stored: Stored, samples: Mapping[str, Sample]) -> _Gallery:
    truth = read_truth(stored.truth_path)
    rates = retrieval_of(stored, truth)
    if not rates:
        raise UsageError(
            f"{stored.title} on {stored.split} was predicted without embeddings to compare: run it again with "
            "avbench run --retrieval, which methods without embeddings ignore"
        )
    parts = list(read_parts(stored.folder, len(truth), ("embedding.image", "embedding.audio")))
    images, audios = (torch.cat([part.tensors[f"embedding.{side}"] for part in parts]) for side in ("image", "audio"))
    kept = [name for name, sounds in zip(truth.ids, truth.positive.tolist(), strict=True) if sounds]
    return _Gallery(
        images=images[truth.positive],
        audios=audios[truth.positive],
        samples=tuple(samples[name] for name in kept),
        similarity=similarity_of(stored),
        ranks=load_file(stored.folder / FILE),
        rates=rates,
    )


def _queries(gallery: _Gallery, choice: FigureChoice, split: str) -> list[int]:
    ids = [sample.id for sample in gallery.samples]
    if isinstance(choice.samples, tuple):
        return named(choice.samples, ids, split)
    if choice.samples == "differ":
        raise UsageError("one method differs from no other: choose the samples evenly, at random or by their ids")
    return pick(choice, np.arange(len(ids)), np.empty((0, 0)), count=ROWS)


@torch.inference_mode()
def _block(gallery: _Gallery, queries: Sequence[int], direction: Direction, *, top: int) -> Block:
    table, way = gallery.compared(queries, direction), WAYS[direction]
    ranks = [int(gallery.ranks[f"{way}_instance"][query]) for query in queries]
    for row, (query, rank) in enumerate(zip(queries, ranks, strict=True)):
        _check_rank(table[row], query, rank, gallery.samples[query].id)
    order = table.nan_to_num(nan=-torch.inf).argsort(dim=1, descending=True, stable=True)[:, :top].tolist()
    found = [
        _query(gallery, query, [(place, float(table[row, place])) for place in order[row]], direction, rank=ranks[row])
        for row, query in enumerate(queries)
    ]
    return Block(direction, {k: gallery.rates[f"{way}_instance_r{k}"][0] for k in RANKS}, tuple(found))


def _check_rank(similarities: Tensor, own: int, rank: int, name: str) -> None:
    """Refuse similarities under which the own partner cannot stand where the stored ranks have it."""
    value, slack = similarities[own], SLACK * float(similarities.nan_to_num().abs().max().clamp(min=1))
    first, last = int((similarities > value + slack).sum()) + 1, int((similarities >= value - slack).sum())
    if not (first <= rank <= last or value.isnan()):
        raise AvbenchError(
            f"the partner of {name} stands at rank {rank} as it was stored and at {first} by the embeddings: they are "
            "compared in a way that only the method with its weights knows, or were changed; run it again"
        )


def _query(
    gallery: _Gallery, query: int, found: Sequence[tuple[int, float]], direction: Direction, *, rank: int
) -> Query:
    asks_by_sound = direction == "sound-to-image"
    samples = gallery.samples
    hits = [
        Hit(_item(samples[place], heard=not asks_by_sound), value, _mark(samples, query, place))
        for place, value in found
    ]
    return Query(_item(samples[query], heard=asks_by_sound), tuple(hits), rank)


def _mark(samples: Sequence[Sample], query: int, place: int) -> Mark | None:
    if query == place:
        return "own"
    one, other = samples[query].label, samples[place].label
    if one is None or other is None:
        return None
    return "right" if one == other else "wrong"


def _item(sample: Sample, *, heard: bool) -> Item:
    return Item(sample.id, sample.label, see(sample, (), "squash").pixels, _envelope(sample) if heard else None)


def _envelope(sample: Sample) -> Floats:
    """Lowest and highest samples of the sound in :data:`STEPS` equal parts; a shorter sound has a part per sample."""
    sound = decode_audio(present(sample.audio, sample))[0]
    parts = np.array_split(sound, min(STEPS, len(sound)))
    return np.array([[part.min() for part in parts], [part.max() for part in parts]], dtype=np.float32)


@looks()
def draw(data: Retrieval) -> Figure:
    """A block per direction: each query with its answers from left to right, framed and signed by what they are."""
    columns = 1 + max(len(query.hits) for block in data.blocks for query in block.queries)
    heights = [1.24 * len(block.queries) + 0.45 for block in data.blocks]
    figure = tiles(columns + 0.2, sum(heights) + HEAD)
    ratios = [HEAD, *heights]
    parts: Any = figure.subfigures(len(ratios), 1, height_ratios=ratios, hspace=0, squeeze=False)[:, 0]
    for part, block in zip(parts[1:], data.blocks, strict=True):
        _draw_block(part, block, columns)
    signs = "\u25cf its own partner, \u2713 of its class, \u2717 of another; below: class and similarity"
    words = f"{data.title} on {data.split}, {data.gallery} pairs; {signs}"
    parts[0].suptitle(words, fontsize=SMALL, color=DARK)
    return settled(figure)


def _draw_block(part: Any, block: Block, columns: int) -> None:
    axes = axes_of(part, len(block.queries), columns)
    told = ", ".join(f"R@{k} {100 * rate:.1f} %" for k, rate in block.recalls.items())
    part.suptitle(f"{block.direction.replace('-', ' ')} ({told})", fontsize=TITLE)
    for line, query in zip(axes, block.queries, strict=True):
        _draw_item(line[0], query.item)
        below(line[0], f"{query.item.label or query.item.id}\nits own: rank {query.rank}")
        for axis, hit in zip(line[1:], query.hits, strict=False):  # a small gallery ends early
            _draw_item(axis, hit.item)
            below(axis, f"{hit.item.label or hit.item.id}\n{hit.similarity:.3f}")
            if hit.mark is not None:
                frame(axis, hit.mark)
    axes[0][0].set_title("query", pad=3)
    axes[0][1].set_title("most similar first", pad=3, loc="left")


def _draw_item(axis: Axes, item: Item) -> None:
    if item.envelope is None:
        show_image(axis, item.image)
    else:
        show_sound(axis, item.envelope, item.image)
