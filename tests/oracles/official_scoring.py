"""Scoring as the official evaluation programs do it: one sample, one map and one protocol at a time, in plain NumPy.

The second implementation that the vectorised engine is tested against and timed beside, written from the definitions
alone: nothing of the package is imported, nothing is shared between protocols, every threshold sorts the whole map and
every point of a precision-recall curve passes over all samples. Maps stay in their own type (float32), masks and truth
are float64, as in the official programs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Pair = tuple[float, float]
Ranged = tuple[Array, Pair | None]
Resize = tuple[str, bool]
"""Mode and ``align_corners``."""

NAMES = ("ciou", "ciou_adap", "confidence", "pixel_ap", "pixel_auc", "pointing", "energy")
"""What :func:`score_sample` gives against boxes, in this order; against masks, ``iou``, ``f_curve``, ``confidence``."""


class Rules(NamedTuple):
    """What a protocol does to a map."""

    resize: Resize
    normalise: str = "minmax"
    """``"minmax"``, ``"double negation"`` or ``"none"``."""
    threshold: str = "rank"
    """``"rank"``, ``"saturating"`` or ``"absolute"``."""
    at: float = 0.5
    operator: str = ">="
    affine: bool = False
    """Whether scores are placed on the method's range first; without a range, on the map's own extremes."""
    fusion: str | None = None
    """``"maps"``: both are normalised, mixed and normalised again; ``"scores"``: mixed before anything else."""
    alpha: float = 0.4
    """The weight of the audio-visual map."""
    prior_resize: Resize | None = None
    """That of the second map where it is not ``resize``."""
    confidence_resize: Resize | None = ("bicubic", True)
    """None: the map as resized for the mask."""
    keep_constant: bool = False
    """Whether a constant native map stays exactly constant."""
    but_on_vggss: Resize | None = None
    """``resize`` on the splits of VGG-SS, where it is another."""
    success: str = ">="
    """Between a cIoU and 0.5."""
    masks: bool = False
    """Whether the truth is a mask, scored by AVSBench's measures."""


HALF_PIXEL, ALIGNED = ("bilinear", False), ("bilinear", True)
CUBIC, CUBIC_ALIGNED = ("bicubic", False), ("bicubic", True)

PROTOCOLS: dict[str, Rules] = {
    "common": Rules(CUBIC, keep_constant=True, confidence_resize=None),
    "lvs": Rules(HALF_PIXEL, "double negation", "saturating", operator=">"),
    "ezvsl": Rules(ALIGNED, fusion="maps"),
    "ezvsl-train": Rules(CUBIC),
    "slavc": Rules(CUBIC_ALIGNED, "none", "absolute", affine=True, fusion="scores", alpha=0.9),
    "slavc-relative": Rules(CUBIC_ALIGNED, affine=True, fusion="scores", alpha=0.9),
    "slavc-train": Rules(CUBIC, affine=True, confidence_resize=None, success=">"),
    "fnac-a": Rules(ALIGNED, fusion="maps"),
    "fnac-b": Rules(CUBIC, fusion="maps", prior_resize=ALIGNED),
    "alignment": Rules(ALIGNED, "double negation", operator=">", fusion="maps", but_on_vggss=HALF_PIXEL),
    "jsa": Rules(CUBIC, threshold="absolute", at=0.6, fusion="maps"),
    "avsbench": Rules(CUBIC, "minmax", "absolute", operator=">", fusion="maps", confidence_resize=None, masks=True),
}
"""The protocols by the names that they have in the package."""


