import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.extended import average_precision, max_f1
from avbench.metrics.resampling import bootstrap, detections, means, resample_counts, success_area_per_sample
from avbench.metrics.success import area_under_success, mean_ciou, success_rate


def drawn(samples, resamples, **options):
    return np.concatenate(list(resample_counts(samples, resamples, **options)))


def expanded(counts):
    """The indices of a resample, each as often as it was drawn."""
    return torch.from_numpy(np.repeat(np.arange(len(counts)), counts))


def test_each_resample_draws_as_many_samples_as_there_are():
    counts = drawn(37, 500)
    assert counts.shape == (500, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert counts.min() == 0


def test_counts_have_the_moments_of_the_multinomial():
    counts = drawn(20, 20_000)
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.04)
    expected = np.eye(20) - 1 / 20
    assert np.cov(counts.T) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("block", [1, 2, 7, 100, 1000])
def test_the_block_changes_no_count(block):
    assert np.array_equal(drawn(13, 101, block=block), drawn(13, 101))


def test_fewer_resamples_are_the_first_of_more():
    assert np.array_equal(drawn(9, 10), drawn(9, 30)[:10])


def test_the_seed_decides():
    assert np.array_equal(drawn(9, 10, seed=4), drawn(9, 10, seed=4))
    assert not np.array_equal(drawn(9, 10, seed=4), drawn(9, 10, seed=5))


def test_members_of_a_cluster_are_drawn_together():
    clusters = ["b", "a", "b", "c", "b", "a"]
    counts = drawn(6, 200, clusters=clusters)
    assert (counts[:, [0]] == counts[:, [2, 4]]).all()
    assert (counts[:, 1] == counts[:, 5]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert np.array_equal(counts[:, [0, 1, 3]], drawn(3, 200))


def test_clusters_of_one_are_no_clusters():
    assert np.array_equal(drawn(5, 50, clusters="edcba"), drawn(5, 50))


@pytest.mark.parametrize(("samples", "resamples", "block"), [(0, 5, None), (5, 0, None), (5, 5, 0)])
def test_empty_resamples_are_refused(samples, resamples, block):
    with pytest.raises(ValueError, match="must be 1 or more"):
        drawn(samples, resamples, block=block)


def test_every_sample_needs_a_cluster():
    with pytest.raises(ValueError, match="a cluster for each of 3 samples, got 2"):
        drawn(3, 5, clusters=[0, 1])


@pytest.mark.parametrize("samples", [1, 2, 250])
def test_the_area_is_the_mean_of_what_the_samples_add(samples):
    ciou = torch.rand(samples, dtype=torch.float64)
    ciou[0] = 0.3
    assert float(success_area_per_sample(ciou).mean()) == pytest.approx(float(area_under_success(ciou)), abs=1e-12)


def test_what_one_sample_adds_by_hand():
    found = success_area_per_sample(torch.tensor([[0.0, 0.12], [1.0, torch.nan]]))
    assert found.flatten().tolist() == pytest.approx([0.025, 0.125, 1, 0], abs=1e-12)


def test_means_agree_with_resampled_indices():
    ciou = torch.rand(3, 29, dtype=torch.float64)
    statistic = means({"auc": success_area_per_sample(ciou), "mean": ciou, "rate": (ciou >= 0.5).double()})
    found = bootstrap([statistic], 29, resamples=60)
    for column, counts in enumerate(drawn(29, 60)):
        for method, values in enumerate(ciou[:, expanded(counts)]):
            assert found["auc"].draws[method, column] == pytest.approx(float(area_under_success(values)), abs=1e-12)
            assert found["mean"].draws[method, column] == pytest.approx(float(mean_ciou(values)), abs=1e-12)
            assert found["rate"].draws[method, column] == float(success_rate(values))


def test_estimates_are_the_plain_metrics():
    ciou = torch.rand(2, 40, dtype=torch.float64)
    confidence, sounding = torch.rand(2, 40), torch.rand(40) < 0.5
    found = bootstrap([means({"mean": ciou}), detections(confidence, ciou, sounding=sounding)], 40, resamples=2)
    for method in range(2):
        assert found["mean"].estimate[method] == pytest.approx(float(ciou[method].mean()), abs=1e-15)
        for name, plain in (("ap", average_precision), ("max_f1", max_f1)):
            expected = plain(confidence[method], ciou[method], sounding=sounding)
            assert found[name].estimate[method] == pytest.approx(float(expected), abs=1e-12)


LEVELS = st.sampled_from([0.0, 0.1, 0.5, 0.9, torch.nan, torch.inf, -torch.inf])
SAMPLES = st.lists(
    st.tuples(LEVELS, st.sampled_from([0.2, 0.5, 0.8, torch.nan]), st.booleans()), min_size=1, max_size=9
)


@given(SAMPLES)
@settings(max_examples=50, deadline=None)
def test_detections_agree_with_resampled_indices_under_ties_and_nan(samples):
    confidence, ciou, sounding = map(torch.tensor, zip(*samples, strict=True))
    statistic = detections(confidence[None], ciou[None], sounding=sounding)
    found = bootstrap([statistic], len(samples), resamples=12)
    for column, counts in enumerate(drawn(len(samples), 12)):
        rows = expanded(counts)
        for name, plain in (("ap", average_precision), ("max_f1", max_f1)):
            expected = float(plain(confidence[rows], ciou[rows], sounding=sounding[rows]))
            assert found[name].draws[0, column] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [3, 10_000])
