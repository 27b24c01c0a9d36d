"""One record per metric: what it is called, how it is shown, where it comes from, which function computes it.

Nothing here imports torch; ``function`` is resolved by whoever computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a table or a listing needs to know of a metric; values are stored as fractions in [0, 1]."""

    id: str
    display: str
    unit: Literal["fraction", "percent"]
    """How tables show the value: as it is stored, or times 100."""
    direction: Literal["higher", "lower"]
    """Which way is better."""
    decimals: int
    """Digits after the point, in ``unit``."""
    reference: str
    version: int
    """Raised whenever the same input could give another value."""
    function: str
    """``module:function``."""
    detail: bool = False
    """Left out of tables unless asked for."""


EZVSL, SLAVC, ALIGN, AVSBENCH = "stoneMo/EZ-VSL", "stoneMo/SLAVC", "kaistmm/SSLalignment", "OpenNLPLab/AVSBench"
EXTENDED = "Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, NeurIPS 2022, section 4"
MIX = "Hu et al., Mix and Localize, CVPR 2022, which has no evaluation code; avbench's reading"


def _share(key: str, display: str, reference: str, function: str, *, detail: bool = False) -> Metric:
    return Metric(key, display, "percent", "higher", 2, reference, 1, f"avbench.metrics.{function}", detail)


def _detail(key: str, display: str, reference: str, function: str) -> Metric:
    return _share(key, display, reference, function, detail=True)


def _retrieval(way: str, hit: str, k: int) -> Metric:
    arrow = {"a2i": "A->I", "i2a": "I->A"}[way]
    reference = (
        "Senocak et al., Sound Source Localization is All about Cross-Modal Alignment, ICCV 2023, section 4.2; there "
        "is no official code"
    )
    return _share(f"{way}_{hit}_r{k}", f"{arrow} R@{k} ({hit})", reference, "retrieval:recall_at_k")


def _of_size(size: str) -> Metric:
    reference = f"{SLAVC} utils.py, EvaluatorFull.filter_subset: the area of the truth on 224 x 224"
    return _detail(f"locacc_{size}", f"cIoU, {size}", reference, "sizes:bucket_members")


def _detection(suffix: str, note: str) -> tuple[Metric, ...]:
    """The measures of extended sets; ``_clean`` without the negatives whose sound is of a class in sight."""
    tail = f", {note}" if note else ""
    official = f"{SLAVC} utils.py, EvaluatorFull"
    return (
        _share(f"ap{suffix}", f"AP{tail}", f"{EXTENDED}; the full curve", "extended:average_precision"),
        _share(f"max_f1{suffix}", f"max-F1{tail}", f"{EXTENDED}; over all thresholds", "extended:max_f1"),
        _share(
            f"ap_official{suffix}",
            f"AP (official){tail}",
            f"{official}.calc_ap",
            "extended:average_precision_official",
        ),
        _share(
            f"max_f1_official{suffix}",
            f"max-F1 (official){tail}",
            f"{official}.finalize_stats",
            "extended:max_f1_official",
        ),
    )


LISTENING = (
    ("ciou_uth", "cIoU, universal threshold", "consensus_iou:consensus_iou"),
    ("auc_uth", "AUC, universal threshold", "success:area_under_success"),
    ("pia", "pIA", "negative_audio:share_above"),
    ("auc_n", "AUC_N", "negative_audio:area_under_silence"),
    ("f_loc", "F_LOC", "negative_audio:harmonic_mean"),
    ("f_auc", "F_AUC", "negative_audio:harmonic_mean"),
    ("agreement", "map agreement", "negative_audio:map_agreement"),
    ("unchanged", "maps unchanged", "negative_audio:same_map"),
)
"""What ``avbench listen`` measures; of pixels that sound without a sound, and of maps that stay, less is better."""


