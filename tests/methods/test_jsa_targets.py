"""JSA with several target slots, and with other numbers of slots than two, against loops and values by hand."""

import math
from itertools import product

import pytest
import torch

from avbench.methods.jsa import JSA, JSAConfig, best_cosines, best_pairs, contrastive, match
from avbench.nets.slot_attention import Slots
from avbench.types import Batch

SIZE, TAU, K, DIM = 6, 0.1, 4, 8


def small(targets, others, **settings):
    torch.manual_seed(0)
    given = {
        "width": 1 / 16,
        "dim": DIM,
        "iters": 2,
        "reciprocal_k": K,
        "tau": TAU,
        "infer_sharpening": 0.7,
        **settings,
    }
    return JSA(JSAConfig(num_targets=targets, num_slots=targets + others, **given)).double().eval()


BATCH = Batch([""] * SIZE, torch.zeros(SIZE, 3, 64, 96).double(), torch.zeros(SIZE, 1, 33, 40).double())
"""Six cells each; what is in it does not matter where the slots are given."""


def given_slots(number, seed=0):
    """Random slots, queries and keys of both modalities, in which samples resemble each other in threes."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    kinds = draw(2, 2, number, DIM).repeat_interleave(SIZE // 2, dim=1)
    return tuple(
        Slots(kind + 0.4 * draw(SIZE, number, DIM), draw(SIZE, number, DIM), draw(SIZE, positions, DIM))
        for kind, positions in zip(kinds, (6, 4), strict=True)
    )


def cosine(a, b):
    return float(
        sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    )


def weights_of(queries, keys, sharpening=1.0):
    """Of one sample, ``[K][P]``: each token's softmax over the slots, not yet divided by the sum over the tokens."""
    table = [[0.0] * len(keys) for _ in queries]
    for p, key in enumerate(keys):
        raised = [math.exp(sharpening * float(q @ key) / math.sqrt(len(key))) for q in queries]
        for slot, value in enumerate(raised):
            table[slot][p] = value / sum(raised) + 1e-8
    return table


def normalised(row):
    return [value / sum(row) for value in row]


class Loops:
    """What the definition says of caught slots, sample by sample; ``t`` targets."""

    def __init__(self, image, audio, t):
        self.image, self.audio, self.t = image, audio, t
        self.v, self.a = image.slots.tolist(), audio.slots.tolist()
        self.pairs = [self.best(n, n)[1] for n in range(SIZE)]

    def best(self, n, m):
        """The highest cosine of image ``n`` with sound ``m``, and its pair."""
        return max((cosine(self.v[n][i], self.a[m][j]), (i, j)) for i, j in product(range(self.t), repeat=2))

    def near(self, n, side):
        """The K samples whose chosen target is nearest to that of ``n``, itself included."""
        slots = self.v if side == 0 else self.a
        found = [(cosine(slots[n][self.pairs[n][side]], slots[m][self.pairs[m][side]]), m) for m in range(SIZE)]
        return {m for _, m in sorted(found, reverse=True)[:K]}

    def excluded(self):
        def chosen(n, m):
            return m in self.near(n, 0) and m in self.near(n, 1)

        return {(n, m) for n, m in product(range(SIZE), repeat=2) if n != m and chosen(n, m) and chosen(m, n)}

    def contrastive(self):
        table, out, total = [[self.best(n, m)[0] / TAU for m in range(SIZE)] for n in range(SIZE)], self.excluded(), 0.0
        for n in range(SIZE):
            row = sum(math.exp(table[n][m]) for m in range(SIZE) if (n, m) not in out)
            column = sum(math.exp(table[m][n]) for m in range(SIZE) if (m, n) not in out)
            total += (math.log(row) + math.log(column) - 2 * table[n][n]) / SIZE
        return total

    def attention(self, asking, answering, n, slot):
        return normalised(weights_of(asking.queries[n], answering.keys[n])[slot])

    def match(self):
        total = 0.0
        for n, (i, j) in enumerate(self.pairs):
            for cross, own in (
                (self.attention(self.audio, self.image, n, j), self.attention(self.image, self.image, n, i)),
                (self.attention(self.image, self.audio, n, i), self.attention(self.audio, self.audio, n, j)),
            ):
                total += sum((x - y) ** 2 for x, y in zip(cross, own, strict=True)) / len(own) / SIZE
        return total

    def divergence(self):
        slots = range(len(self.v[0]))
        pairs = [(i, j) for i, j in product(slots, repeat=2) if i != j]
        found = [max(0.0, cosine(x[i], x[j])) for x in (*self.v, *self.a) for i, j in pairs]
        return sum(found) / SIZE / len(pairs)

    def map(self, asking, n, merge):
        rows = weights_of(asking.queries[n], self.image.keys[n], 0.7)[: self.t]
        return normalised([merge(column) for column in zip(*rows, strict=True)])


