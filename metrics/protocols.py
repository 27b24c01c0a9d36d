"""Evaluation protocols as data: all that stands between a raw map and a number, named and versioned.

Nothing here imports torch, so that listings are quick; :mod:`avbench.metrics.scoring` carries the protocols out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
Normalisation = Literal["none", "minmax_guarded", "minmax_double_negation"]
"""``"minmax_double_negation"`` is 1 less the guarded min-max of the negated map: the same order, but a constant map of
value k becomes 1 + k."""
Operator = Literal[">=", ">"]
Truth = Literal["boxes", "masks", "sources"]
"""What is scored against: the union of the boxes, the mask of the sounding pixels, or each sounding object apart."""
Scale = Literal["raw", "score_range"]
"""What is normalised: the map as the method gives it, or placed on [0, 1] by the method's ``score_range`` (and by the
map's own extremes, guarded, where the method states none)."""


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

    rule: Literal["rank", "rank_saturating", "absolute"]
    """``"rank"``: the value at ``int(at * H * W)`` of the map's ascending sort; ``"rank_saturating"``: the same, and
    pixels at 1 or more are in whatever the threshold is; ``"absolute"``: ``at`` itself."""
    at: float


@dataclass(frozen=True)
class Fusion:
    """How a second map (an object prior, JSA's image-query map) is mixed in.

    ``"normalised-mix"``: ``N(av_weight * N(map) + (1 - av_weight) * N(prior))``, N the protocol's normalisation.
    ``"score-mix"``: ``N(av_weight * S(map) + (1 - av_weight) * S(prior))``, S the protocol's scale: the maps are mixed
    before they are normalised, if they are at all.
    """

    rule: Literal["normalised-mix", "score-mix"]
    av_weight: float
    """The weight of the audio-visual map, "alpha" in the official codes."""
    prior_upsampling: Upsampling | None = None
    """That of the prior where it is not the protocol's."""


@dataclass(frozen=True)
class Confidence:
    """How sure a map makes a protocol that anything sounds, where the method itself does not say.

    ``"top_quarter"``: the mean of the largest quarter of the pixels of the upsampled map, placed on [0, 1] by its
    method's score range, or as it is without one; a fused row mixes both maps so placed by the fusion's weight, and
    where one of them has no range takes the first map alone. Nothing is normalised per map.
    """

    rule: Literal["top_quarter"]
    upsampling: Upsampling | None = None
    """That of the maps where it is not the one that their masks have."""


@dataclass(frozen=True)
class Elsewhere:
    """Another upsampling of all maps on the data sets of other families."""

    but_for: str
    upsampling: Upsampling


@dataclass(frozen=True)
class Protocol:
    """One way to turn raw maps into numbers: upsample, scale, normalise, fuse, threshold, compare, aggregate."""

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
    scale: Scale = "raw"
    confidence: Confidence = Confidence("top_quarter")
    elsewhere: Elsewhere | None = None
    truth: Truth = "boxes"
    success: Operator = ">="
    """Between a sample's cIoU and 0.5."""
    headline: tuple[str, ...] = ("locacc", "auc", "mean_ciou")
    """Ids of the metrics that stand for the protocol in tables, the one that ranks first."""

    def on(self, family: str) -> Protocol:
        """The protocol as it stands for a family of data sets, such as ``vggss`` with all its lists.

        With :attr:`elsewhere`, the maps of the families that it does not name are upsampled so.
        """
        if self.elsewhere is None or family == self.elsewhere.but_for:
            return self
        return replace(self, upsampling=self.elsewhere.upsampling)

    def of_prior(self) -> Protocol:
        """The protocol for rows of the prior itself, which keeps the upsampling that it has in a fusion."""
        own = self.fusion.prior_upsampling if self.fusion else None
        return replace(self, upsampling=own) if own else self