def score_sample(
    native: Array,
    truth: Array,
    protocol: str,
    *,
    score_range: Pair | None = None,
    prior: Array | None = None,
    prior_range: Pair | None = None,
    split: str = "vggss",
    alpha: float | None = None,
) -> dict[str, Any]:
    """Everything that is measured of one map ``[h, w]`` against one truth ``[H, W]`` under one protocol.

    Args:
        native: Raw scores as the method gives them.
        truth: Float64 in [0, 1].
        protocol: One of :data:`PROTOCOLS`.
        score_range: What the method's maps can reach at either end; None where it states none.
        prior: ``[h', w']``, a second map to fuse in.
        prior_range: ``score_range`` of the prior.
        split: What the samples belong to; alignment resizes by it.
        alpha: Weight of the first map, instead of the protocol's.

    Returns:
        :data:`NAMES`, floats. NaN: ``ciou`` of an empty mask on empty truth, ``pixel_auc`` where the truth is empty or
        covers everything. The four last are 0 for a map with a NaN pixel, which predicts nothing.
    """
    rules = PROTOCOLS[protocol] if alpha is None else PROTOCOLS[protocol]._replace(alpha=alpha)
    if rules.but_on_vggss and split.startswith("vggss"):
        rules = rules._replace(resize=rules.but_on_vggss)
    if prior is not None and rules.fusion is None:
        raise ValueError(f"{protocol} scores single maps")
    maps = [(native, score_range)] if prior is None else [(native, score_range), (prior, prior_range)]
    ranked, canvas = canvas_of(maps, rules, truth.shape)
    if rules.masks:
        found = {"iou": mask_iou(mask_of(canvas, rules), truth), "f_curve": f_curve(canvas, truth)}
        return {**found, "confidence": confidence_of(maps, rules, truth.shape)}
    average_precision, area = pixel_ranking(ranked, truth)
    return {
        "ciou": ciou(mask_of(canvas, rules), truth),
        "ciou_adap": ciou(canvas > adaptive_threshold(canvas, truth), truth),
        "confidence": confidence_of(maps, rules, truth.shape),
        "pixel_ap": average_precision,
        "pixel_auc": area,
        "pointing": pointing(ranked, truth),
        "energy": energy(ranked, truth),
    }


def score_set(
    natives: Array, truths: Array, protocols: Iterable[str], score_range: Pair | None = None, *, split: str = "vggss"
) -> dict[str, dict[str, Array]]:
    """:func:`score_sample` of each of ``[n, h, w]`` maps, n above 0: by protocol and name, ``[n]`` float64."""
    found = {}
    for protocol in protocols:
        rows = [
            score_sample(native, truth, protocol, score_range=score_range, split=split)
            for native, truth in zip(natives, truths, strict=True)
        ]
        found[protocol] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found


def canvas_of(maps: Sequence[Ranged], rules: Rules, size: tuple[int, ...]) -> tuple[Array, Array]:
    """The map as it is ranked, before its last normalisation, and as the protocol compares it with its threshold."""
    how = [rules.resize, rules.prior_resize or rules.resize]
    wide = [resized(maps[i][0], how[i], size, keep_constant=rules.keep_constant) for i in range(len(maps))]
    scores = [_scores(wide[i], maps[i][1], rules) for i in range(len(maps))]
    if len(maps) == 1:
        return wide[0], normalised(scores[0], rules.normalise)
    if rules.fusion == "maps":
        scores = [normalised(one, rules.normalise) for one in scores]
    mixed = _mixed(scores[0], scores[1], rules.alpha)
    return mixed, normalised(mixed, rules.normalise)


def mask_of(canvas: Array, rules: Rules) -> Array:
    """The predicted pixels, bool."""
    threshold = rules.at if rules.threshold == "absolute" else np.sort(canvas.flatten())[int(canvas.size * rules.at)]
    if rules.threshold != "saturating":
        return np.greater_equal(canvas, threshold) if rules.operator == ">=" else np.greater(canvas, threshold)
    painted = canvas.copy()
    painted[canvas > threshold] = 1
    painted[painted < 1] = 0
    return np.greater_equal(painted, 0.5)


