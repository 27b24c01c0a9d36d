"""From per-sample values to a record's numbers, against hand-computed cases."""

import pytest
import torch

from avbench.aggregating import numbers_of
from avbench.data.annotations import Source
from avbench.metrics.catalogue import METRICS
from avbench.metrics.extended import aggregate_extended
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.segmentation import f_curves, mask_iou
from avbench.metrics.statistics import wilson_interval
from avbench.truth import Truth

BOX = (0.0, 0.0, 0.5, 1.0)


def truth_of(count: int, **changes) -> Truth:
    values = {
        "split": "made-up",
        "title": "Made up",
        "split_sha256": "",
        "sha256": "",
        "ids": tuple(f"s{n}" for n in range(count)),
        "labels": ("a",) * count,
        "image_names": tuple(f"s{n}" for n in range(count)),
        "sounding": (True,) * count,
        "doubtful": (False,) * count,
        "boxes": ((BOX,),) * count,
        "sources": ((),) * count,
        "rles": (None,) * count,
    }
    return Truth(**{**values, **changes})


def numbers(values: dict, truth: Truth, *, protocol: str = "common", area=None):
    columns = {name: torch.tensor(column, dtype=torch.float64) for name, column in values.items()}
    areas = torch.tensor(area or [20_000.0] * len(truth), dtype=torch.float64)
    return numbers_of(columns, truth, areas, PROTOCOLS[protocol])


def row(ciou: list[float], **further) -> dict:
    flat = dict.fromkeys(("pixel_ap", "pixel_roc_auc", "pointing", "energy"), [0.5] * len(ciou))
    return {"ciou": ciou, "ciou_adap": ciou, **flat, **further}


def test_overlap_is_over_the_samples_with_a_sounding_object():
    truth = truth_of(4, boxes=((BOX,), (BOX,), (BOX,), ()))
    found = numbers(row([0.8, 0.4, 0.5, 1.0]), truth)
    assert found.metrics["locacc"] == pytest.approx(2 / 3)
    assert found.metrics["locacc_30"] == 1
    assert found.metrics["locacc_75"] == pytest.approx(1 / 3)
    assert found.metrics["mean_ciou"] == found.metrics["auc_exact"] == pytest.approx(1.7 / 3)
    assert found.intervals()["locacc"] == wilson_interval(2, 3)
    assert set(found.intervals()) >= {"locacc", "locacc_30", "locacc_75", "locacc_adap", "locacc_large"}
    assert "auc" not in found.intervals()


def test_slavc_s_training_log_asks_for_more_than_a_half():
    truth = truth_of(2)
    assert numbers(row([0.5, 0.6]), truth, protocol="slavc-train").metrics["locacc"] == 0.5
    assert numbers(row([0.5, 0.6]), truth, protocol="slavc").metrics["locacc"] == 1


def test_sizes_are_of_the_truth():
    found = numbers(row([0.8, 0.4, 0.5, 0.1]), truth_of(4), area=[1023.0, 1024.0, 9216.0, 30_000.0])
    sizes = {size: found.metrics[f"locacc_{size}"] for size in ("small", "medium", "large", "huge")}
    assert sizes == {"small": 1, "medium": 0, "large": 1, "huge": 0}
    assert "locacc_small" not in numbers(row([0.8]), truth_of(1)).metrics, "a bucket without samples has no number"


def test_pictures_with_several_sounds_need_all_of_them():
    truth = truth_of(5, image_names=("x", "x", "y", "y", "z"))
    found = numbers(row([0.8, 0.4, 0.5, 0.6, 0.9]), truth).metrics
    assert found["iiou"] == pytest.approx(2 / 3)
    assert found["iauc"] == pytest.approx((0.4 + 0.025 + 0.525 + 0.925 - 0.025) / 3, abs=0.03)
    assert "iiou" not in numbers(row([0.8, 0.4]), truth_of(2)).metrics