def test_detections_agree_with_resampled_indices_on_many_samples(levels):
    confidence = torch.randint(levels, (2, 150)) / levels
    ciou, sounding = torch.rand(2, 150), torch.arange(150) % 2 == 0
    found = bootstrap([detections(confidence, ciou, sounding=sounding, success=0.4)], 150, resamples=20)
    for column, counts in enumerate(drawn(150, 20)):
        rows = expanded(counts)
        for method in range(2):
            arguments = {"sounding": sounding[rows], "success": 0.4}
            for name, plain in (("ap", average_precision), ("max_f1", max_f1)):
                expected = float(plain(confidence[method, rows], ciou[method, rows], **arguments))
                assert found[name].draws[method, column] == pytest.approx(expected, abs=1e-12)


def test_detections_follow_clusters():
    confidence, ciou, sounding = torch.rand(1, 6), torch.rand(1, 6), torch.tensor([True, False] * 3)
    statistic = detections(confidence, ciou, sounding=sounding)
    found = bootstrap([statistic], 6, resamples=30, clusters=[0, 0, 0, 1, 1, 2])
    for column, counts in enumerate(drawn(6, 30, clusters=[0, 0, 0, 1, 1, 2])):
        rows = expanded(counts)
        expected = average_precision(confidence[0, rows], ciou[0, rows], sounding=sounding[rows])
        assert found["ap"].draws[0, column] == pytest.approx(float(expected), abs=1e-12)


def four_methods():
    """The last is the first again."""
    generator = torch.Generator().manual_seed(3)
    ciou = torch.rand(3, 60, generator=generator, dtype=torch.float64)
    confidence = torch.rand(3, 60, generator=generator)
    return torch.cat([ciou, ciou[:1]]), torch.cat([confidence, confidence[:1]]), torch.arange(60) % 3 > 0


def run(rows, **options):
    ciou, confidence, sounding = four_methods()
    statistics = [means({"mean": ciou[rows]}), detections(confidence[rows], ciou[rows], sounding=sounding)]
    return bootstrap(statistics, 60, **options)


def test_the_order_of_methods_changes_no_bit():
    rows = [2, 0, 3, 1]
    plain, shuffled = run([0, 1, 2, 3], resamples=300), run(rows, resamples=300)
    assert plain.keys() == {"mean", "ap", "max_f1"}
    for name, found in plain.items():
        assert np.array_equal(found.draws[rows], shuffled[name].draws)


@pytest.mark.parametrize("size", [1, 60 * 7, 60 * 299])
def test_the_block_changes_no_bit(monkeypatch, size):
    plain = run([0, 1, 2], resamples=300)
    monkeypatch.setattr("avbench.metrics.resampling.COUNTS_AT_ONCE", size)
    for name, found in run([0, 1, 2], resamples=300).items():
        assert np.array_equal(found.draws, plain[name].draws)


def test_equal_methods_do_not_differ_at_all():
    for found in run([0, 1, 3], resamples=200).values():
        assert found.difference(0, 2) == (0, 0, 0, 1)
        assert found.interval(0) == found.interval(2)


