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


def _localisation(key: str, display: str, *, reference: str, function: str) -> Metric:
    return Metric(key, display, "percent", "higher", 2, reference, 1, f"avbench.metrics.{function}")


def _retrieval(way: str, hit: str, k: int) -> Metric:
    arrow = {"a2i": "A->I", "i2a": "I->A"}[way]
    return Metric(
        id=f"{way}_{hit}_r{k}",
        display=f"{arrow} R@{k} ({hit})",
        unit="percent",
        direction="higher",
        decimals=2,
        reference="Senocak et al., Sound Source Localization is All about Cross-Modal Alignment, ICCV 2023, "
        "section 4.2; there is no official code",
        version=1,
        function="avbench.metrics.retrieval:recall_at_k",
    )


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        _localisation(
            "ciou",
            "cIoU of one sample",
            reference="Senocak et al., Learning to Localize Sound Source in Visual Scenes, CVPR 2018; "
            "stoneMo/EZ-VSL utils.py, Evaluator.cal_CIOU",
            function="consensus_iou:consensus_iou",
        ),
        _localisation(
            "locacc",
            "cIoU",
            reference="the papers' cIoU column; stoneMo/EZ-VSL utils.py, Evaluator.finalize_AP50",
            function="success:success_rate",
        ),
        _localisation(
            "mean_ciou",
            "mean cIoU",
            reference="stoneMo/EZ-VSL utils.py, Evaluator.finalize_cIoU",
            function="success:mean_ciou",
        ),
        _localisation(
            "auc",
            "AUC",
            reference="stoneMo/EZ-VSL utils.py, Evaluator.finalize_AUC",
            function="success:area_under_success",
        ),
        _localisation(
            "ap",
            "AP",
            reference="Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, "
            "NeurIPS 2022, section 4; the full curve",
            function="extended:average_precision",
        ),
        _localisation(
            "max_f1",
            "max-F1",
            reference="Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, "
            "NeurIPS 2022, section 4; over all thresholds",
            function="extended:max_f1",
        ),
        _localisation(
            "ap_official",
            "AP (official)",
            reference="stoneMo/SLAVC utils.py, EvaluatorFull.calc_ap",
            function="extended:average_precision_official",
        ),
        _localisation(
            "max_f1_official",
            "max-F1 (official)",
            reference="stoneMo/SLAVC utils.py, EvaluatorFull.finalize_stats",
            function="extended:max_f1_official",
        ),
        *(_retrieval(way, hit, k) for hit in ("instance", "class") for way in ("a2i", "i2a") for k in (1, 5, 10)),
    )
}
"""All metrics by id."""
