"""Does it listen? One threshold for all images, learnt from audio that has nothing to do with them.

Each image is heard with its own audio and with negatives: silence, noise, the sound of another clip. The maps are the
method's raw ones on the canvas: normalising each by itself would hide that a map is low everywhere. A pixel sounds if
it is ``>`` the universal threshold, ``absolute_mask(maps, threshold, operator=">")``; under a negative none should.

All scores are fractions. The source is Juanola et al., A Critical Assessment of Visual Sound Source Localization Models
Including Negative Audio, ICASSP 2025, and its code, xavijuanola/vssl_eval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from avbench.metrics.masks import absolute_mask
from avbench.metrics.success import area_under_success, nan_count

ThresholdRule = Literal["max", "max10", "maxq3"]

QUANTILES: dict[ThresholdRule, float] = {"max": 1.0, "max10": 0.9, "maxq3": 0.75}
"""What each rule takes of the pooled maxima. The official constants of ``max10`` come without their making: that it is
the 90 % quantile is a reading of the name."""


@dataclass(frozen=True)
class Extremes:
    """The largest and the smallest values of the maps of one kind of audio, over the images that have any."""

    mean_max: float
    median_max: float
    mean_min: float
    median_min: float
    nan: int
    """Maps with a NaN, left out of the other figures; their pixels count as silent elsewhere, so look here first."""


@dataclass(frozen=True)
class ListeningSummary:
    """All scores of the evaluation with negative audio, as fractions; the dictionaries go by kind of audio."""

    count: int
    """Images."""
    ciou_uth: float
    """Mean cIoU with the image's own audio under the universal threshold."""
    auc_uth: float
    """Area under the success curve of the same values."""
    nan_ciou: int
    """Images without a cIoU, an empty mask on an empty truth: 0 in the mean, a failure at every threshold."""
    pia: dict[str, float]
    """Mean share of the pixels that sound, per negative; 0 is perfect."""
    auc_n: dict[str, float]
    """:func:`area_under_silence` per negative; 1 is perfect."""
    f_loc: float
    """Harmonic mean of ``ciou_uth`` and 1 less the mean of ``pia`` over the negatives."""
    f_loc_by_kind: dict[str, float]
    f_auc: float
    """Harmonic mean of ``auc_uth`` and the mean of ``auc_n`` over the negatives."""
    f_auc_by_kind: dict[str, float]
    agreement: dict[str, float]
    """Mean :func:`map_agreement` per pair of kinds."""
    unchanged: dict[str, float]
    """Share of the images whose map is the same as with their own audio, per negative."""
    extremes: dict[str, Extremes]
    """Per kind, the image's own audio among them: whether the scores separate at all."""


def universal_threshold(maxima: Tensor, rule: ThresholdRule = "maxq3") -> float:
    """The threshold above which a method's maps count as sounding, whatever the image.

    Args:
        maxima: Any shape: the largest value of each map under negative audio, pooled over images and kinds. NaN is left
            out.
        rule: ``"max"``, the largest; ``"max10"``, the 90 % quantile; ``"maxq3"``, the third quartile, which the summary
            scores use. Between two values a quantile is interpolated linearly.

    Returns:
        On the scale of the maps; NaN, above which nothing lies, where no maximum is a number.

    Raises:
        ValueError: for another rule.

    References:
        Juanola et al., ICASSP 2025, the universal threshold; see :data:`QUANTILES` for ``max10``.
    """
    if rule not in QUANTILES:
        raise ValueError(f"expected a rule of {', '.join(QUANTILES)}, got {rule!r}")
    return _quantile(maxima, QUANTILES[rule])


def share_above(maps: Tensor, threshold: float) -> Tensor:
    """The share of each map's pixels that are ``>`` the threshold, compared in the map's own type: pIA.

    Args:
        maps: ``[B, H, W]`` floating, raw, under negative audio.
        threshold: On the scale of the maps; nothing is above NaN.

    Returns:
        ``[B]`` float64 in [0, 1]; NaN pixels are not above.
    """
    return absolute_mask(maps, threshold, operator=">").flatten(1).double().mean(dim=1)


def area_under_silence(shares: Tensor) -> Tensor:
    """The area under the share of images with pIA ``<=`` t, at the 21 thresholds ``t = 0.05 * i``: AUC_N.

    As in :func:`~avbench.metrics.success.success_curve` the product is the rule, and the area is the trapezoid rule's.

    Args:
        shares: ``[B]``, :func:`share_above` of each image; NaN fails every threshold.

    Returns:
        Scalar float64: 1 where no pixel sounds, 0.025 where all do, NaN for no images.

    References:
        xavijuanola/vssl_eval utils_dir/eval_utils.py.
    """
    thresholds = 0.05 * torch.arange(21, dtype=torch.float64, device=shares.device)
    rates = (shares.double()[:, None] <= thresholds).double().mean(dim=0)
    return torch.trapezoid(rates, thresholds)


def harmonic_mean(first: float, second: float) -> float:
    """``2 a b / (a + b)`` of two numbers of 0 or more; 0 where both are 0, NaN where one is."""
    total = first + second
    return 0.0 if total == 0 else 2 * first * second / total