_WEIGHTED = re.compile(r"[^:]*:av_weight=([0-9]+(?:[.][0-9]+)?)")
_HALF = Threshold("rank", 0.5)
_MIX = Fusion("normalised-mix", 0.4)
_SUCCESS = "success at cIoU >= 0.5; AUC over the 21 thresholds 0.05 * k with >=; mean cIoU"
_ALL_VGGSS = "VGG-SS 5,158, Flickr-SoundNet 249, less the files that are not on disk"
_HALF_PIXEL, _ALIGNED = Upsampling("bilinear", align_corners=False), Upsampling("bilinear", align_corners=True)
_BICUBIC, _BICUBIC_ALIGNED = Upsampling("bicubic", align_corners=False), Upsampling("bicubic", align_corners=True)
_SLAVC = Confidence("top_quarter", _BICUBIC_ALIGNED)

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
            upsampling=_ALIGNED,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list=_ALL_VGGSS,
            source="stoneMo/EZ-VSL test.py, validate; utils.py, Evaluator.cal_CIOU",
            summary="EZ-VSL's test: bilinear with aligned corners, min-max, the top half of the pixels.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="ezvsl-train",
            version=1,
            upsampling=_BICUBIC,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=None,
            aggregation=_SUCCESS,
            test_list=_ALL_VGGSS,
            source="stoneMo/EZ-VSL train.py, validate; OpenNLPLab/FNAC_AVL train.py, validate",
            summary="How EZ-VSL and FNAC choose their checkpoint: bicubic, min-max, the top half of the pixels.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="jsa",
            version=1,
            upsampling=_BICUBIC,
            normalisation="minmax_guarded",
            threshold=Threshold("absolute", 0.6),
            operator=">=",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 250, less the files that are not on disk",
            source="InhoKim429/JSA utils.py, Evaluator.cal_CIOU",
            summary="JSA's test: bicubic, min-max, the pixels at 0.6 and above; free of the top-half ceiling.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="lvs",
            version=1,
            upsampling=_HALF_PIXEL,
            normalisation="minmax_double_negation",
            threshold=Threshold("rank_saturating", 0.5),
            operator=">",
            fusion=None,
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 249",
            source="hche11/Localizing-Visual-Sounds-the-Hard-Way test.py, main; utils.py, Evaluator.cal_CIOU",
            summary="LVS's test: OpenCV's linear, min-max, the pixels above the middle; constant maps are all in.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="slavc",
            version=1,
            upsampling=_BICUBIC_ALIGNED,
            normalisation="none",
            threshold=Threshold("absolute", 0.5),
            operator=">=",
            fusion=Fusion("score-mix", 0.9),
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 250, and both extended by as many non-sounding pairs",
            source="stoneMo/SLAVC test.py, validate; utils.py, EvaluatorFull; the scripts' alpha",
            summary="SLAVC's test scripts: bicubic with aligned corners, the upper half of the method's score range.",
            scale="score_range",
            confidence=_SLAVC,
        ),
        Protocol(
            name="slavc-relative",
            version=1,
            upsampling=_BICUBIC_ALIGNED,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=Fusion("score-mix", 0.9),
            aggregation=_SUCCESS,
            test_list="VGG-SS 5,158, Flickr-SoundNet 250, and both extended by as many non-sounding pairs",
            source="stoneMo/SLAVC test.py, validate with --relative_prediction; utils.py, EvaluatorFull",
            summary="SLAVC's README: the same fused before min-max, then the top half of the pixels.",
            scale="score_range",
            confidence=_SLAVC,
        ),
        Protocol(
            name="slavc-train",
            version=1,
            upsampling=_BICUBIC,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=None,
            aggregation="success at cIoU > 0.5; AUC over the 21 thresholds 0.05 * k with >=; mean cIoU",
            test_list="VGG-SS 5,158, Flickr-SoundNet 250",
            source="stoneMo/SLAVC train.py, validate; utils.py, EvaluatorFull.precision_at_50",
            summary="How SLAVC chooses its checkpoint: bicubic, min-max, the top half, success above 0.5.",
            scale="score_range",
            success=">",
        ),
        Protocol(
            name="fnac-a",
            version=1,
            upsampling=_ALIGNED,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list=_ALL_VGGSS,
            source="OpenNLPLab/FNAC_AVL test.py, validate",
            summary="FNAC's test, first pass: as ezvsl.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="fnac-b",
            version=1,
            upsampling=_BICUBIC,
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=Fusion("normalised-mix", 0.4, prior_upsampling=_ALIGNED),
            aggregation=_SUCCESS,
            test_list=_ALL_VGGSS,
            source="OpenNLPLab/FNAC_AVL test.py, validate2",
            summary="FNAC's test, second pass: bicubic, the object map bilinear with aligned corners.",
            confidence=_SLAVC,
        ),
        Protocol(
            name="alignment",
            version=1,
            upsampling=_HALF_PIXEL,
            normalisation="minmax_double_negation",
            threshold=_HALF,
            operator=">",
            fusion=_MIX,
            aggregation=_SUCCESS,
            test_list="VGG-SS 4,655, Flickr-SoundNet 250",
            source="kaistmm/SSLalignment test.py, validate_lvs; utils.py, Evaluator_iiou.cal_CIOU",
            summary="Alignment's test: linear (aligned corners but on VGG-SS), min-max, the pixels above the middle.",
            confidence=_SLAVC,
            elsewhere=Elsewhere("vggss", _ALIGNED),
        ),
        Protocol(
            name="avsbench",
            version=1,
            upsampling=_BICUBIC,
            normalisation="minmax_guarded",
            threshold=Threshold("absolute", 0.5),
            operator=">",
            fusion=_MIX,
            aggregation="mean over images of mask IoU; maximum of the mean F curve (beta^2 = 0.3) over 255 thresholds",
            test_list="AVSBench S4 740 clips, MS3 64 clips, 5 frames each",
            source="OpenNLPLab/AVSBench avs_s4/utils/utility.py, mask_iou, Eval_Fmeasure; min-max for the sigmoid, "
            "since the localisation papers' own step is unpublished",
            summary="AVSBench's mIoU and F-score against masks: min-max, the pixels above 0.5.",
            truth="masks",
            headline=("miou", "fscore", "fscore_image"),
        ),
        Protocol(
            name="multisource",
            version=1,
            upsampling=Upsampling("bicubic", align_corners=False, keep_constant=True),
            normalisation="minmax_guarded",
            threshold=_HALF,
            operator=">=",
            fusion=None,
            aggregation="maps matched to sources for the largest sum of cIoU, an unmatched source 0; over all sources",
            test_list="MUSIC-Duet, VGGSound-Duet, VGGSound-Instruments: see the official forms in multisource_official",
            source="avbench; CIoU@0.3, CAP and PIAP of Hu et al., Mix and Localize, CVPR 2022, which has no evaluation "
            "code",
            summary="Several sources a frame, each apart: the best matching of the method's maps, CAP, PIAP.",
            truth="sources",
            headline=("source_success_30", "cap", "piap", "source_auc"),
        ),
    )
}
"""All protocols by name, in the order in which listings show them."""