def answers_of(method, monkeypatch):
    """What a method makes of given slots: them, its terms, its prediction and its embeddings."""
    image, audio = given_slots(method.config.num_slots)
    monkeypatch.setattr(method.slot_attn, "forward", lambda *tokens: (image, audio))
    with torch.no_grad():
        found = method.localize(BATCH), method.embed(BATCH)
        terms = method.loss(BATCH)
    return Loops(image, audio, method.config.num_targets), terms, *found


@pytest.mark.parametrize(("targets", "others"), [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (2, 2)])
def test_all_answers_equal_loops_over_samples_slots_and_cells(monkeypatch, targets, others):
    loops, terms, found, _ = answers_of(small(targets, others, lam1=0.0), monkeypatch)
    assert 0 < len(loops.excluded()) < SIZE * (SIZE - 1)
    assert targets == 1 or len(set(loops.pairs)) > 1
    for name in ("contrastive", "match", "divergence"):
        assert terms[name].item() == pytest.approx(getattr(loops, name)(), rel=1e-9), name
    assert found.confidence.tolist() == pytest.approx([loops.best(n, n)[0] for n in range(SIZE)], rel=1e-9)
    assert found.map.shape == (SIZE, 2, 3)
    for n in range(SIZE):
        assert found.map[n].flatten().tolist() == pytest.approx(loops.map(loops.audio, n, max), rel=1e-9)
        seen = found.extra["image_query"][n].flatten().tolist()
        assert seen == pytest.approx(loops.map(loops.image, n, max), rel=1e-9)


@pytest.mark.parametrize("targets", [2, 3])
def test_maps_of_the_targets_one_by_one_and_their_sum(monkeypatch, targets):
    loops, _, found, _ = answers_of(small(targets, 1, target_merge="sum", lam1=0.0), monkeypatch)
    assert set(found.extra) == {"image_query", *(f"target_{number}" for number in range(1, targets + 1))}
    for n in range(SIZE):
        assert found.map[n].flatten().tolist() == pytest.approx(loops.map(loops.audio, n, sum), rel=1e-9)
        rows = weights_of(loops.audio.queries[n], loops.image.keys[n], 0.7)
        for number in range(targets):
            single = found.extra[f"target_{number + 1}"][n].flatten().tolist()
            assert single == pytest.approx(normalised(rows[number]), rel=1e-9)


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_retrieval_takes_the_best_pair_of_targets(monkeypatch, targets):
    method = small(targets, 1, lam1=0.0)
    loops, _, _, parts = answers_of(method, monkeypatch)
    assert parts.image.shape == parts.audio.shape == ((SIZE, DIM) if targets == 1 else (SIZE, targets, DIM))
    table = method.similarity(parts.image[:4], parts.audio)
    assert table.shape == (4, SIZE)
    for n in range(4):
        assert table[n].tolist() == pytest.approx([loops.best(n, m)[0] for m in range(SIZE)], rel=1e-9)


def circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def test_best_pairs_by_hand():
    images, audios = circle([0, 90], [10, 200]), circle([80, 180], [45, 343])
    assert [index.tolist() for index in best_pairs(images, audios)] == [[1, 0], [0, 1]]
    between = [[10, 17], [20, 27]]
    wanted = [[math.cos(math.radians(angle)) for angle in row] for row in between]
    assert best_cosines(images, audios).tolist() == [pytest.approx(row) for row in wanted]


def test_false_negatives_are_sought_among_the_chosen_targets():
    """By the first targets samples 0 and 1 would be of one kind, by those that match within each sample 0 and 2 are."""
    images = circle([0, 90], [1, 200], [170, 91])
    audios = circle([300, 90], [301, 200], [20, 91])
    pairs = best_pairs(images, audios)
    assert [index.tolist() for index in pairs] == [[1, 1, 1], [1, 1, 1]]
    table = (best_cosines(images, audios) / 0.5).tolist()
    wanted = 0.0
    for n in range(3):
        kept = [m for m in range(3) if {n, m} != {0, 2}]
        rows, columns = (
            sum(math.exp(x) for x in side) for side in ([table[n][m] for m in kept], [table[m][n] for m in kept])
        )
        wanted += (math.log(rows) + math.log(columns) - 2 * table[n][n]) / 3
    assert contrastive(images, audios, pairs, tau=0.5, reciprocal_k=2).item() == pytest.approx(wanted, rel=1e-12)


