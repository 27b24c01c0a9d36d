"""Two real processes that share a batch, against one process and against numbers by hand."""

import importlib.util
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from avbench.errors import AvbenchError
from avbench.nets.batch_norm import synchronise_batch_norms
from avbench.nets.company import (
    Company,
    Dropout,
    drawn,
    gathered,
    in_company,
    present_company,
    weight_of_rows,
)

SCRIPT = Path(__file__).with_name("sharing.py")
spec = importlib.util.spec_from_file_location("sharing", SCRIPT)
sharing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sharing)

WHOLE = slice(0, sharing.TOTAL)
DEALT = {**sharing.DEALT, "none": (sharing.TOTAL, 0)}


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("meeting")
    with ExitStack() as stack:
        running = []
        for rank in range(2):
            running.append(subprocess.Popen([sys.executable, str(SCRIPT), str(rank), str(folder)]))
            stack.callback(running[-1].kill)
        assert [process.wait(timeout=600) for process in running] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def agree(found, wanted, limit=1e-9):
    """All tensors within ``limit`` of the wanted ones, relative to their largest magnitude and to 1."""
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        scale = max(1.0, float(value.abs().max()))
        assert float((found[key].double() - value.double()).abs().max()) <= limit * scale, key


@pytest.fixture(scope="module")
def alone():
    """Terms, gradients and buffers of one process with some rows; each is computed once."""
    kept = {}

    def find(name, rows=WHOLE, **settings):
        key = (name, rows.start, rows.stop, *settings)
        if key not in kept:
            kept[key] = sharing.learnt(sharing.built(name, **settings), sharing.batch(name, rows))
        return kept[key]

    return find


@pytest.mark.parametrize(("how", "negatives", "name"), [run for run in sharing.runs() if run[1] == "gathered"])
def test_a_shared_batch_is_learnt_from_as_by_one_process(processes, alone, how, negatives, name):
    wanted = alone(name)
    assert any(float(value.abs().max()) > 0 for key, value in wanted.items() if key.startswith("gradient"))
    for found in processes:
        agree(found[f"{how} {negatives} {name}"], wanted)


@pytest.mark.parametrize(("how", "negatives", "name"), [run for run in sharing.runs() if run[1] == "per-device"])
def test_negatives_per_device_give_the_mean_of_separate_losses(processes, alone, how, negatives, name):
    shares = [Company(rank, sharing.DEALT[how]).rows for rank in range(2)]
    each = [alone(name, rows, alone=True) for rows in shares]
    wanted = {key: (each[0][key] + each[1][key]) / 2 for key in each[0] if not key.startswith("buffer")}
    for rank, found in enumerate(processes):
        buffers = {key: value for key, value in each[rank].items() if key.startswith("buffer")}
        agree(found[f"{how} {negatives} {name}"], wanted | buffers)
    assert abs(float(wanted["term total"] - alone(name, alone=True)["term total"])) > 1e-3


@pytest.mark.parametrize("how", DEALT)
def test_rows_are_gathered_in_the_order_of_ranks_with_the_gradients_of_all(processes, how):
    rows = torch.arange(12).view(6, 2)
    for rank, found in enumerate(processes):
        exchanged = found[how]["exchanged"]
        own = Company(rank, DEALT[how]).rows
        for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool):
            assert torch.equal(exchanged[str(kind)], rows.to(kind))
            if kind.is_floating_point:  # process 0 weighs row i with i + 1, process 1 with 10 (i + 1)
                wanted = torch.tensor([[11.0], [22], [33], [44], [55], [66]]).expand(6, 2)[own].to(kind)
                assert torch.equal(exchanged[f"gradient {kind}"], wanted)
        assert exchanged["scalars"].tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("how", DEALT)
@pytest.mark.parametrize("name", sharing.NORMS)
def test_batch_norms_are_those_of_the_whole_batch(processes, how, name):
    norm, shape = sharing.NORMS[name]
    wanted = sharing.normalised(norm(), shape, WHOLE)
    found = [process[how][f"norm {name}"] for process in processes]
    for key in ("first", "second", "given"):
        agree({key: torch.cat([own.pop(key) for own in found])}, {key: wanted.pop(key)})
    summed = {key: found[0].pop(key) + found[1].pop(key) for key in [*wanted] if key.startswith("gradient")}
    agree(summed, {key: wanted.pop(key) for key in summed})
    for own in found:
        agree(own, wanted)