def map_agreement(first: Tensor, second: Tensor) -> Tensor:
    """The intersection over union of two predictions for each image.

    Args:
        first: ``[B, H, W]`` bool, the sounding pixels with one kind of audio.
        second: Same shape, with another kind.

    Returns:
        ``[B]`` float64 in [0, 1]: 1 where both are empty, 0 where one is.

    Raises:
        ValueError: if the shapes differ or are not ``[B, H, W]``.
    """
    _expect_alike(first, second)
    both, either = (first & second).sum(dim=(1, 2)), (first | second).sum(dim=(1, 2))
    return (both.double() / either).masked_fill(either == 0, 1)


def same_map(first: Tensor, second: Tensor, *, tolerance: float = 0.0) -> Tensor:
    """Whether the audio leaves the map as it was: every value is equal, NaN to NaN and -0.0 to 0.0.

    Args:
        first: ``[B, h, w]`` floating, native maps with the image's own audio.
        second: Same shape, with other audio.
        tolerance: Values may also differ by this share of the first map's range, its largest value less its smallest;
            a map whose range is not finite has to be equal.

    Returns:
        ``[B]`` bool.

    Raises:
        ValueError: if the shapes differ or are not ``[B, h, w]``, or the tolerance is not 0 or more.
    """
    _expect_alike(first, second)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, got {tolerance}")
    before, after = first.double().flatten(1), second.double().flatten(1)
    room = tolerance * (before.amax(dim=1) - before.amin(dim=1))
    near = (before - after).abs() <= room.where(room.isfinite(), 0)[:, None]
    return ((before == after) | near | (before.isnan() & after.isnan())).all(dim=1)


def map_extremes(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value of each map.

    Args:
        maps: ``[B, H, W]`` floating, raw.

    Returns:
        ``[B]`` float64 each; NaN for a map with a NaN.
    """
    cells = maps.flatten(1)
    return cells.amin(dim=1).double(), cells.amax(dim=1).double()


def listening_summary(
    ciou: Tensor,
    *,
    shares: Mapping[str, Tensor],
    minima: Mapping[str, Tensor],
    maxima: Mapping[str, Tensor],
    agreement: Mapping[str, Tensor],
    unchanged: Mapping[str, Tensor],
) -> ListeningSummary:
    """All scores from per-image values, each ``[n]`` in one order of the images.

    Args:
        ciou: ``consensus_iou`` of the pixels above the universal threshold, with the image's own audio; may be NaN.
        shares: :func:`share_above` for each negative, at least one.
        minima: The smallest values of the maps, for each kind of audio.
        maxima: The largest ones, for the same kinds.
        agreement: :func:`map_agreement` for each pair of kinds, under any name.
        unchanged: :func:`same_map` of the own audio's map and each negative's.

    Returns:
        The scores; for no images all are NaN.

    Raises:
        ValueError: if a column has another length than ``ciou``, no negative is given, or minima and maxima are of
            different kinds.
    """
    if not shares or minima.keys() != maxima.keys():
        kinds = f"{sorted(shares)}, {sorted(minima)} and {sorted(maxima)}"
        raise ValueError(f"expected shares of a negative or more, and minima and maxima of the same kinds, got {kinds}")
    for columns in (shares, minima, maxima, agreement, unchanged):
        _expect_length(columns, ciou)
    found, area = float(ciou.double().nan_to_num(nan=0.0).mean()), float(area_under_success(ciou))
    pia = _means(shares)
    quiet = {kind: float(area_under_silence(values)) for kind, values in shares.items()}
    return ListeningSummary(
        count=len(ciou),
        ciou_uth=found,
        auc_uth=area,
        nan_ciou=nan_count(ciou),
        pia=pia,
        auc_n=quiet,
        f_loc=harmonic_mean(found, 1 - _mean(pia)),
        f_loc_by_kind={kind: harmonic_mean(found, 1 - value) for kind, value in pia.items()},
        f_auc=harmonic_mean(area, _mean(quiet)),
        f_auc_by_kind={kind: harmonic_mean(area, value) for kind, value in quiet.items()},
        agreement=_means(agreement),
        unchanged=_means(unchanged),
        extremes={kind: _extremes(minima[kind], maxima[kind]) for kind in maxima},
    )


def _extremes(minima: Tensor, maxima: Tensor) -> Extremes:
    low, high = minima.double(), maxima.double()
    return Extremes(
        mean_max=float(high.nanmean()),
        median_max=_quantile(high, 0.5),
        mean_min=float(low.nanmean()),
        median_min=_quantile(low, 0.5),
        nan=nan_count(high),
    )


def _quantile(values: Tensor, at: float) -> float:
    """The quantile of what is a number, linear between neighbours; an infinite neighbour is not subtracted from."""
    ascending = values[~values.isnan()].double().sort().values
    if len(ascending) == 0:
        return math.nan
    place = at * (len(ascending) - 1)
    lower, upper = float(ascending[math.floor(place)]), float(ascending[math.ceil(place)])
    part = place - math.floor(place)
    return lower if lower == upper else (1 - part) * lower + part * upper


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)


def _means(columns: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(values.double().mean()) for name, values in columns.items()}


def _expect_alike(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"expected the same [B, H, W] twice, got {list(first.shape)} and {list(second.shape)}")


def _expect_length(columns: Mapping[str, Tensor], ciou: Tensor) -> None:
    for name, values in columns.items():
        if values.shape != ciou.shape or ciou.ndim != 1:
            raise ValueError(f"expected one value per image, {list(ciou.shape)}, got {list(values.shape)} of {name}")
