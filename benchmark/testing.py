"""The contract of a method as a list of checks: what ``avbench check`` and the tests run.

In a test of your own:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    def test_contract(check):
        outcome = run_check(check, Cosine)
        assert outcome.verdict != "failed", outcome.told
"""

from __future__ import annotations

import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from avbench.contract import building, learning, looking, moving
from avbench.contract.noise import build_full, build_slim, noise_batch, training_batch
from avbench.errors import AvbenchError

__all__ = [
    "CHECKS",
    "Check",
    "Outcome",
    "build_full",
    "build_slim",
    "noise_batch",
    "parameters",
    "run_check",
    "run_checks",
    "sentence",
    "training_batch",
]

Verdict = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One demand on every method."""

    name: str
    demands: str
    function: Callable[[Any], str | None]
    """Takes the class; returns why the check does not apply to it, None where it was made."""
    after: tuple[str, ...] = ()
    """Names of the checks whose failure this one would only repeat."""


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    check: Check
    verdict: Verdict
    told: str = ""
    """The sentence of a failure, the reason of a skip."""
    seconds: float = 0.0


CHECKS = (
    Check("registered", "a registered torch.nn.Module with localize", building.registered),
    Check("config", "a frozen dataclass, complete, the same after JSON", building.config, ("registered",)),
    Check("full size", "builds with its defaults", building.full_size, ("config",)),
    Check("small", "builds small and keeps its config", building.small, ("config",)),
    Check("same weights", "one seed, one set of weights", building.same_weights, ("small",)),
    Check("front-end", "spectrograms that methods can share", building.front_end, ("small",)),
    Check("loss", "finite scalar terms and their total", learning.loss, ("front-end",)),
    Check("gradients", "finite, for every trainable parameter", learning.gradients, ("loss",)),
    Check("same loss", "one seed, one loss", learning.same_loss, ("loss", "same weights")),
    Check("forward", "forward(batch) is the loss", learning.forward, ("same loss",)),
    Check("step", "an optimiser's step changes the loss", learning.step, ("gradients", "same loss")),
    Check("maps", "raw, [B, h, w], finite", looking.maps, ("front-end",)),
    Check("score range", "maps inside the stated range", looking.score_range, ("maps",)),
    Check("embeddings", "finite, one of each kind per sample", looking.embeddings, ("front-end",)),
    Check("similarity", "[N, M], each pair for itself", looking.similarity, ("embeddings",)),
    Check("silence", "finite answers to silence and grey", looking.silence, ("maps", "embeddings")),
    Check("looking", "changes no state, same answer twice", looking.looking, ("maps", "embeddings")),
    Check("batch size", "a sample's answer does not depend on it", looking.batch_size, ("looking",)),
    Check("order", "a sample's answer does not depend on it", looking.order, ("batch size",)),
    Check("untouched", "the batch is left as it was", looking.untouched, ("maps", "embeddings", "loss")),
    Check("state", "the state dict is the whole method", moving.state, ("looking", "same loss")),
    Check("float64", "the same in float64", moving.float64, ("looking", "same loss")),
    Check("device", "CPU = GPU", moving.device, ("looking", "same loss")),
)
"""All demands, in the order in which they are checked."""


def run_check(check: Check, cls: Any) -> Outcome:
    """Run one check over a class; whatever the method raises is a failure in one sentence.

    It computes on one thread, where networks this small are quickest; the generators of torch are left as they were.
    """
    started, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            told = check.function(cls)
    except Exception as problem:  # whatever other people's code raises
        return Outcome(check, "failed", sentence(problem, cls), time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return Outcome(check, "passed" if told is None else "skipped", told or "", time.perf_counter() - started)


def run_checks(cls: Any) -> Iterator[Outcome]:
    """Run all checks in order; one that could only repeat an earlier failure is skipped and says so."""
    blocked: set[str] = set()
    for check in CHECKS:
        before = [name for name in check.after if name in blocked]
        outcome = Outcome(check, "skipped", f"tried once {before[0]!r} passes") if before else run_check(check, cls)
        if before or outcome.verdict == "failed":
            blocked.add(check.name)
        yield outcome


def parameters(method: Any) -> int:
    """How many numbers the method's parameters hold, frozen ones included."""
    return sum(p.numel() for p in method.parameters())


def sentence(problem: Exception, cls: Any) -> str:
    """What other people's code raised, in one sentence that names the line of the file of ``cls`` that led there."""
    message = " ".join(str(problem).split())
    if isinstance(problem, AvbenchError):
        return message
    frames = traceback.extract_tb(problem.__traceback__)
    own = getattr(sys.modules.get(cls.__module__), "__file__", None)
    place = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    short = textwrap.shorten(message, 300, placeholder=" ...")
    return (
        f"expected an answer, but {type(problem).__name__} was raised ({short}): see {Path(place.filename).name}, line "
        f"{place.lineno}"
    )