def test_the_match_term_follows_the_pair_of_each_sample():
    """Queries of two slots and one channel against two tokens; slot 1 of the image belongs to slot 0 of the sound."""
    keys = torch.tensor([[[1.0], [0.0]]]).double()
    image = Slots(torch.zeros(1), torch.tensor([[[math.log(3.0)], [0.0]]]).double(), keys)
    audio = Slots(torch.zeros(1), torch.tensor([[[0.0], [math.log(3.0)]]]).double(), keys)
    # Weights of slots with queries ln 3 and 0: (3/4, 1/4) at the first token, (1/2, 1/2) at the second.
    louder, softer = (3 / 5, 2 / 5), (1 / 3, 2 / 3)

    def distance(x, y):
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / 2

    for (i, j), wanted in {
        (0, 1): 0.0,
        (1, 0): 0.0,
        (0, 0): 2 * distance(softer, louder),
        (1, 1): 2 * distance(softer, louder),
    }.items():
        found = match(image, audio, (torch.tensor([i]), torch.tensor([j])))
        assert found.item() == pytest.approx(wanted, abs=1e-7), (i, j)


def fixed(method, queries, monkeypatch):
    """Two cells, the first with key 1, the second with key 0, and the same queries ``[K]`` of one channel each."""
    made = Slots(torch.ones(1, len(queries), 1), torch.tensor(queries)[None, :, None], torch.tensor([[[1.0], [0.0]]]))
    monkeypatch.setattr(method.slot_attn, "forward", lambda *tokens: (made, made))
    return method.localize(Batch(["0"], torch.zeros(1, 3, 32, 64).double(), torch.zeros(1, 1, 257, 501).double()))


@pytest.mark.parametrize(
    ("targets", "merge", "wanted"),
    [
        (1, "max", (1 / 6, 1 / 3)),
        (1, "sum", (1 / 6, 1 / 3)),
        (2, "max", (2 / 6, 1 / 3)),
        (2, "sum", (3 / 6, 2 / 3)),
    ],
)
def test_three_slots_by_hand(monkeypatch, targets, merge, wanted):
    """Three slots share the first cell as 1 : 2 : 3, the second equally."""
    method = small(targets, 3 - targets, infer_sharpening=1.0, target_merge=merge)
    found = fixed(method, [math.log(1.0), math.log(2.0), math.log(3.0)], monkeypatch)
    assert found.map.shape == (1, 1, 2)
    assert found.map.flatten().tolist() == pytest.approx(normalised(wanted), abs=1e-6)
    assert found.extra["image_query"].flatten().tolist() == pytest.approx(normalised(wanted), abs=1e-6)


def test_the_maximum_is_taken_before_the_division_by_the_sum_over_the_cells(monkeypatch):
    method = small(2, 1, infer_sharpening=1.0)
    found = fixed(method, [math.log(1.0), math.log(2.0), math.log(3.0)], monkeypatch)
    alone = torch.stack([found.extra["target_1"], found.extra["target_2"]])
    assert alone.flatten(1).tolist() == [
        pytest.approx((1 / 3, 2 / 3), abs=1e-6),
        pytest.approx((1 / 2, 1 / 2), abs=1e-6),
    ]
    late = alone.amax(dim=0)
    assert (late / late.sum()).flatten().tolist() != pytest.approx(found.map.flatten().tolist(), rel=1e-2)


@pytest.mark.parametrize("targets", [2, 3])
def test_gradients_reach_all_parameters_with_several_targets(random_batch, targets):
    batch = random_batch((257, 501), size=SIZE, side=224, dtype=torch.float64)
    method = small(targets, 1).train()
    method.loss(batch)["total"].backward()
    lost = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not lost
    assert (method.slot_attn.slots.grad.abs().amax(dim=2) > 0).all(), "every slot learns"


def test_several_targets_cost_nothing_but_their_slots():
    with torch.device("meta"):
        sizes = [sum(p.numel() for p in JSA(JSAConfig(num_slots=t + 1, num_targets=t)).parameters()) for t in (1, 2, 3)]
    assert sizes == [31_818_498, 31_818_498 + 512, 31_818_498 + 1024]