def test_doubtful_negatives_are_left_out_once_more():
    truth = truth_of(
        4, boxes=((BOX,), (BOX,), (), ()), sounding=(True, True, False, False), doubtful=(False, False, True, False)
    )
    values = row([0.8, 0.4, 0.0, 0.0], confidence=[0.9, 0.3, 0.8, 0.1])
    found = numbers(values, truth).metrics
    kept = torch.tensor([True, True, False, True])
    sure, ciou = (torch.tensor(values[name], dtype=torch.float64) for name in ("confidence", "ciou"))
    clean = aggregate_extended(sure[kept], ciou[kept], sounding=truth.positive[kept])
    assert {name: found[f"{name}_clean"] for name in clean} == clean
    assert (found["ap_clean"], found["ap"]) == pytest.approx((3 / 4, 2 / 3))
    assert (found["max_f1_clean"], found["max_f1"]) == pytest.approx((2 / 3, 2 / 3))
    without = truth_of(4, boxes=truth.boxes, sounding=truth.sounding)
    assert not [name for name in numbers(values, without).metrics if name.endswith("_clean")]


def test_a_truth_that_fills_the_frame_has_no_roc_curve():
    values = {**row([0.5, 0.5]), "pixel_roc_auc": [float("nan"), 0.7]}
    assert numbers(values, truth_of(2)).metrics["pixel_roc_auc"] == pytest.approx(0.7)


def test_masks_by_image_and_by_batches_of_twenty():
    dice = torch.Generator().manual_seed(0)
    maps, masks = torch.rand(30, 8, 8, generator=dice), torch.rand(30, 8, 8, generator=dice) > 0.7
    masks[25] = False
    truth = masks.to(torch.uint8)
    values = {"iou": mask_iou(maps > 0.5, truth), "nonempty": masks.flatten(1).any(1).double()}
    found = numbers_of(
        {**values, "f_curve": f_curves(maps, truth)}, truth_of(30), torch.ones(30), PROTOCOLS["avsbench"]
    )
    iou = values["iou"]
    assert found.metrics["miou"] == pytest.approx(float(iou.mean()))
    assert found.metrics["miou_official"] == pytest.approx(float((iou[:20].mean() + iou[20:].mean()) / 2))
    assert found.metrics["fscore"] <= found.metrics["fscore_official"] <= found.metrics["fscore_image"]


def test_sources_count_one_by_one():
    sources = ((Source("drum", (BOX,)), Source("bell", (BOX,))), (Source("drum", (BOX,)),), ())
    nan = float("nan")
    values = {
        "source_ciou": [[0.4, 0.2], [0.6, nan], [nan, nan]],
        "source_ap": [[0.5, 0.1], [0.9, nan], [nan, nan]],
        "source_success_30": [0.5, 1.0, nan],
        "piap": [0.3, 0.9, nan],
    }
    found = numbers(values, truth_of(3, sources=sources), protocol="multisource")
    assert found.metrics["source_success_30"] == pytest.approx(2 / 3)
    assert found.metrics["source_success_50"] == pytest.approx(1 / 3)
    assert found.metrics["source_ciou"] == pytest.approx(0.4)
    assert found.metrics["cap"] == pytest.approx((0.7 + 0.1) / 2)
    assert found.metrics["piap"] == pytest.approx(0.6)
    assert found.intervals()["source_success_30"] == wilson_interval(2, 3)


@pytest.mark.parametrize("protocol", ["common", "avsbench", "multisource"])
def test_every_number_is_in_the_catalogue_and_every_headline_among_them(protocol):
    nan = float("nan")
    values = {
        "common": row([0.5, 0.6], confidence=[0.1, 0.2]),
        "avsbench": {"iou": [0.5, 0.1], "nonempty": [1.0, 1.0], "f_curve": [[0.1] * 255] * 2},
        "multisource": {"source_ciou": [[0.4], [nan]], "source_ap": [[0.4], [nan]], "piap": [0.4, nan]},
    }[protocol]
    sources = ((Source("drum", (BOX,)),), ())
    found = numbers(values, truth_of(2, sources=sources), protocol=protocol).metrics
    assert set(found) <= set(METRICS)
    assert set(PROTOCOLS[protocol].headline) <= set(found)
