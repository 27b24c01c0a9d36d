"""Cards: what a method is, what it learns from, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from avbench.building import build_request
from avbench.errors import AvbenchError
from avbench.measuring import RATE, Cost, Counts, Measured, count, example_batch, learns, measure, weight_bytes
from avbench.predicting import resolve_device
from avbench.provenance import machine
from avbench.registry import load_class
from avbench.request import MethodRequest
from avbench.testing import sentence
from avbench.types import Window

FIRST, MIDDLE = "the first", "the middle"
ANCHORS = {"centre": MIDDLE, "centre-seconds": MIDDLE, "start": FIRST, "rolled": FIRST, "random": "any"}

COUNTING = (
    "Parameters: elements of all parameters, momentum copies and auxiliary decoders included; at inference those that "
    "`localize` reads. FLOPs: convolutions and matrix products, 1 multiply-accumulate = 2 FLOPs; a training step is "
    "the loss and its gradients."
)
"""What the counts mean."""


@dataclass(frozen=True)
class Card:
    """A method's card; :func:`markdown` shows it, :func:`as_json` gives it to programs."""

    request: MethodRequest
    config: dict[str, Any]
    frontend: str | None
    spectrogram: tuple[int, ...] | None
    """``(F, T)``; None for methods that hear nothing."""
    score_range: tuple[float, float] | None
    own_similarity: bool
    counts: Counts
    weight_bytes: int
    batch_size: int
    measured: Measured | None
    machine: dict[str, Any]

    @property
    def name(self) -> str:
        """The method's registered name."""
        return self.request.ref.name


def make_card(request: MethodRequest, *, device: str, batch_size: int, measured: bool) -> Card:
    """Build the method of ``request``, count, and with ``measured`` time it.

    Args:
        request: the method; without a checkpoint the settings alone decide.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, on which it is measured.
        batch_size: samples per batch, of counts and measurements alike; the training loss may depend on it.
        measured: False leaves time and memory out, which takes a second.

    Raises:
        UsageError: for an unknown setting or device, or a batch that the method's loss refuses.
        AvbenchError: for a checkpoint that cannot be used, or for whatever the method raises.
    """
    place = str(resolve_device(device))
    try:
        return _made(request, place, batch_size, measured=measured)
    except (AvbenchError, OSError):
        raise
    except Exception as problem:  # whatever other people's code raises
        raise AvbenchError(sentence(problem, load_class(request.ref))) from problem


def _made(request: MethodRequest, place: str, batch_size: int, *, measured: bool) -> Card:
    method = build_request(request, place)
    sample = example_batch(method, method.info.needs, 1)
    return Card(
        request=request,
        config=asdict(method.config),
        frontend=_frontend_words(method),
        spectrogram=None if sample.audio is None else tuple(sample.audio.shape[2:]),
        score_range=getattr(method, "score_range", None),
        own_similarity=hasattr(method, "similarity"),
        counts=count(method, batch_size),
        weight_bytes=weight_bytes(method),
        batch_size=batch_size,
        measured=measure(method, batch_size) if measured else None,
        machine={**machine(place), "name": _device_name(place), "torch": torch.__version__},
    )


def markdown(cards: Sequence[Card]) -> str:
    """The cards one below the other, and with several of them a table that compares them."""
    blocks = [_card_text(card) for card in cards]
    if len(cards) > 1:
        blocks.append(f"# Comparison\n\n{comparison(cards)}")
    return "\n\n".join([*blocks, *_notes(cards)]) + "\n"


