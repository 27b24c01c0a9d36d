import itertools
import math
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.metrics.accumulators import Accumulator
from avbench.metrics.extended import detection_summary
from avbench.metrics.success import area_under_success, mean_ciou

NAMES = ("ciou", "confidence")


def filled(indices, **columns) -> Accumulator:
    made = Accumulator(list(columns))
    made.update(
        torch.tensor(indices), **{name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
    )
    return made


def test_columns_come_back_in_the_order_of_the_samples():
    values = filled([2, 0], ciou=[0.2, 0.0], confidence=[9.0, 7.0])
    values.update(torch.tensor([1]), confidence=torch.tensor([8]), ciou=torch.tensor([0.5]))
    assert len(values) == 3
    found = {name: column.tolist() for name, column in values.complete(3).items()}
    assert found == {"ciou": [0, 0.5, 0.2], "confidence": [7, 8, 9]}


def test_values_of_any_type_become_float64_and_keep_what_they_are():
    values = Accumulator(["a", "b", "c"])
    values.update(
        torch.tensor([1, 0], dtype=torch.int32),
        a=torch.tensor([True, False]),
        b=torch.tensor([0.1, math.nan]),
        c=torch.tensor([-math.inf, -0.0]).double(),
    )
    found = values.complete(2)
    assert {column.dtype for column in found.values()} == {torch.float64}
    assert found["a"].tolist() == [0, 1]
    assert math.isnan(found["b"][0])
    assert found["b"][1].item() == torch.tensor(0.1).item(), "the float32 value, exactly"
    assert found["c"].signbit().all()


def test_nothing_is_shared_with_the_tensors_given_or_the_state():
    indices, ciou = torch.tensor([0, 1]), torch.tensor([0.25, 0.5]).double()
    values = Accumulator(["ciou"])
    values.update(indices, ciou=ciou)
    ciou.zero_()
    indices.zero_()
    values.state()["columns"]["ciou"].zero_()
    assert values.complete(2)["ciou"].tolist() == [0.25, 0.5]


def test_a_batch_of_a_large_tensor_is_pickled_alone():
    values = Accumulator(["ciou"])
    values.update(torch.arange(100_000)[:3], ciou=torch.rand(100_000, requires_grad=True)[:3])
    assert len(pickle.dumps(values.state())) < 2000
    assert not values.complete(3)["ciou"].requires_grad


def test_no_samples_are_complete_at_zero():
    assert {name: len(column) for name, column in Accumulator(NAMES).complete(0).items()} == dict.fromkeys(NAMES, 0)
    values = Accumulator(NAMES)
    values.update(torch.empty(0, dtype=torch.int64), ciou=torch.empty(0), confidence=torch.empty(0))
    assert len(values) == 0


@pytest.mark.parametrize(
    ("indices", "columns", "reason"),
    [
        ([3, 1], {"ciou": [0, 0]}, r"each sample must be given once, got 1 \(1\) again"),
        ([5, 5, 6, 6, 7, 7, 8, 8], {"ciou": [0] * 8}, r"got 4 \(5, 6, 7, \.\.\.\) again"),
        ([-1, 4], {"ciou": [0, 0]}, "indices must be 0 or more, got -1"),
        ([4], {"iou": [0]}, r"of the columns \['ciou'\], got \['iou'\]"),
        ([4], {}, r"of the columns \['ciou'\], got \[\]"),
        ([4], {"ciou": [0], "auc": [0]}, r"of the columns \['ciou'\], got \['auc', 'ciou'\]"),
        ([4], {"ciou": [0, 0]}, r"ciou must be \[1\] as its indices are, got \[2\]"),
        ([4], {"ciou": [[0]]}, r"ciou must be \[1\] as its indices are, got \[1, 1\]"),
        ([[4]], {"ciou": [[0]]}, r"indices must be \[B\] integers, got \[1, 1\] of torch.int64"),
        ([4.0], {"ciou": [0]}, r"indices must be \[B\] integers, got \[1\] of torch.float32"),
        ([True], {"ciou": [0]}, r"indices must be \[B\] integers, got \[1\] of torch.bool"),
    ],
)
def test_a_refused_batch_leaves_everything_as_it_was(indices, columns, reason):
    values = filled([0, 1], ciou=[0.5, 0.25])
    with pytest.raises(ValueError, match=reason):
        values.update(torch.tensor(indices), **{name: torch.tensor(given) for name, given in columns.items()})
    assert len(values) == 2
    assert values.complete(2)["ciou"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize(("columns", "got"), [([], r"\[\]"), (["a", "b", "a"], "'b', 'a'")])
def test_columns_are_named_once_each(columns, got):
    with pytest.raises(ValueError, match=f"one column or more, each named once, got .*{got}"):
        Accumulator(columns)


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (4, r"all of 4 samples must have values, got 1 \(3\) missing and 0 beyond them"),
        (9, r"all of 9 samples must have values, got 6 \(3, 4, 5, \.\.\.\) missing"),
        (2, r"all of 2 samples must have values, got 0 missing and 1 \(2\) beyond them"),
    ],
)
def test_missing_samples_and_samples_too_many_are_refused(count, reason):
    with pytest.raises(ValueError, match=reason):
        filled([2, 0, 1], ciou=[0, 0, 0]).complete(count)


