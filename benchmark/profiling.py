"""How fast scoring is, beside the official evaluators' steps done one sample and one map at a time, in the same run."""

from __future__ import annotations

import importlib.util
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avbench.clock import Clock
from avbench.errors import UsageError
from avbench.metrics.extended import detection_summary
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.retrieval import recalls, retrieval_ranks
from avbench.metrics.scoring import RawMaps, Row, aggregate, measure_rows
from avbench.request import PART
from avbench.truth import drawn_boxes
from avbench.types import Box

SIDE = 14
"""Of the made-up maps, in cells."""
RANGE = (-1.0, 1.0)
"""What the made-up maps can reach."""
WIDTH = 512
"""Of the made-up embeddings."""
MEGABYTE = 1 << 20

Advance = Callable[[int], None]
Boxes = Sequence[Sequence[Box]]


@dataclass(frozen=True)
class Steps:
    """The official steps, and how many maps they score."""

    module: Any
    samples: int

    def official(self, native: Any, truth: Any, name: str, *, score_range: tuple[float, float]) -> None:
        """What the official evaluators do to a map: cIoU at the protocol's and the adaptive threshold, confidence."""
        rules, maps = self.module.PROTOCOLS[name], [(native, score_range)]
        _, canvas = self.module.canvas_of(maps, rules, truth.shape)
        self.module.ciou(self.module.mask_of(canvas, rules), truth)
        self.module.ciou(canvas > self.module.adaptive_threshold(canvas, truth), truth)
        self.module.confidence_of(maps, rules, truth.shape)


@dataclass
class Step:
    """One kind of work, ours and the oracle's.

    Attributes:
        size: what was timed, in words.
        goal: seconds that the whole of it should take, and how many times faster than the oracle it should be.
    """

    name: str
    size: str
    goal: tuple[float, float | None]
    ours: Clock = field(default_factory=Clock)
    oracle: Clock = field(default_factory=Clock)

    @property
    def ratio(self) -> float | None:
        """The oracle's wall time per item over ours; None where it was not timed."""
        if not self.oracle.items:
            return None
        return (self.oracle.wall / self.oracle.items) / (self.ours.wall / self.ours.items)


@dataclass(frozen=True)
class ScoringProfile:
    """What ``avbench profile score`` measured."""

    samples: int
    protocols: tuple[str, ...]
    threads: int
    steps: tuple[Step, ...]
    peak_bytes: dict[int, int]
    """Most memory beyond the imported libraries, by the number of samples scored in a process of its own."""


SCORING = (
    *("PROTOCOLS", "score_sample", "canvas_of", "mask_of", "adaptive_threshold", "ciou", "confidence_of"),
    *("full_curve_ap", "full_max_f1", "official_ap", "retrieval_recalls"),
)
"""What is timed of the official steps of scoring."""