def comparison(cards: Sequence[Card]) -> str:
    """One line per card, as a Markdown table; parameters in millions with two decimals, blank where there is none."""
    columns = [
        ("method", [card.name for card in cards]),
        ("labels", [card.request.info.labels for card in cards]),
        ("pretrained parts", [card.request.info.pretrained for card in cards]),
        ("map", [_times(card.counts.prediction.map.shape[1:]) for card in cards]),
        ("parameters, training (M)", [f"{card.counts.parameters / 1e6:.2f}" for card in cards]),
        ("parameters, inference (M)", [f"{card.counts.inference / 1e6:.2f}" for card in cards]),
        ("GFLOPs, localize", [_giga(card.counts.localize_flops) for card in cards]),
        ("GFLOPs, training step", [_giga(card.counts.step_flops) for card in cards]),
    ]
    if any(card.measured for card in cards):
        costs = [(card.measured.localize, card.measured.step) if card.measured else (None, None) for card in cards]
        columns += [
            ("ms, localize", [_milliseconds(localize) for localize, _ in costs]),
            ("ms, training step", [_milliseconds(step) for _, step in costs]),
            ("peak MB, localize", [_megabytes(localize) for localize, _ in costs]),
            ("peak MB, training step", [_megabytes(step) for _, step in costs]),
        ]
    return _table([title for title, _ in columns], list(zip(*(cells for _, cells in columns), strict=True)))


def as_json(card: Card) -> dict[str, Any]:
    """The card as JSON can hold it; shapes are of one sample, FLOPs and seconds per sample, memory in bytes.

    An infinite end of ``score_range`` is None.
    """
    info, counts = card.request.info, card.counts
    embeddings = counts.embeddings
    return {
        "method": card.name,
        "origin": card.request.ref.origin,
        **{key: getattr(info, key) for key in ("summary", "paper", "official", "labels", "pretrained")},
        "reads": list(info.needs),
        "config": card.config,
        "checkpoint": _path(card.request.checkpoint),
        "frontend": card.frontend,
        "spectrogram": card.spectrogram and list(card.spectrogram),
        "map": _shape(counts.prediction.map),
        "score_range": card.score_range and [end if math.isfinite(end) else None for end in card.score_range],
        "extra_maps": {name: _shape(extra) for name, extra in counts.prediction.extra.items()},
        "confidence": counts.prediction.confidence is not None,
        "embeddings": embeddings and {"image": _shape(embeddings.image), "audio": _shape(embeddings.audio)},
        "parameters": {key: getattr(counts, key) for key in ("parameters", "trainable", "inference", "buffers")},
        "flops": {"localize": counts.localize_flops, "training_step": counts.step_flops},
        "weight_bytes": card.weight_bytes,
        "batch_size": card.batch_size,
        "measured": None if card.measured is None else {**asdict(card.measured), **card.machine},
    }


def _card_text(card: Card) -> str:
    lines = [*_description(card), *_answers(card), *_counted(card), *_measured(card)]
    return f"# {card.name}\n\n{_table(['', card.name], lines)}"


def _description(card: Card) -> list[tuple[str, str]]:
    info, ref = card.request.info, card.request.ref
    lines = [("what it is", info.summary), ("paper", info.paper), ("official code", info.official)]
    if ref.origin != "built-in":
        lines.append(("from", ref.origin))
    lines += [("labels in training", info.labels), ("pretrained parts", info.pretrained)]
    changed = ", ".join(f"{key} = {value}" for key, value in card.request.overrides.items())
    given = {"checkpoint": _path(card.request.checkpoint), "settings changed": changed}
    return [(title, text) for title, text in [*lines, *given.items()] if text]


def _answers(card: Card) -> list[tuple[str, str]]:
    prediction, embeddings = card.counts.prediction, card.counts.embeddings
    lines = [("reads", " and ".join(card.request.info.needs) or "nothing")]
    if card.spectrogram is not None:
        lines.append(("front-end", card.frontend or ""))
        lines.append(("spectrogram", f"{_times(card.spectrogram)}, frequencies by frames"))
    lines.append(("map", f"{_times(prediction.map.shape[1:])}, {_range_words(card.score_range)}"))
    if prediction.extra:
        lines.append(("further maps", ", ".join(prediction.extra)))
    if prediction.confidence is not None:
        lines.append(("confidence", "one number per sample, of its own"))
    if embeddings is not None:
        compared = "its own similarity" if card.own_similarity else "cosine"
        shapes = f"image {_times(embeddings.image.shape[1:])}, audio {_times(embeddings.audio.shape[1:])}"
        lines.append(("embeddings", f"{shapes}, compared by {compared}"))
    return lines


