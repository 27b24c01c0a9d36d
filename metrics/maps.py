"""From a method's native map to a normalised one on the canvas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.metrics.protocols import Interpolation


def upsample(
    maps: Tensor,
    mode: Interpolation,
    *,
    align_corners: bool,
    size: int | tuple[int, int] = 224,
    keep_constant: bool = False,
) -> Tensor:
    """Interpolate native maps to the canvas; maps of that size already are returned as they are.

    Bilinear and bicubic with ``align_corners=False`` are OpenCV's ``INTER_LINEAR`` and ``INTER_CUBIC``; the cubic
    kernel has a = -0.75, the border is replicated, and its overshoot is not clipped.

    Args:
        maps: ``[B, h, w]``; other types than float32 and float64 are taken as float32.
        mode: ``"bilinear"`` or ``"bicubic"``.
        align_corners: True puts the corner cells' centres on the canvas's corners, False is the half-pixel convention.
        size: Side, or height and width, of the canvas in pixels.
        keep_constant: Return an exactly constant map for an exactly constant one; the interpolation alone leaves
            rounding noise of about 1e-7 of the value.

    Returns:
        ``[B, *size]``, float32 or float64. A NaN cell spreads over the pixels that its kernel reaches.

    Raises:
        ValueError: if the maps are not ``[B, h, w]`` with at least one cell.
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise ValueError(f"maps must be [B, h, w] with at least one cell, got {list(maps.shape)}")
    native = maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
    height_width = (size, size) if isinstance(size, int) else size
    if tuple(native.shape[1:]) == height_width:
        return native
    canvas = F.interpolate(native[:, None], size=height_width, mode=mode, align_corners=align_corners)[:, 0]
    if keep_constant:
        flat = native.amax(dim=(1, 2)) == native.amin(dim=(1, 2))
        canvas[flat] = native[flat, :1, :1]
    return canvas


def minmax_guarded(maps: Tensor) -> Tensor:
    """``(x - min) / (max - min)`` of each map; a constant map is returned unchanged, one NaN makes its whole map NaN.

    Args:
        maps: ``[B, h, w]`` floating, any scale.

    Returns:
        ``[B, h, w]``, same type, in [0, 1] but for constant and NaN maps.

    References:
        stoneMo/EZ-VSL utils.py, ``normalize_img``.
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    flat = high == low
    return (maps - low.masked_fill(flat, 0)).div_((high - low).masked_fill(flat, 1))


def minmax_unguarded(maps: Tensor) -> Tensor:
    """``(x - min) / (max - min)`` of each map without a test: NaN all over for a constant map or one with a NaN.

    Args:
        maps: ``[B, h, w]`` floating, any scale.

    Returns:
        ``[B, h, w]``, same type, in [0, 1] or NaN.

    References:
        zjsong/SSPL sspl_w_pcm/utils.py, ``normalize_img``.
    """
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low).div_(high - low)


def minmax_double_negation(maps: Tensor) -> Tensor:
    """``1 - minmax_guarded(-maps)``: the order of :func:`minmax_guarded`, but a constant map of value k becomes 1 + k.

    Args:
        maps: ``[B, h, w]`` floating, any scale.

    Returns:
        ``[B, h, w]``, same type, in [0, 1] but for constant and NaN maps.

    References:
        hche11/Localizing-Visual-Sounds-the-Hard-Way test.py, ``main``; kaistmm/SSLalignment test.py, ``validate_lvs``.
    """
    return 1 - minmax_guarded(-maps)


def on_range(maps: Tensor, low: float, high: float) -> Tensor:
    """``(x - low) / (high - low)``, not clipped: bicubic overshoot and scores beyond the range leave [0, 1].

    Args:
        maps: ``[B, h, w]`` floating.
        low: What becomes 0: -1/tau for cosines over tau.
        high: What becomes 1; above ``low``.

    Returns:
        ``[B, h, w]``, same type.

    Raises:
        ValueError: if ``high`` is not above ``low``.

    References:
        stoneMo/SLAVC test.py, ``validate``.
    """
    if not low < high:
        raise ValueError(f"expected a score range with its lower end first, got {low} and {high}")
    return (maps - low).div_(high - low)
