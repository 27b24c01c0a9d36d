import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from avbench.metrics.retrieval import chance_recall, first_hit_rank, recall_at_k, recalls, retrieval_ranks, same_label

VARIANTS = {
    "instance_stable_index": "stable",
    "instance_pessimistic": "pessimistic",
    "instance_optimistic": "optimistic",
    "class_hit_stable_index": "stable",
}

TIES = ["stable", "pessimistic", "optimistic"]


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


@pytest.mark.parametrize("ties", TIES)
def test_ranks_agree_with_a_loop(ties):
    made = torch.Generator().manual_seed(13)
    similarity = torch.randint(-4, 3, (60, 9), generator=made).double() / 4
    similarity[::10], similarity[3, 4] = math.nan, math.nan
    relevant = torch.rand(60, 9, generator=made) > 0.75
    found = first_hit_rank(similarity, relevant, ties=ties).tolist()
    assert found == [looped_rank(s, r, ties) for s, r in zip(similarity.tolist(), relevant.tolist(), strict=True)]


def products(images: torch.Tensor, audios: torch.Tensor) -> torch.Tensor:
    """Exact for small integers, in any order of summation."""
    return images @ audios.T


def whole_matrix_ranks(similarity: torch.Tensor, labels, ties: str) -> dict[str, list[int]]:
    """The four lists of ranks from the matrix of images by audios."""
    found = {}
    for kind, relevant in {"instance": None, "class": same_label(labels, labels)}.items():
        found[f"i2a_{kind}"] = first_hit_rank(similarity, relevant, ties=ties).tolist()
        found[f"a2i_{kind}"] = first_hit_rank(similarity.T, relevant, ties=ties).tolist()
    return found


def listed(ranks: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: values.tolist() for name, values in ranks.items()}


def test_blocks_by_hand():
    images, audios = torch.eye(3), torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.7, 0.6, 0.5]])
    found = listed(retrieval_ranks(images, audios, labels=["dog", "dog", "cat"], block=2, similarity=products))
    # images by audios: 0.9 0.8 0.7 | 0.1 0.3 0.6 | 0.2 0.1 0.5
    assert found == {
        "i2a_instance": [1, 2, 1],
        "a2i_instance": [1, 2, 3],
        "i2a_class": [1, 2, 1],
        "a2i_class": [1, 1, 3],
    }
    assert list(retrieval_ranks(images, audios)) == ["i2a_instance", "a2i_instance"]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 14), block=st.integers(1, 15), ties=st.sampled_from(TIES))
@settings(max_examples=50, deadline=None)
def test_blocks_find_what_the_whole_matrix_says(seed, count, block, ties):
    made = torch.Generator().manual_seed(seed)
    images, audios = (torch.randint(-2, 3, (count, 2), generator=made).float() for _ in range(2))
    images[torch.rand(count, generator=made) < 0.15] = math.nan
    audios[torch.rand(count, generator=made) < 0.15] = math.nan
    labels = torch.randint(0, 4, (count,), generator=made).tolist()
    found = retrieval_ranks(images, audios, labels=labels, block=block, ties=ties, similarity=products)
    assert listed(found) == whole_matrix_ranks(images @ audios.T, labels, ties)
    rows = (images @ audios.T).tolist()
    own = [[n == m for m in range(count)] for n in range(count)]
    assert found["i2a_instance"].tolist() == [looped_rank(a, b, ties) for a, b in zip(rows, own, strict=True)]


@pytest.mark.parametrize("block", [1, 7, 64, 512])
def test_the_cosine_is_the_default(block):
    images, audios = torch.randn(50, 8).double() * 40, torch.randn(50, 8).double()
    cosine = torch.nn.functional.cosine_similarity(images[:, None], audios, dim=-1)
    labels = [n % 6 for n in range(50)]
    found = retrieval_ranks(images, audios, labels=labels, block=block)
    assert listed(found) == whole_matrix_ranks(cosine, labels, "stable")