@pytest.mark.parametrize("how", sharing.DEALT)
def test_augmentation_does_not_depend_on_how_rows_are_dealt(processes, how):
    wanted = sharing.chances(WHOLE)
    found = [process[how]["chances"] for process in processes]
    for key in ("flips", "masked"):
        assert torch.equal(torch.cat([own[key] for own in found]), wanted[key])
    for key in ("changed", "view"):
        agree({key: torch.cat([own[key] for own in found])}, {key: wanted[key]}, 1e-6)
    assert all(torch.equal(own["next"], wanted["next"]) for own in found)


@pytest.mark.parametrize("how", DEALT)
@pytest.mark.parametrize(
    ("name", "layout"),
    [("dropped", torch.contiguous_format), ("dropped, channels last", torch.channels_last)],
)
def test_dropout_does_not_depend_on_how_rows_are_dealt(processes, how, name, layout):
    wanted = sharing.dropped(WHOLE, layout)
    found = [process[how][name] for process in processes]
    for key in ("came", "gradient"):
        assert torch.equal(torch.cat([own[key] for own in found]), wanted[key])
    assert all(torch.equal(own["next"], wanted["next"]) for own in found)
    assert 0 < int((wanted["came"] == 0).sum()) < wanted["came"].numel()


@pytest.mark.parametrize("company", [None, Company(0, (6,))])
def test_a_process_on_its_own_hands_on_what_it_is_given(company):
    rows = torch.rand(6, 3, requires_grad=True)
    with ExitStack() as stack:
        if company is not None:
            stack.enter_context(in_company(company))
        assert present_company() is None
        assert gathered(rows) is rows
        assert weight_of_rows(6) == 1.0
        assert drawn(6, torch.zeros).shape == (6,)
        torch.manual_seed(0)
        dropped = Dropout(0.5)(rows)
    torch.manual_seed(0)
    assert torch.equal(dropped, nn.Dropout(0.5)(rows))


def test_a_company_deals_rows_by_rank_and_weighs_them():
    found = []
    for rank in range(3):
        company = Company(rank, (4, 1, 3))
        assert (company.world, company.total) == (3, 8)
        with in_company(company):
            assert present_company() == company
            share = weight_of_rows((4, 1, 3)[rank])
            found.append((company.rows, share, drawn((4, 1, 3)[rank], lambda n: torch.arange(n) * 10).tolist()))
        with in_company(replace(company, negatives="per-device")):
            assert weight_of_rows((4, 1, 3)[rank]) == 1.0
    assert found == [
        (slice(0, 4), 1.5, [0, 10, 20, 30]),
        (slice(4, 5), 0.375, [40]),
        (slice(5, 8), 1.125, [50, 60, 70]),
    ]
    assert present_company() is None


def test_rows_that_are_not_the_process_s_own_are_refused():
    sentence = "process 1 holds 2 rows of the batch, but was given 3 to share: share one row per sample"
    for use in (
        lambda: gathered(torch.zeros(3, 2)),
        lambda: weight_of_rows(3),
        lambda: drawn(3, torch.zeros),
    ):
        with in_company(Company(1, (4, 2))), pytest.raises(AvbenchError, match=sentence):
            use()


def net():
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), inner)


@pytest.mark.parametrize("mode", [True, False])
def test_alone_and_in_evaluation_a_synchronised_batch_norm_is_the_plain_one(mode):
    plain, other = net().train(mode), net().train(mode)
    optimised = list(other.parameters())
    synchronised = synchronise_batch_norms(other)
    assert synchronised is other
    assert all(old is new for old, new in zip(optimised, synchronised.parameters(), strict=True))
    assert [type(part).__name__ for part in synchronised.modules() if "Norm" in type(part).__name__] == [
        "SynchronisedBatchNorm2d",
        "SynchronisedBatchNorm1d",
    ]
    x = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(plain(x), synchronised(x))
    if not mode:
        with in_company(Company(0, (5, 5))):  # evaluation meets nobody: there is no process group to ask
            assert torch.equal(plain(x), synchronised(x))
    state = synchronised.state_dict()
    assert list(state) == list(plain.state_dict())
    assert all(torch.equal(state[key], value) for key, value in plain.state_dict().items())


def test_a_batch_norm_by_itself_is_replaced():
    norm = nn.BatchNorm1d(3, momentum=0.3).eval()
    found = synchronise_batch_norms(norm)
    assert found is not norm
    assert found.weight is norm.weight
    assert (found.momentum, found.training, found.num_features) == (0.3, False, 3)