def test_a_difference_turns_round():
    found = run([0, 1], resamples=500)["mean"]
    there, back = found.difference(0, 1), found.difference(1, 0)
    assert (back.value, back.p) == (-there.value, there.p)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-15)


def test_the_p_value_counts_differences_on_the_other_side_and_at_zero():
    values = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1]])
    found = bootstrap([means({"mean": values})], 4, resamples=400)["mean"]
    gaps = [int(counts[0]) - int(counts[3]) for counts in drawn(4, 400)]
    beyond = min(sum(gap <= 0 for gap in gaps), sum(gap >= 0 for gap in gaps))
    assert found.difference(0, 1).p == min(2 * (1 + beyond) / 401, 1)


def test_the_least_p_value_is_two_in_one_more_than_the_resamples():
    found = bootstrap([means({"mean": torch.tensor([[1.0] * 5, [0.0] * 5])})], 5, resamples=99)["mean"]
    assert found.difference(0, 1) == (1, 1, 1, 0.02)


def test_an_interval_by_hand():
    """Two samples, 0 and 1: the mean of a resample is 0, a half or 1 with the chances 1/4, 1/2, 1/4."""
    found = bootstrap([means({"mean": torch.tensor([[0.0, 1.0]])})], 2, resamples=4000)["mean"]
    assert found.interval(0) == (0, 1)
    shares = [float((found.draws == value).mean()) for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


@pytest.mark.parametrize("samples", [8, 50])
def test_intervals_agree_with_scipy_within_chance(samples):
    values = torch.rand(2, samples, dtype=torch.float64)
    found = bootstrap([means({"mean": values})], samples, resamples=8000)["mean"]
    options = {"vectorized": True, "method": "percentile", "n_resamples": 8000, "rng": np.random.default_rng(1)}
    first, second = values.numpy()
    expected = scipy.stats.bootstrap((first,), np.mean, **options).confidence_interval
    assert found.interval(0) == pytest.approx((expected.low, expected.high), abs=0.012)
    gap = scipy.stats.bootstrap((first, second), lambda a, b, axis: (a - b).mean(axis), paired=True, **options)
    low, high = gap.confidence_interval
    assert found.difference(0, 1)[1:3] == pytest.approx((low, high), abs=0.015)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_method_with_nan_has_no_interval_and_spoils_no_other(broken):
    values = torch.rand(3, 10, dtype=torch.float64)
    clean = bootstrap([means({"mean": values})], 10, resamples=50)["mean"]
    values[1, 4] = broken
    found = bootstrap([means({"mean": values})], 10, resamples=50)["mean"]
    assert np.isnan([found.estimate[1], *found.interval(1), *found.difference(0, 1)]).all()
    assert np.array_equal(found.draws[[0, 2]], clean.draws[[0, 2]])


def test_values_of_any_size_keep_their_digits():
    values = torch.tensor([[1e-9, 3e-9, 0], [1e9, 3e9, 1], [0, 0, 0]], dtype=torch.float64)
    found = bootstrap([means({"mean": values})], 3, resamples=1)["mean"]
    assert found.estimate.tolist() == pytest.approx([4e-9 / 3, (4e9 + 1) / 3, 0], rel=1e-15)


def test_a_name_stands_for_one_statistic():
    statistic = means({"mean": torch.rand(1, 4)})
    with pytest.raises(ValueError, match="different names, got mean twice"):
        bootstrap([statistic, statistic], 4, resamples=1)


def test_values_of_other_samples_are_refused():
    with pytest.raises(ValueError, match=r"a must be \[M, n\], got \[4\]"):
        means({"a": torch.rand(4)})
    with pytest.raises(ValueError, match=r"of the same samples, got \[\[1, 4\], \[1, 5\]\]"):
        means({"a": torch.rand(1, 4), "b": torch.rand(1, 5)})
    with pytest.raises(ValueError, match=r"\[M, n\] and sounding \[n\], got \[2, 4\], \[2, 4\], \[5\]"):
        detections(torch.rand(2, 4), torch.rand(2, 4), sounding=torch.ones(5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected statistics of 4 samples, got values of 5"):
        bootstrap([means({"a": torch.rand(1, 5)})], 4, resamples=1)
    with pytest.raises(ValueError, match=r"expected statistics of 4 samples, got values of 3"):
        bootstrap([detections(torch.rand(1, 3), torch.rand(1, 3), sounding=torch.arange(3) > 0)], 4, resamples=1)
