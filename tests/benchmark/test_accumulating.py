"""A batch in parts: the terms and gradients of the whole, but for batch norms, which see a part at a time."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from avbench.nets.company import Company, begins_batch, gathered, in_company, weight_of_rows
from avbench.training.accumulating import Accumulator
from avbench.training.devices import Loss, open_fabric
from avbench.types import Batch

spec = importlib.util.spec_from_file_location("sharing", Path(__file__).with_name("sharing.py"))
sharing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sharing)
CPU = torch.device("cpu")


def without_statistics(method):
    """The method in training, with batch norms that normalise by fixed numbers."""
    for part in method.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    return method


def accumulated(method, batch, parts):
    fabric = open_fabric(CPU, "fp32")
    module = fabric.setup(Loss(method), move_to_device=False)
    torch.manual_seed(1)
    return Accumulator(fabric, module, method, CPU, parts).backward(batch)


def gradients(method):
    return {name: p.grad for name, p in method.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("name", sorted(sharing.CASES))
def test_terms_and_gradients_are_those_of_the_whole(name, parts):
    whole, cut = (without_statistics(sharing.built(name)) for _ in range(2))
    batch = sharing.batch(name, slice(0, sharing.TOTAL))
    torch.manual_seed(1)
    wanted = whole.loss(batch)
    wanted["total"].backward()
    found = accumulated(cut, batch, parts)
    assert found.keys() == wanted.keys()
    for term, value in found.items():
        assert value.item() == pytest.approx(wanted[term].item(), abs=1e-9)
    expected = gradients(whole)
    for key, gradient in gradients(cut).items():
        scale = max(1.0, float(expected[key].abs().max()))
        assert torch.allclose(gradient, expected[key], rtol=0, atol=1e-9 * scale), key
    assert all(torch.equal(cut.state_dict()[key], value) for key, value in whole.state_dict().items())


def test_plain_parts_would_be_another_loss():
    """What is avoided: the same batch as two small ones."""
    method = without_statistics(sharing.built("ezvsl"))
    whole = method.loss(sharing.batch("ezvsl", slice(0, 6)))["total"]
    halves = [method.loss(sharing.batch("ezvsl", rows))["total"] for rows in (slice(0, 3), slice(3, 6))]
    assert abs((whole - torch.stack(halves).mean()).item()) > 0.1


class Product(nn.Module):
    """A loss whose gradient is known: the sum over all pairs of the products of their rows, and a mean of rows."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.first = 0

    def loss(self, batch):
        self.first += begins_batch()
        rows = batch.image * self.weight
        everyones = gathered(rows)
        pairs = (everyones[:, None] * everyones[None]).sum()
        own = rows.mean() * weight_of_rows(len(rows))
        return {"pairs": pairs, "own": own, "total": pairs + own}


def numbers(*values):
    return Batch([str(v) for v in values], torch.tensor(values, dtype=torch.float64), None)


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_by_hand(parts):
    """Of w (1, 2, 4): pairs 49 w^2, whose slope is 98; mean 7 w / 3."""
    method = Product()
    terms = accumulated(method, numbers(1.0, 2.0, 4.0), parts)
    assert terms["pairs"].item() == pytest.approx(49)
    assert terms["own"].item() == pytest.approx(7 / 3)
    assert method.weight.grad.item() == pytest.approx(98 + 7 / 3)
    assert method.first == 1


def test_statistics_move_once_a_part():
    method = sharing.built("ezvsl")
    accumulated(method, sharing.batch("ezvsl", slice(0, 6)), 3)
    moved = {int(b) for name, b in method.named_buffers() if name.endswith("num_batches_tracked")}
    assert moved == {3}


def test_parts_of_a_device_alone():
    """Of two devices that contrast each its own (1, 2): 9 w^2."""
    method = Product()
    with in_company(Company(1, (2, 2), "per-device")):
        terms = accumulated(method, numbers(1.0, 2.0), 2)
    assert terms["pairs"].item() == pytest.approx(9)
    assert method.weight.grad.item() == pytest.approx(18 + 1.5)
