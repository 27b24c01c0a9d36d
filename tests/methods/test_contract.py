"""What every method keeps to: the checks of ``avbench check``, over everything that is registered."""

import pytest
import torch

from avbench.registry import describe, find_method, load_class, method_names
from avbench.testing import CHECKS, build_full, build_slim, noise_batch, parameters, run_check

OPTIONAL = {"forward", "score range", "embeddings", "similarity", "device"}
"""Checks of what a trainable method may lack; ``device`` is skipped where there is no GPU."""

FULL_SIZE = {
    "attention10k": 23_397_376,
    "ezvsl": 22_872_064,
    "fnac": 22_872_064,
    "slavc": 46_794_752,
    "jsa": 31_818_498,
    "ogl": 11_176_512,
}
"""Parameters with the default settings, as the specifications count them."""


def trained(name):
    info = describe(find_method(name))
    return info.trainable and not info.control


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name.replace(" ", "-"))
@pytest.mark.parametrize("name", method_names())
def test_contract(name, check):
    outcome = run_check(check, load_class(find_method(name)))
    if outcome.verdict == "skipped":
        assert not trained(name) or check.name in OPTIONAL
        pytest.skip(outcome.told)
    assert outcome.verdict == "passed", outcome.told


def test_there_are_trainable_methods():
    assert {"attention10k", "ezvsl", "jsa", "slavc", "fnac", "lvs", "alignment"} <= {
        name for name in method_names() if trained(name)
    }


@pytest.mark.parametrize("name", sorted(FULL_SIZE))
def test_parameters_at_full_size(name):
    assert parameters(build_full(load_class(find_method(name)))) == FULL_SIZE[name]


@pytest.mark.parametrize("name", [name for name in method_names() if trained(name)])
def test_another_seed_gives_another_map(name):
    maps = []
    for seed in (0, 1):
        method = build_slim(load_class(find_method(name)), seed).eval()
        with torch.inference_mode():
            maps.append(method.localize(noise_batch(method)).map)
    assert not torch.equal(*maps)