def load_oracle(path: Path, wanted: Sequence[str] = SCORING) -> Any:
    """The module with official steps.

    Raises:
        UsageError: if it is not there, or lacks what is ``wanted``.
    """
    spec = importlib.util.spec_from_file_location("avbench_profiled_oracle", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UsageError(
            f"expected the official steps as a Python file at {path}: give --oracle FILE, or --oracle none"
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    missing = [name for name in wanted if not hasattr(module, name)]
    if missing:
        raise UsageError(f"{path} lacks {', '.join(missing)} of the official steps: name the one of tests/oracles")
    return module


def profile_scoring(samples: int, boxes: Boxes | None, *, oracle: Steps | None, advance: Advance) -> ScoringProfile:
    """Time scoring on made-up maps.

    Args:
        samples: Maps to score.
        boxes: Of real samples, used in turn; made up where None.
        oracle: Their maps are spread over the run, so that both meet the same machine; None times ours alone.
        advance: Called with the number of samples done.
    """
    names = tuple(name for name, protocol in PROTOCOLS.items() if protocol.truth == "boxes")
    protocols = f"{len(names)} protocols"
    maps = Step("maps", f"{samples} maps {SIDE}x{SIDE}, {protocols}, all per-sample metrics", (20.0, 8.0))
    plain = Step(
        "maps, official", "of these, beside the official steps alone: cIoU, adaptive cIoU, confidence", (20.0, 8.0)
    )
    extended = Step("extended", f"AP and max-F1, full and official, of {2 * samples} samples", (0.010, 20.0))
    pairs = Step("retrieval", f"{samples} x {samples}, {WIDTH} dimensions, both ways, both kinds of hit", (2.0, None))
    _time_maps((maps, plain), samples, boxes, names=names, oracle=oracle, advance=advance)
    _time_detection(extended, 2 * samples, oracle and oracle.module)
    _time_retrieval(pairs, samples, oracle and oracle.module)
    peak = {count: _peak_of(count, boxes, names) for count in (max(samples // 4, 1), samples)}
    return ScoringProfile(samples, names, torch.get_num_threads(), (maps, plain, extended, pairs), peak)


def _time_maps(
    steps: tuple[Step, Step],
    samples: int,
    boxes: Boxes | None,
    *,
    names: Sequence[str],
    oracle: Steps | None,
    advance: Advance,
) -> None:
    """All that is measured, timed once, beside all of it and beside its official part in plain steps."""
    whole, official = steps
    starts = range(0, samples, PART)
    each = -(-oracle.samples // len(starts)) if oracle else 0
    found = []
    for start in starts:
        count = min(PART, samples - start)
        maps, some = _made_up_maps(count, start), _boxes(boxes, count, start)
        with whole.ours.on(count):
            found.append(_score(maps, some, names))
        if oracle:
            truths = drawn_boxes(some[:each]).double().numpy()
            for step, measure in ((whole, oracle.module.score_sample), (official, oracle.official)):
                _score_plainly(step, measure, maps[:each], truths, names)
        advance(count)
    with whole.ours.on(0):
        for row in range(len(names)):
            aggregate(torch.cat([part[row] for part in found]))
    official.ours = whole.ours


def _score_plainly(step: Step, measure: Callable[..., Any], maps: Tensor, truths: Any, names: Sequence[str]) -> None:
    with step.oracle.on(len(truths)):
        for native, truth in zip(maps.numpy(), truths, strict=True):
            for name in names:
                measure(native, truth, name, score_range=RANGE)


def _score(maps: Tensor, boxes: Boxes, names: Sequence[str]) -> list[Tensor]:
    raw = RawMaps(maps, RANGE)
    rows = [Row(raw, PROTOCOLS[name]) for name in names]
    return [values["ciou"] for values in measure_rows(rows, {"boxes": drawn_boxes(boxes)}, confidence=True)]


def _time_detection(step: Step, samples: int, oracle: Any) -> None:
    dice = torch.Generator().manual_seed(0)
    confidence, ciou = torch.rand(2, samples, generator=dice, dtype=torch.float64)
    sounding = torch.arange(samples) % 2 == 0
    for _ in range(20):
        with step.ours.on(1):
            detection_summary(confidence, ciou, sounding=sounding)
    if oracle is None:
        return
    columns = confidence.numpy(), ciou.numpy(), sounding.numpy().astype(np.int64)
    with step.oracle.on(1):
        oracle.full_curve_ap(*columns)
        oracle.full_max_f1(*columns)
        oracle.official_ap(*columns)


def _time_retrieval(step: Step, samples: int, oracle: Any) -> None:
    dice = torch.Generator().manual_seed(0)
    images, audios = torch.randn(2, samples, WIDTH, generator=dice)
    labels = [str(number % 221) for number in range(samples)]
    with step.ours.on(1):
        ranks = retrieval_ranks(images, audios, labels=labels)
        for values in ranks.values():
            recalls(values)
    if oracle is None:
        return
    with step.oracle.on(1):
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images.numpy(), audios.numpy())]
        similarity = unit[0] @ unit[1].T
        for matrix in (similarity, similarity.T):
            oracle.retrieval_recalls(matrix)
            oracle.retrieval_recalls(matrix, labels=labels)


def _peak_of(samples: int, boxes: Boxes | None, names: Sequence[str]) -> int:
    """Measured in a process of its own, where nothing else has used memory before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, samples, boxes, tuple(names)).result()


def _peak(samples: int, boxes: Boxes | None, names: Sequence[str]) -> int:
    before = _highest()
    found = []
    for start in range(0, samples, PART):
        count = min(PART, samples - start)
        found.append(_score(_made_up_maps(count, start), _boxes(boxes, count, start), names))
    return _highest() - before


def _highest() -> int:
    """Bytes that this process held at its highest; its parent's do not count, as they do in ``getrusage``."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _made_up_maps(count: int, seed: int) -> Tensor:
    """Smooth noise in the range."""
    dice = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 5, 5, generator=dice)
    return torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[:, 0].tanh()


def _boxes(boxes: Boxes | None, count: int, start: int) -> list[Sequence[Box]]:
    if boxes is not None:
        return [boxes[number % len(boxes)] for number in range(start, start + count)]
    corners = np.sort(np.random.default_rng(start).uniform(size=(count, 2, 2)), axis=1)
    return [[(float(a[0]), float(a[1]), float(b[0]), float(b[1]))] for a, b in corners]