def _listening(key: str, display: str, function: str) -> Metric:
    direction: Literal["higher", "lower"] = "lower" if key in {"pia", "agreement", "unchanged"} else "higher"
    reference = (
        "Juanola et al., A Critical Assessment of Visual Sound Source Localization Models Including Negative Audio, "
        "ICASSP 2025; xavijuanola/vssl_eval"
    )
    if key == "unchanged":
        reference = "avbench"
    return Metric(key, display, "percent", direction, 2, reference, 1, f"avbench.metrics.{function}", detail=True)


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        _share(
            "ciou",
            "cIoU of one sample",
            "Senocak et al., Learning to Localize Sound Source in Visual Scenes, CVPR 2018; "
            f"{EZVSL} utils.py, Evaluator.cal_CIOU",
            "consensus_iou:consensus_iou",
        ),
        _share("locacc", "cIoU", f"papers' cIoU; {EZVSL} utils.py, Evaluator.finalize_AP50", "success:success_rate"),
        _share("mean_ciou", "mean cIoU", f"{EZVSL} utils.py, Evaluator.finalize_cIoU", "success:mean_ciou"),
        _share("auc", "AUC", f"{EZVSL} utils.py, Evaluator.finalize_AUC", "success:area_under_success"),
        _detail("auc_exact", "AUC (exact area)", "avbench", "success:exact_area_under_success"),
        _detail("locacc_30", "cIoU@0.3", "stoneMo/AVGN utils.py", "success:success_rate"),
        _detail("locacc_75", "cIoU@0.75", f"{SLAVC} utils.py, EvaluatorFull", "success:success_rate"),
        _detail("locacc_adap", "cIoU adap.", f"{ALIGN} utils.py, cal_CIOU_adap", "masks:adaptive_mask"),
        _detail("auc_adap", "AUC adap.", f"{ALIGN} utils.py, cal_CIOU_adap", "masks:adaptive_mask"),
        _share("iiou", "IIoU", f"{ALIGN} utils.py, Evaluator_iiou", "interactive:interactive_success_rate"),
        _share("iauc", "IAUC", f"{ALIGN} utils.py, finalize_IAUC", "interactive:area_under_interactive_success"),
        _detail("iiou_adap", "IIoU adap.", f"{ALIGN} utils.py", "interactive:interactive_success_rate"),
        _detail("iauc_adap", "IAUC adap.", f"{ALIGN} utils.py", "interactive:area_under_interactive_success"),
        *map(_of_size, ("small", "medium", "large", "huge")),
        _detail(
            "pointing",
            "pointing game",
            "Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016",
            "pixelwise:pointing_hit",
        ),
        _detail("pixel_ap", "pixel AP", "sklearn.metrics.average_precision_score", "pixelwise:pixel_average_precision"),
        _detail("pixel_roc_auc", "pixel ROC-AUC", "sklearn.metrics.roc_auc_score", "pixelwise:pixel_roc_auc"),
        _detail("energy", "energy inside", "Wang et al., Score-CAM, CVPR Workshops 2020", "pixelwise:energy_inside"),
        _detail("confidence", "confidence", f"{SLAVC} test.py, validate", "confidence:top_quarter"),
        _detail("precision", "precision", f"{EXTENDED}; {SLAVC} calc_precision_recall", "extended:precision_recall"),
        _detail("recall", "recall", f"{EXTENDED}; {SLAVC} calc_precision_recall", "extended:precision_recall"),
        _detail("f1", "F1", f"{EXTENDED}; {SLAVC} calc_precision_recall", "extended:f1"),
        _detail("max_f1_printed", "max-F1 (as printed)", f"{SLAVC} finalize_stats", "extended:max_f1_printed"),
        *_detection("", ""),
        *_detection("_clean", "without doubtful negatives"),
        _share("miou", "mIoU", f"{AVSBENCH} utility.py, mask_iou; mean over images", "segmentation:miou"),
        _share("fscore", "F-score", "swimmiing/ACL-SSL eval_utils.py; one threshold", "segmentation:f_score_dataset"),
        _detail("miou_official", "mIoU (batches)", f"{AVSBENCH} utility.py, batches of 20", "segmentation:miou"),
        _detail(
            "fscore_official",
            "F-score (batches)",
            f"{AVSBENCH} utility.py, Eval_Fmeasure, batches of 20",
            "segmentation:f_score_batches",
        ),
        _share("fscore_image", "F-score (per image)", "avbench", "segmentation:f_score_image"),
        _share("source_success_30", "CIoU@0.3", MIX, "multisource:matched_ciou"),
        _share("cap", "CAP", MIX, "multisource:class_aware_ap"),
        _share("piap", "PIAP", MIX, "multisource:permutation_invariant_ap"),
        _share("source_auc", "AUC (sources)", MIX, "success:area_under_success"),
        _detail("source_success_50", "CIoU@0.5", MIX, "multisource:matched_ciou"),
        _detail("source_ciou", "mean cIoU (sources)", MIX, "multisource:matched_ciou"),
        *(_listening(*named) for named in LISTENING),
        *(_retrieval(way, hit, k) for hit in ("instance", "class") for way in ("a2i", "i2a") for k in (1, 5, 10)),
    )
}
"""All metrics by id."""