def test_similarities_may_all_be_negative_or_infinitely_so():
    images, audios = torch.randint(-3, 4, (2, 20, 3)).float()
    expected = listed(retrieval_ranks(images, audios, similarity=products))
    assert listed(retrieval_ranks(images, audios, similarity=lambda a, b: products(a, b) - 1000)) == expected
    lost = retrieval_ranks(images, audios, similarity=lambda a, b: torch.full((len(a), len(b)), -math.inf))
    assert lost["i2a_instance"].tolist() == list(range(1, 21))


@pytest.mark.parametrize(("ties", "expected"), [("stable", 5 / 40), ("pessimistic", 0), ("optimistic", 1)])
def test_a_collapsed_model_has_the_recall_that_its_ties_say(ties, expected):
    same = torch.randn(1, 300).expand(40, 300)
    for ranks in retrieval_ranks(same, same, block=7, ties=ties).values():
        assert recalls(ranks, (5,)) == {5: expected}


def test_nan_embeddings_rank_last_and_stand_in_nobody_s_way():
    images, audios = torch.eye(4).double(), torch.eye(4).double()
    images[1], audios[2, 0] = math.nan, math.nan
    found = listed(retrieval_ranks(images, audios, block=3, ties="pessimistic"))
    assert found == {"i2a_instance": [1, 5, 5, 1], "a2i_instance": [1, 5, 5, 1]}
    assert recalls(torch.tensor(found["i2a_instance"]), (1, 99)) == {1: 0.5, 99: 0.5}


