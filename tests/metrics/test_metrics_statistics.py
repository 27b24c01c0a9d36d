import pytest
from scipy.stats import binomtest

from avbench.metrics.statistics import wilson_interval


def test_flickr_sized_example():
    low, high = wilson_interval(209, 250)
    assert (round(100 * low, 1), round(100 * high, 1)) == (78.5, 87.7)


@pytest.mark.parametrize("total", [1, 2, 20, 250, 5158])
def test_agrees_with_scipy(total):
    for successes in {0, 1, total // 3, total - 1, total}:
        expected = binomtest(successes, total).proportion_ci(0.95, method="wilson")
        assert wilson_interval(successes, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_ends_stay_within_zero_and_one():
    for total in range(1, 60):
        assert wilson_interval(0, total)[0] == pytest.approx(0, abs=1e-15)
        assert wilson_interval(0, total)[0] >= 0
        assert wilson_interval(total, total)[1] <= 1


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, total):
    with pytest.raises(ValueError, match=f"got {successes} of {total}"):
        wilson_interval(successes, total)


def test_agrees_with_the_worked_examples(examples):
    for case in examples("stats", "wilson_95"):
        found = wilson_interval(case["inputs"]["successes"], case["inputs"]["n"])
        assert found == pytest.approx((case["expected"]["low"], case["expected"]["high"]), abs=1e-12), case["id"]