def adaptive_threshold(canvas: Array, truth: Array) -> Any:
    """The value that leaves as many pixels at or above it as the truth has, half of the canvas for empty truth."""
    wanted = int(np.sum(truth != 0)) or canvas.size // 2
    return np.sort(canvas.flatten())[canvas.size - wanted]


def ciou(mask: Array, truth: Array) -> float:
    """``sum(m * g) / (sum(g) + #(m = 1 and g = 0))``; 0/0 is NaN."""
    predicted = mask.astype(np.float64)
    union = np.sum(truth) + np.sum(predicted * (truth == 0))
    return float(np.sum(predicted * truth) / union) if union else math.nan


def confidence_of(maps: Sequence[Ranged], rules: Rules, size: tuple[int, ...]) -> float:
    """The mean of the top quarter of the pixels of the placed map, of both mixed where both have a range."""
    used = maps if all(score_range for _, score_range in maps) else maps[:1]
    how = rules.confidence_resize or rules.resize
    placed = [_placed(resized(native, how, size, keep_constant=rules.keep_constant), ends) for native, ends in used]
    canvas = placed[0] if len(placed) == 1 else _mixed(placed[0], placed[1], rules.alpha)
    with np.errstate(invalid="ignore"):
        return float(np.mean(np.sort(canvas.flatten())[-canvas.size // 4 :]))


def pixel_ranking(canvas: Array, truth: Array) -> tuple[float, float]:
    """Average precision and ROC area of the pixels inside the truth, ranked by the canvas; equal pixels enter together.

    The precision is 0 for empty truth. The area counts a tie as a half, and is NaN for truth of one kind alone.
    """
    positives = int(np.sum(truth > 0))
    negatives = truth.size - positives
    if positives == 0 or np.isnan(canvas).any():
        return 0.0, 0.0 if positives and negatives else math.nan
    order = np.argsort(-canvas.ravel(), kind="stable")
    scores, inside = canvas.ravel()[order], truth.ravel()[order] > 0
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)
    hits, taken = np.cumsum(inside)[last], last + 1
    recall = np.append(0, hits / positives)
    area = np.trapezoid(recall, np.append(0, (taken - hits) / negatives)) if negatives else math.nan
    return float(np.sum(np.diff(recall) * hits / taken)), float(area)


def pointing(canvas: Array, truth: Array) -> float:
    """Share of the pixels at the map's maximum that are inside the truth; 0 where a NaN leaves none."""
    highest = canvas == canvas.max()
    return float(np.mean(truth[highest] > 0)) if highest.any() else 0.0


def energy(canvas: Array, truth: Array) -> float:
    """``sum(p * g) / sum(p)`` of the min-max map; of a constant one, ``mean(g)``; 0 without a finite scale."""
    if not np.isfinite(canvas).all():
        return 0.0
    if canvas.max() == canvas.min():
        return float(np.mean(truth))
    shares = normalised(canvas, "minmax").astype(np.float64)
    return float(np.sum(shares * truth) / np.sum(shares))


def mask_iou(mask: Array, truth: Array) -> float:
    """AVSBench's IoU of a frame; of one with empty truth, the share of its pixels left empty."""
    if np.sum(truth) == 0:
        return float(np.sum(~mask) / (mask.size + 1e-7))
    return float(np.sum(mask * truth) / (np.sum(np.maximum(mask, truth)) + 1e-7))


def f_curve(canvas: Array, truth: Array) -> Array:
    """AVSBench's F at 255 thresholds from 0 to 1, beta^2 = 0.3: ``[255]``, zeros for empty truth."""
    curve, area = np.zeros(255), np.sum(truth)
    for k, threshold in enumerate((np.arange(255) / 254).astype(np.float32)):
        predicted = canvas >= threshold
        hits = np.sum(predicted * truth)
        precision, recall = hits / (np.sum(predicted) + 1e-20), hits / (area + 1e-20)
        curve[k] = 1.3 * precision * recall / (0.3 * precision + recall) if hits else 0
    return curve


def resized(native: Array, how: Resize, size: tuple[int, ...], *, keep_constant: bool = False) -> Array:
    """The map on the canvas; one of that size already as it is."""
    if native.shape == tuple(size):
        return native
    if keep_constant and native.max() == native.min():
        return np.full(size, native.flat[0])
    mode, align_corners = how
    cells = torch.from_numpy(np.ascontiguousarray(native))[None, None]
    wide = torch.nn.functional.interpolate(cells, size=tuple(size), mode=mode, align_corners=align_corners)
    found: Array = wide[0, 0].numpy()
    return found


def normalised(canvas: Array, how: str) -> Array:
    """Min-max that leaves a constant map as it is, the same negated before and after, or nothing."""
    if how == "none":
        return canvas
    if how == "double negation":
        return 1 - normalised(-canvas, "minmax")
    low, high = canvas.min(), canvas.max()
    if low == high:
        return canvas
    with np.errstate(invalid="ignore", over="ignore"):
        stretched: Array = (canvas - low) / (high - low)
    return stretched


def _scores(canvas: Array, score_range: Pair | None, rules: Rules) -> Array:
    if not rules.affine:
        return canvas
    return _placed(canvas, score_range) if score_range else normalised(canvas, "minmax")


def _placed(canvas: Array, score_range: Pair | None) -> Array:
    if score_range is None:
        return canvas
    low, high = score_range
    return (canvas - low) / (high - low)


def _mixed(first: Array, second: Array, weight: float) -> Array:
    with np.errstate(invalid="ignore"):
        return first * weight + second * (1 - weight)


def locacc(values: ArrayLike, operator: str = ">=", n_boxes: ArrayLike | None = None) -> float:
    """Share of the samples, of those with boxes where they are given, whose cIoU passes 0.5; of none, NaN."""
    kept = np.asarray(values, dtype=np.float64)
    if n_boxes is not None:
        kept = kept[np.asarray(n_boxes) > 0]
    passed = kept > 0.5 if operator == ">" else kept >= 0.5
    return float(np.mean(passed)) if kept.size else math.nan


def mean(values: ArrayLike) -> float:
    """The arithmetic mean; NaN if any value is."""
    return float(np.mean(np.asarray(values, dtype=np.float64)))


def success_auc(values: ArrayLike) -> float:
    """Area under the success rates at the 21 thresholds ``0.05 * k``."""
    kept = np.asarray(values, dtype=np.float64)
    thresholds = [0.05 * k for k in range(21)]
    return float(np.trapezoid([np.mean(kept >= threshold) for threshold in thresholds], thresholds))


def groups_of(names: Sequence[str], values: ArrayLike) -> dict[str, list[float]]:
    """The values of the items of one scene: file names without ``.jpg`` and what follows their last underscore."""
    found: dict[str, list[float]] = {}
    for name, value in zip(names, np.asarray(values, dtype=np.float64).tolist(), strict=True):
        short = "_".join(name.split("/")[-1].replace(".jpg", "").split("_")[:-1])
        found.setdefault(short, []).append(value)
    return found


def iiou(names: Sequence[str], values: ArrayLike) -> float:
    """Share of the scenes whose items all reach 0.5; one NaN makes it NaN."""
    worst = [np.min(members) for members in groups_of(names, values).values()]
    return math.nan if np.isnan(worst).any() else float(np.mean([value >= 0.5 for value in worst]))


def iauc(names: Sequence[str], values: ArrayLike) -> float:
    """:func:`success_auc` of the scenes' worst items, NaN standing for a cIoU of 0."""
    worst = [np.min(members) for members in groups_of(names, values).values()]
    return success_auc(np.nan_to_num(worst, nan=0.0))


def precision_recall(confidence: Array, values: Array, n_boxes: Array, *, gamma: float, delta: float) -> Pair:
    """Precision and recall at one threshold; 1 for nothing of nothing."""
    sounding, detected = n_boxes > 0, confidence >= delta
    hits = int(np.sum(sounding & detected & (values >= gamma)))
    false, missed = int(np.sum(detected)) - hits, int(np.sum(sounding & ~detected))
    return hits / (hits + false) if hits + false else 1.0, hits / (hits + missed) if hits + missed else 1.0


def f1_of(precision: float, recall: float) -> float:
    """The harmonic mean, 0 where both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def official_ap(confidence: ArrayLike, values: ArrayLike, n_boxes: ArrayLike, gamma: float = 0.5) -> float:
    """AP over every ``n // 200``-th confidence from above, the largest left out, the precision's envelope at the left.

    Each step has the precision at its left end, and nothing is added before the first threshold.
    """
    arrays = _columns(confidence, values, n_boxes)
    thresholds = np.sort(arrays[0])[:-1][::-1][:: max(1, len(arrays[0]) // 200)]
    points = [precision_recall(*arrays, gamma=gamma, delta=delta) for delta in thresholds]
    area = 0.0
    for k in range(len(points) - 1):
        area += max(precision for precision, _ in points[k:]) * (points[k + 1][1] - points[k][1])
    return area


def official_f1_list(confidence: ArrayLike, values: ArrayLike, n_boxes: ArrayLike, gamma: float = 0.5) -> list[float]:
    """F1 at every ``n // 10``-th confidence from below."""
    arrays = _columns(confidence, values, n_boxes)
    thresholds = np.sort(arrays[0])[:: max(1, len(arrays[0]) // 10)]
    return [f1_of(*precision_recall(*arrays, gamma=gamma, delta=delta)) for delta in thresholds]


def full_curve(confidence: ArrayLike, values: ArrayLike, n_boxes: ArrayLike, gamma: float = 0.5) -> list[Pair]:
    """Precision and recall at every distinct confidence from above, NaN left out: one pass over the samples each."""
    arrays = _columns(confidence, values, n_boxes)
    thresholds = np.unique(arrays[0][~np.isnan(arrays[0])])[::-1]
    return [precision_recall(*arrays, gamma=gamma, delta=delta) for delta in thresholds]


def full_curve_ap(confidence: ArrayLike, values: ArrayLike, n_boxes: ArrayLike, gamma: float = 0.5) -> float:
    """``sum of P_k * (R_k - R_{k-1})`` of :func:`full_curve`, from a recall of 0."""
    area, before = 0.0, 0.0
    for precision, recall in full_curve(confidence, values, n_boxes, gamma):
        area, before = area + precision * (recall - before), recall
    return area


def full_max_f1(confidence: ArrayLike, values: ArrayLike, n_boxes: ArrayLike, gamma: float = 0.5) -> float:
    """The largest F1 of :func:`full_curve`; 0 for none."""
    return max((f1_of(*point) for point in full_curve(confidence, values, n_boxes, gamma)), default=0.0)


def retrieval_recalls(
    similarity: Array, ks: Sequence[int] = (1, 5, 10), *, labels: Sequence[str] | None = None
) -> dict[int, float]:
    """Share of the queries (rows) with their own item, or one of their label, among the k most similar.

    Every row is sorted in full; of equally similar items the first comes first, and NaN never counts.
    """
    ranks = []
    kinds = np.arange(len(similarity)) if labels is None else np.asarray(labels)
    for query, row in enumerate(similarity):
        order = np.argsort(-row, kind="stable")
        hits = (kinds[order] == kinds[query]) & ~np.isnan(row[order])
        ranks.append(int(np.argmax(hits)) + 1 if hits.any() else math.inf)
    return {k: float(np.mean([rank <= k for rank in ranks])) for k in ks}


def _columns(*columns: ArrayLike) -> tuple[Array, Array, Array]:
    confidence, values, n_boxes = (np.asarray(column, dtype=np.float64) for column in columns)
    return confidence, values, n_boxes