def get_protocol(name: str) -> Protocol:
    """The protocol called ``name``, or with a fusion weight of its own: ``jsa:av_weight=0.6``.

    Args:
        name: One of :data:`PROTOCOLS`; for those with a fusion, ``:av_weight=`` and a decimal number in [0, 1] may
            follow, the weight of the audio-visual map. The copy keeps the whole text as its name, so that its numbers
            are told apart.

    Raises:
        ValueError: for an unknown name, with the closest ones and all there are; for another parameter, a weight that
            is no such number, or a protocol without fusion.
    """
    base, colon, _ = name.partition(":")
    if base not in PROTOCOLS:
        close = get_close_matches(base, PROTOCOLS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(f"there is no protocol called {base!r}: {hint}the protocols are {', '.join(PROTOCOLS)}")
    return _reweighted(PROTOCOLS[base], name) if colon else PROTOCOLS[base]


def _reweighted(protocol: Protocol, name: str) -> Protocol:
    if protocol.fusion is None:
        raise ValueError(
            f"the protocol {protocol.name} takes no parameter, having no fusion; got {name!r}: leave it out"
        )
    found = _WEIGHTED.fullmatch(name)
    if found is None or float(found[1]) > 1:
        raise ValueError(
            f"expected a weight in [0, 1] for the fusion of {protocol.name}, such as {protocol.name}:av_weight=0.6; "
            f"got {name!r}"
        )
    return replace(protocol, name=name, fusion=replace(protocol.fusion, av_weight=float(found[1])))