def test_what_does_not_merge_is_refused():
    values = filled([0, 1], ciou=[0.5, 0.25])
    with pytest.raises(ValueError, match=r"each sample must be given once, got 2 \(0, 1\) again"):
        values.merge(values)
    with pytest.raises(ValueError, match=r"of the columns \['ciou'\], got \['auc'\]"):
        values.merge(filled([2], auc=[0.1]))
    state = values.state()
    state["indices"][1] = 0
    with pytest.raises(ValueError, match=r"got 1 \(0\) again"):
        Accumulator.from_state(state)


def samples(count: int, seed: int) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    ciou = torch.rand(count, generator=made).double()
    ciou[::7] = math.nan
    return {"ciou": ciou, "confidence": torch.rand(count, generator=made).double()}


def aggregates(columns: dict[str, torch.Tensor]) -> list[float]:
    """Sums in float64 whose last bits would tell another order."""
    ciou = columns["ciou"].nan_to_num()
    sounding = torch.arange(len(ciou)) % 2 == 0
    return [
        mean_ciou(ciou).item(),
        area_under_success(ciou).item(),
        *detection_summary(**columns, sounding=sounding).values(),
    ]


@given(data=st.data(), count=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_any_split_over_batches_and_processes_gives_the_same_bits(data, count, seed):
    whole = samples(count, seed)
    order = data.draw(st.permutations(range(count)))
    cuts = sorted(data.draw(st.sets(st.integers(1, count), max_size=6)) | {0, count})
    processes = [Accumulator(NAMES) for _ in range(data.draw(st.integers(1, 3)))]
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        rows = torch.tensor(order[start:stop])
        processes[number % len(processes)].update(rows, **{name: column[rows] for name, column in whole.items()})
    first, *others = [Accumulator.from_state(pickle.loads(pickle.dumps(p.state()))) for p in processes]  # noqa: S301
    for other in others:
        first.merge(other)
    found = first.complete(count)
    assert all(found[name].view(torch.int64).equal(whole[name].view(torch.int64)) for name in NAMES)
    assert aggregates(found) == aggregates(whole)


WORKER = """
import sys
import torch
import torch.distributed as dist
from avbench.metrics.accumulators import Accumulator

rank, place, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
made = torch.Generator().manual_seed(3)
ciou, confidence = (torch.rand(25, generator=made) for _ in range(2))
values = Accumulator(["ciou", "confidence"])
for rows in torch.arange(rank, 25, 2).flip(0).split(4):
    values.update(rows, ciou=ciou[rows], confidence=confidence[rows])
states = [None, None]
dist.all_gather_object(states, values.state())
first, second = map(Accumulator.from_state, states)
first.merge(second)
torch.save(first.complete(25), f"{out}.{rank}")
dist.destroy_process_group()
"""


def test_two_processes_find_what_one_finds(tmp_path):
    command = [sys.executable, "-c", WORKER]
    running = [subprocess.Popen([*command, str(n), str(tmp_path / "meet"), str(tmp_path / "out")]) for n in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    made = torch.Generator().manual_seed(3)
    ciou, confidence = (torch.rand(25, generator=made) for _ in range(2))
    alone = Accumulator(NAMES)
    alone.update(torch.arange(25), ciou=ciou, confidence=confidence)
    expected = alone.complete(25)
    for rank in range(2):
        found = torch.load(tmp_path / f"out.{rank}", weights_only=True)
        assert all(torch.equal(found[name], expected[name]) for name in NAMES)
        assert aggregates(found) == aggregates(expected)
