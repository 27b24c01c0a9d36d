import importlib
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import PROTOCOLS, get_protocol


def test_every_metric_names_a_function_that_is_there():
    for metric in METRICS.values():
        module, name = metric.function.split(":")
        assert callable(getattr(importlib.import_module(module), name)), metric.id


def test_ids_are_keys_and_names_are_unique():
    assert [metric.id for metric in METRICS.values()] == list(METRICS)
    assert len({metric.display for metric in METRICS.values()}) == len(METRICS)


def test_the_success_rate_is_what_papers_call_ciou():
    assert METRICS["locacc"].display == "cIoU"
    assert METRICS["locacc"].function == "avbench.metrics.success:success_rate"


def test_retrieval_has_both_ways_both_hits_and_three_depths():
    expected = {f"{way}_{hit}_r{k}" for way in ("a2i", "i2a") for hit in ("instance", "class") for k in (1, 5, 10)}
    assert {key for key, metric in METRICS.items() if metric.function.endswith("recall_at_k")} == expected


def test_records_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        METRICS["auc"].decimals = 3
    with pytest.raises(FrozenInstanceError):
        PROTOCOLS["common"].operator = ">"


def test_protocols_are_found_by_name():
    assert [get_protocol(name).name for name in PROTOCOLS] == list(PROTOCOLS)
    assert get_protocol("jsa").threshold.at == 0.6


def test_an_unknown_protocol_answers_with_the_closest_and_all():
    with pytest.raises(ValueError, match=r"mean ezvsl or lvs or ezvsl-train\? the protocols are common, ezvsl"):
        get_protocol("ezvls")
    with pytest.raises(ValueError, match=r"called 'zzz': the protocols are"):
        get_protocol("zzz")


def test_listings_do_not_import_torch():
    code = "import sys, avbench.metrics, avbench.metrics.catalogue, avbench.metrics.protocols"
    check = f"{code}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
