"""Evaluation protocols as data: all that stands between a raw map and a number, named and versioned.

Nothing here imports torch, so that listings are quick; :mod:`avbench.metrics.scoring` carries the protocols out.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
Normalisation = Literal["minmax_guarded"]
Operator = Literal[">=", ">"]


@dataclass(frozen=True)
class Upsampling:
    """How a native map reaches the canvas of 224 x 224 pixels; one of that size already stays as it is."""

    mode: Interpolation
    align_corners: bool
    """False is the half-pixel convention, which OpenCV's ``resize`` shares."""
    keep_constant: bool = False
    """True: a constant native map stays constant. False: the interpolation's rounding noise, which min-max then
    stretches to [0, 1], is scored as the official evaluators score it."""


@dataclass(frozen=True)
class Threshold:
    """Where the mask begins, on the normalised map."""

    rule: Literal["rank", "absolute"]
    """``"rank"``: the value at ``int(at * H * W)`` of the map's ascending sort; ``"absolute"``: ``at`` itself."""
    at: float


@dataclass(frozen=True)
class Fusion:
    """How a second map (an object prior, JSA's image-query map) is mixed in.

    ``"normalised-mix"``: ``N(av_weight * N(map) + (1 - av_weight) * N(prior))``, N the protocol's normalisation; both
    maps take the protocol's upsampling.
    """

    rule: Literal["normalised-mix"]
    av_weight: float
    """The weight of the audio-visual map, "alpha" in the official codes."""


@dataclass(frozen=True)
class Protocol:
    """One way to turn raw maps into numbers: upsample, normalise, fuse, threshold, compare, aggregate."""

    name: str
    version: int
    """Raised whenever a number under this protocol could change."""
    upsampling: Upsampling
    normalisation: Normalisation
    threshold: Threshold
    operator: Operator
    """Between a pixel and the threshold."""
    fusion: Fusion | None
    """None: the protocol scores single maps only."""
    aggregation: str
    test_list: str
    source: str
    summary: str


_HALF = Threshold("rank", 0.5)
_MIX = Fusion("normalised-mix", 0.4)
_SUCCESS = "success at cIoU >= 0.5; AUC over the 21 thresholds 0.05 * k with >=; mean cIoU"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="common",
            version=1,
            upsampling=Upsampling("bicubic", align_corners=False, keep_constant=True),
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=None,
            aggregation=_SUCCESS,
            test_list="the full official list: VGG-SS 5,158, Flickr-SoundNet 250",
            source="avbench; the settings of stoneMo/EZ-VSL train.py, validate",
            summary="The same settings for every method: bicubic, min-max, the top half of the pixels, no fusion.",
        ),
        Protocol(
            name="ezvsl",
            version=1,
            upsampling=Upsampling("bilinear", align_corners=True),
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 249, less the files that are not on disk",
            source="stoneMo/EZ-VSL test.py, validate; utils.py, Evaluator.cal_CIOU",
            summary="EZ-VSL's test: bilinear with aligned corners, min-max, the top half of the pixels.",
        ),
        Protocol(
            name="jsa",
            version=1,
            upsampling=Upsampling("bicubic", align_corners=False),
            normalisation="minmax_guarded",
            threshold=Threshold("absolute", 0.6),
            operator=">=",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 250, less the files that are not on disk",
            source="InhoKim429/JSA utils.py, Evaluator.cal_CIOU",
            summary="JSA's test: bicubic, min-max, the pixels at 0.6 and above; free of the top-half ceiling.",
        ),
    )
}
"""All protocols by name, in the order in which listings show them."""


def get_protocol(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        ValueError: for an unknown name, with the closest ones and all there are.
    """
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(f"there is no protocol called {name!r}: {hint}the protocols are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