def _counted(card: Card) -> list[tuple[str, str]]:
    counts = card.counts
    lines = [
        ("parameters in training", _millions(counts.parameters)),
        ("of these trained", _millions(counts.trainable)),
        ("parameters at inference", _millions(counts.inference)),
        ("buffers", _millions(counts.buffers)),
        ("FLOPs of localize", f"{_giga(counts.localize_flops)} G per sample"),
    ]
    if counts.step_flops is not None:
        lines.append(("FLOPs of a training step", f"{_giga(counts.step_flops)} G per sample"))
    return [*lines, ("weights in memory", f"{card.weight_bytes / 1e6:.1f} MB")]


def _measured(card: Card) -> list[tuple[str, str]]:
    if card.measured is None:
        return []
    costs = [("localize", card.measured.localize), ("a training step", card.measured.step)]
    lines = []
    for title, cost in costs:
        if cost is not None:
            spent = f"{_milliseconds(cost)} ms per sample, median of {cost.repetitions}"
            lines.append((f"time of {title}", spent))
            lines.append((f"peak memory of {title}", f"{_megabytes(cost)} MB for a batch of {card.batch_size}"))
    return lines


def _notes(cards: Sequence[Card]) -> list[str]:
    first = cards[0]
    notes = [f"{COUNTING} Batches of {first.batch_size} samples."]
    if first.measured is None:
        return notes
    place = first.machine
    threads = "" if place["device"].startswith("cuda") else f", {place['threads']} thread(s)"
    return [
        *notes,
        f"Measured on {place['device']} ({place['name']}{threads}) with PyTorch {place['torch']}, in float32, on noise "
        "of the size of real input, after warm-up; without decoding and front-end. A training step here is loss, "
        "gradients and Adam. Peak memory: weights, batch and the most that PyTorch's allocator held beside them, with "
        "gradients and Adam's moments in training; not in it are the interpreter, the libraries and their scratch "
        "memory. 1 MB = 1,000,000 bytes.",
    ]


def _frontend_words(method: Any) -> str | None:
    """The front-end's own first line, its window and settings, and what is otherwise in training."""
    frontend = method.frontend
    if frontend is None:
        return None
    said = (type(frontend).__doc__ or type(frontend).__name__).strip().splitlines()[0].rstrip(".").replace("`", "")
    told = _settings(frontend)
    trained = _settings(method.train().frontend) if learns(method) else told
    method.eval()
    words = [said, *told.values()]
    otherwise = [text for key, text in trained.items() if told.get(key) != text]
    return "; ".join(words) + (f"; in training {', '.join(otherwise)}" if otherwise else "")


def _settings(frontend: Any) -> dict[str, str]:
    """Each setting of a front-end by its name, in words."""
    window: Window = frontend.window
    heard = f"{ANCHORS[window.anchor]} {window.seconds:g} s at {RATE / 1000:g} kHz"
    if window.part is not None:
        heard = f"samples {window.part[0]} to {window.part[1]} of {heard}"
    others = [f.name for f in fields(frontend) if f.name != "window"] if is_dataclass(frontend) else []
    return {"window": heard, **{name: f"{name} {getattr(frontend, name)}" for name in others}}


def _range_words(score_range: tuple[float, float] | None) -> str:
    if score_range is None:
        return "scores of no stated range"
    low, high = (f"{bound:.4g}" if math.isfinite(bound) else str(bound) for bound in score_range)
    return f"scores in [{low}, {high}]"


def _device_name(device: str) -> str:
    """The GPU's name, or the processor's where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if not device.startswith("cuda") and listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            title, _, value = line.partition(":")
            if title.strip() == "model name":
                return value.strip()
    return str(machine(device)["name"])


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return tabulate(lines, titles, tablefmt="github", disable_numparse=True)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape[1:])


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _millions(number: int) -> str:
    return f"{number / 1e6:.2f} M ({number:,})"


def _giga(flops: float | None) -> str:
    return "" if flops is None else f"{flops / 1e9:.2f}"


def _milliseconds(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.seconds * 1e3:.{1 if cost.seconds >= 0.01 else 4}f}"


def _megabytes(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.peak_bytes / 1e6:.1f}"
