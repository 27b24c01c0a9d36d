import json
import math

import pytest
import torch

from avbench.metrics.retrieval import chance_recall, first_hit_rank, recall_at_k, same_label

VARIANTS = {
    "instance_stable_index": "stable",
    "instance_pessimistic": "pessimistic",
    "instance_optimistic": "optimistic",
    "class_hit_stable_index": "stable",
}


def test_recall_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.7, 0.6, 0.5]])
    assert first_hit_rank(similarity).tolist() == [1, 2, 3]
    assert recall_at_k(similarity, ks=(1, 2, 3)) == {1: 1 / 3, 2: 2 / 3, 3: 1.0}


def test_class_hits_take_the_best_item_of_the_class():
    similarity = torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5], [0.3, 0.2, 0.1]])
    labels = ["dog", "dog", "cat"]
    assert recall_at_k(similarity, same_label(labels, labels), (1, 2, 3)) == {1: 2 / 3, 2: 2 / 3, 3: 1.0}


def test_only_the_order_of_similarities_matters():
    similarity = torch.randn(20, 20, dtype=torch.float64)
    expected = recall_at_k(similarity)
    assert recall_at_k(similarity - 100) == expected
    assert recall_at_k(similarity.exp()) == expected


def test_recall_grows_with_k():
    found = recall_at_k(torch.randn(30, 30), ks=(1, 5, 10, 30))
    assert sorted(found.values()) == list(found.values())
    assert found[30] == 1


@pytest.mark.parametrize(
    ("ties", "ranks"), [("stable", [1, 2, 3]), ("pessimistic", [3, 3, 3]), ("optimistic", [1, 1, 1])]
)
def test_ties_of_a_constant_similarity(ties, ranks):
    assert first_hit_rank(torch.full((3, 3), -0.5), ties=ties).tolist() == ranks


def test_relevant_items_do_not_stand_in_each_others_way():
    relevant = torch.tensor([[False, True, True, False]])
    tied = torch.full((1, 4), 0.7)
    assert [first_hit_rank(tied, relevant, ties=t).item() for t in ("stable", "pessimistic", "optimistic")] == [2, 3, 1]


def test_a_nan_query_never_hits_even_where_k_exceeds_the_gallery():
    similarity = torch.eye(3)
    similarity[1] = math.nan
    assert first_hit_rank(similarity).tolist() == [1, 4, 1]
    assert recall_at_k(similarity, ks=(1, 10)) == {1: 2 / 3, 10: 2 / 3}


def test_a_nan_item_is_farther_than_anything():
    similarity = torch.tensor([[-5.0, math.nan], [-9.0, math.nan]])
    assert first_hit_rank(similarity).tolist() == [1, 3]


def test_a_query_without_relevant_items_never_hits():
    assert recall_at_k(torch.rand(2, 4), torch.zeros(2, 4).bool(), ks=(4, 9)) == {4: 0, 9: 0}


def test_minus_infinity_is_a_similarity():
    assert first_hit_rank(torch.full((2, 2), -math.inf)).tolist() == [1, 2]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="as many queries as items"):
        recall_at_k(torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"both be \[Q, N\]"):
        recall_at_k(torch.rand(2, 3), torch.zeros(3, 2).bool())
    with pytest.raises(ValueError, match="ks must be 1 or more"):
        recall_at_k(torch.rand(2, 2), ks=(0, 1))
    with pytest.raises(ValueError, match=r"ties must be .* got 'best'"):
        recall_at_k(torch.rand(2, 2), ties="best")


def test_chance_by_hand():
    assert chance_recall(torch.eye(4).bool(), (1, 2, 9)) == {1: 0.25, 2: 0.5, 9: 1.0}
    two_of_four = torch.tensor([[True, True, False, False]])
    assert chance_recall(two_of_four, (1, 2, 3)) == pytest.approx({1: 1 / 2, 2: 5 / 6, 3: 1.0}, abs=1e-15)
    assert chance_recall(torch.zeros(1, 4).bool(), (2,)) == {2: 0}


def test_chance_is_what_random_similarities_reach():
    made = torch.Generator().manual_seed(11)
    relevant = same_label([n % 7 for n in range(40)], [n % 7 for n in range(40)])
    drawn = [recall_at_k(torch.rand(40, 40, generator=made), relevant)[5] for _ in range(200)]
    assert sum(drawn) / 200 == pytest.approx(chance_recall(relevant)[5], abs=0.02)


def looped_rank(row: list[float], relevant: list[bool], ties: str) -> int:
    """Sort the items, move the tied ones as asked, and walk until the first relevant one."""
    first = {
        "stable": lambda n: n,
        "pessimistic": lambda n: (relevant[n], n),
        "optimistic": lambda n: (not relevant[n], n),
    }
    order = sorted((n for n in range(len(row)) if not math.isnan(row[n])), key=first[ties])
    order = sorted(order, key=lambda n: row[n], reverse=True)
    return next((place for place, n in enumerate(order, start=1) if relevant[n]), len(row) + 1)


@pytest.mark.parametrize("ties", ["stable", "pessimistic", "optimistic"])
def test_ranks_agree_with_a_loop(ties):
    made = torch.Generator().manual_seed(13)
    similarity = torch.randint(-4, 3, (60, 9), generator=made).double() / 4
    similarity[::10], similarity[3, 4] = math.nan, math.nan
    relevant = torch.rand(60, 9, generator=made) > 0.75
    found = first_hit_rank(similarity, relevant, ties=ties).tolist()
    assert found == [looped_rank(s, r, ties) for s, r in zip(similarity.tolist(), relevant.tolist(), strict=True)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_agrees_with_the_worked_examples(examples, variant):
    for case in examples("retrieval", variant):
        audio_by_image = torch.tensor(case["inputs"]["similarity_audio_by_image"], dtype=torch.float64)
        labels = case["inputs"].get("classes")
        relevant = same_label(labels, labels) if labels else None
        for way, similarity in (("audio_to_image", audio_by_image), ("image_to_audio", audio_by_image.T)):
            expected = {int(name[2:]): value for name, value in case["expected"][way].items()}
            found = recall_at_k(similarity, relevant, tuple(expected), ties=VARIANTS[variant])
            assert found == pytest.approx(expected, abs=1e-12), (case["id"], way)


def test_chance_levels_of_vggss(shared):
    labels = [clip["class"] for clip in json.loads((shared / "metadata/vggss/vggss.json").read_text(encoding="utf-8"))]
    by_class = chance_recall(same_label(labels, labels))
    by_instance = chance_recall(torch.eye(len(labels), dtype=torch.bool))
    assert {k: round(100 * v, 2) for k, v in by_class.items()} == {1: 0.51, 5: 2.51, 10: 4.95}
    assert {k: round(100 * v, 2) for k, v in by_instance.items()} == {1: 0.02, 5: 0.10, 10: 0.19}