def test_a_zero_embedding_is_like_no_other():
    audios = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    images = torch.tensor([[0.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert retrieval_ranks(images, audios)["i2a_instance"].tolist() == [1, 1, 1]
    assert retrieval_ranks(images, audios, ties="pessimistic")["i2a_instance"].tolist() == [3, 1, 1]


def test_half_precision_is_compared_in_single_precision():
    images, audios = torch.randn(2, 200, 16).half()
    expected = listed(retrieval_ranks(images.float(), audios.float()))
    assert listed(retrieval_ranks(images, audios)) == expected
    assert listed(retrieval_ranks((8 * images).long(), (8 * audios).long())) == listed(
        retrieval_ranks((8 * images).long().float(), (8 * audios).long().float())
    )


def test_similarities_of_any_type_are_compared():
    images, audios = torch.randint(-3, 4, (2, 30, 3)).float()
    expected = listed(retrieval_ranks(images, audios, similarity=products))
    for kind in (torch.int64, torch.bfloat16, torch.float64):
        found = retrieval_ranks(images, audios, similarity=lambda a, b, kind=kind: products(a, b).to(kind))
        assert listed(found) == expected, kind
    images.requires_grad_()
    assert listed(retrieval_ranks(images, audios, similarity=products)) == expected


def test_labels_of_one_sample_each_are_instance_hits_and_one_label_is_always_hit():
    images, audios = torch.randn(2, 30, 4)
    alone = retrieval_ranks(images, audios, labels=range(30))
    assert torch.equal(alone["a2i_class"], alone["a2i_instance"])
    together = retrieval_ranks(images, audios, labels=["dog"] * 30)
    assert together["i2a_class"].tolist() == together["a2i_class"].tolist() == [1] * 30


def test_no_more_than_a_block_is_compared_at_once():
    seen = []

    def watched(images: torch.Tensor, audios: torch.Tensor) -> torch.Tensor:
        seen.append((len(images), len(audios)))
        return torch.einsum("icn,jc->ijn", images, audios).amax(dim=2)

    images, audios = torch.randint(-3, 4, (10, 3, 5)).float(), torch.randint(-3, 4, (10, 3)).float()
    found = retrieval_ranks(images, audios, block=4, similarity=watched)
    assert seen == [(4, 10), (10, 4), (4, 10), (10, 4), (2, 10), (10, 2)]
    assert found["a2i_instance"].tolist() == first_hit_rank(watched(images, audios).T).tolist()


def test_no_pairs_have_no_ranks():
    found = retrieval_ranks(torch.zeros(0, 4), torch.zeros(0, 4), labels=[])
    assert listed(found) == {"i2a_instance": [], "a2i_instance": [], "i2a_class": [], "a2i_class": []}
    assert math.isnan(recalls(found["i2a_class"], (1,))[1])


def test_recalls_by_hand():
    ranks = torch.tensor([1, 4, 2, 5])
    assert recalls(ranks, (1, 2, 4, 9)) == {1: 0.25, 2: 0.5, 4: 0.75, 9: 0.75}, "5 is none of 4"
    assert recalls(ranks, (9,), items=5) == {9: 1.0}
    with pytest.raises(ValueError, match="ks must be 1 or more, got \\[0\\]"):
        recalls(ranks, (0,))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"audios": torch.rand(2, 4)}, "images and audios must be as many, got 3 and 2"),
        ({"audios": torch.rand(3, 5)}, "must be of equal width, got 4 and 5"),
        ({"images": torch.rand(3, 4, 7, 7)}, r"cosine needs embeddings \[N, D\], got \[3, 4, 7, 7\]"),
        ({"labels": ["dog"]}, "labels must be one per pair, got 1 for 3 pairs"),
        ({"block": 0}, "block must be 1 or more, got 0"),
        ({"ties": "best"}, "ties must be .* got 'best'"),
        ({"similarity": lambda a, b: a @ b.T[:, :1]}, r"one value per image and audio, got \[3, 1\]"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(options, reason):
    given = {"images": torch.rand(3, 4), "audios": torch.rand(3, 4), **options}
    with pytest.raises(ValueError, match=reason):
        retrieval_ranks(given.pop("images"), given.pop("audios"), **given)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_the_accelerator_finds_the_same():
    images, audios = torch.randint(-3, 4, (2, 300, 6)).double()
    labels = [n % 9 for n in range(300)]
    here = retrieval_ranks(images, audios, labels=labels, block=64, similarity=products)
    there = retrieval_ranks(images.cuda(), audios.cuda(), labels=labels, block=64, similarity=products)
    assert listed(there) == listed(here)


def test_ranks_agree_with_scipy():
    images, audios = torch.randint(-2, 3, (2, 60, 3)).double()
    labels = torch.arange(60) % 7
    similarity, relevant = (images @ audios.T).numpy(), (labels[:, None] == labels).numpy()
    found = retrieval_ranks(images, audios, labels=labels.tolist(), block=16, similarity=products)
    for way, matrix in (("i2a", similarity), ("a2i", similarity.T)):
        ranks = rankdata(-matrix, method="ordinal", axis=1)
        assert found[f"{way}_instance"].tolist() == ranks.diagonal().tolist()
        assert found[f"{way}_class"].tolist() == np.where(relevant, ranks, 61).min(axis=1).tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_blocks_agree_with_the_worked_examples(examples, variant):
    kind = variant.partition("_")[0]
    for case in examples("retrieval", variant):
        matrix = torch.tensor(case["inputs"]["similarity_audio_by_image"], dtype=torch.float64).T
        numbers = torch.arange(len(matrix))
        ranks = retrieval_ranks(
            numbers,
            numbers,
            labels=case["inputs"].get("classes"),
            block=2,
            ties=VARIANTS[variant],
            similarity=lambda images, audios, matrix=matrix: matrix[images][:, audios],
        )
        for way, expected in (("a2i", "audio_to_image"), ("i2a", "image_to_audio")):
            wanted = {int(name[2:]): value for name, value in case["expected"][expected].items()}
            assert recalls(ranks[f"{way}_{kind}"], tuple(wanted)) == pytest.approx(wanted, abs=1e-12), case["id"]


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
