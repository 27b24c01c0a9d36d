"""How fast a whole evaluation is, beside the official loop over the same samples with the same weights, in one run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from avbench.clock import Clock
from avbench.data.splits import Sample
from avbench.opening import Places, Progress, open_split
from avbench.predicting import resolve_device
from avbench.profiling_ways import Advance, Goal, Timed
from avbench.request import Settings
from avbench.runner import Outcome, request_for, run
from avbench.scoring import per_sample_path
from avbench.stored import OBJECT_PRIOR

Scores = dict[str, dict[str, float]]
"""Of each official map what was measured of a sample."""

GOALS = {"ezvsl": Goal(110 / 70), "slavc": Goal(151 / 70)}
"""70 ms a sample where the official programs took 110 and 151, on two processors."""
OVERRIDES: dict[str, dict[str, Any]] = {"ezvsl": {}, "slavc": {"use_mom_eval": True}}
"""SLAVC's test program was timed with the momentum parts localising."""
ROWS = {"av": (0, "av"), "objects": (1, "av"), "av+objects": (0, "av+ogl")}
"""The official maps' names, and which of our rows they are: of the method, or of the object maps, and the variant."""
LOOP, OURS, AGAIN = "official loop", "ours", "ours, object maps stored before"
TOLERANCE = 1e-3
"""Of mean cIoU: rounding moves a few pixels across a threshold."""


@dataclass(frozen=True)
class Oracle:
    """The modules with the official steps, of loading, scoring and the loop."""

    loading: Any
    scoring: Any
    evaluation: Any


@dataclass(frozen=True)
class EvaluationProfile:
    """What was measured for one method.

    Attributes:
        ways: the official loop, our run, and our run where the object maps were stored by another before.
        differences: of our mean cIoU from the official, by the official map's name; empty without the official loop.
    """

    method: str
    samples: int
    ways: tuple[Timed, ...]
    differences: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether both sides scored alike."""
        return all(abs(difference) <= TOLERANCE for difference in self.differences.values())


@dataclass
class _Turns:
    """A run, and after each of its batches the official loop over the same samples; their times are kept apart.

    Our clock runs from the first bar on: networks are built before, on both sides.
    """

    samples: Sequence[Sample]
    step: Callable[[Sample], Scores] | None
    advance: Advance
    ours: Clock = field(default_factory=Clock)
    official: Clock = field(default_factory=Clock)
    found: list[Scores] = field(default_factory=list)

    def run(self, work: Callable[[Progress], Outcome]) -> Outcome:
        """Do the work, which shows its progress."""
        outcome = work(self._progress)
        self.ours.stop(len(self.samples))
        return outcome

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Advance]:
        predicting = title.startswith("predicting")
        if predicting:
            self.ours.start()
        yield self._turn if predicting else lambda done: None

    def _turn(self, done: int) -> None:
        self.ours.stop()
        if self.step is not None:
            chosen = self.samples[len(self.found) : len(self.found) + done]
            with self.official.on(len(chosen)):
                self.found += [self.step(sample) for sample in chosen]
        self.advance(done)
        self.ours.start()


def profile_evaluation(
    method: str, described: Path, *, oracle: Oracle, settings: Settings, repeats: int, advance: Advance
) -> EvaluationProfile:
    """Time the evaluation of a method with made-up weights and object maps, under its own protocol.

    Args:
        method: One of :data:`GOALS`.
        described: YAML file of a split with plain media.
        oracle: The official steps; they take turns with ours, batch by batch.
        settings: For the run; protocols, refinement and the folder of results are set here, the latter beside the file.
        repeats: How often all is done.
        advance: Called with the number of samples predicted.

    Raises:
        AvbenchError: for a sample that cannot be decoded.
    """
    samples, folder = open_split(str(described), Places()).samples, described.parent / "profiled"
    folder.mkdir(exist_ok=True)
    networks, files = oracle.evaluation.save_made_up(method, folder)
    for network in networks:
        network.to(resolve_device(settings.device))
    requests = [
        request_for(method, files[0], OVERRIDES[method]),
        request_for(OBJECT_PRIOR, None, {"weights": str(files[1])}),
    ]
    official, ours, again = ways = (Timed(LOOP), Timed(OURS, LOOP, GOALS[method]), Timed(AGAIN, LOOP, GOALS[method]))

    def step(sample: Sample) -> Scores:
        loaded = oracle.loading.load_sample(sample.image, sample.audio)
        scores: Scores = oracle.evaluation.evaluate_sample(method, networks, loaded, sample.boxes, oracle.scoring)
        return scores

    for repeat in range(repeats):
        how = replace(settings, protocols=(method,), refine=("ogl",), runs=folder / f"{method}-{repeat}")
        turns = _Turns(samples, step, advance)
        work = partial(run, requests, str(described), Places(), how)
        outcome = turns.run(work)
        differences = _differences(outcome, turns.found)
        _forget(outcome)
        alone = _Turns(samples, None, lambda done: None)
        alone.run(work)
        for way, clock in ((official, turns.official), (ours, turns.ours), (again, alone.ours)):
            way.rounds.append(clock)
        shutil.rmtree(how.runs)
    return EvaluationProfile(method, len(samples), ways, differences)


def _differences(outcome: Outcome, found: Sequence[Scores]) -> dict[str, float]:
    """Of our mean cIoU from the official one."""
    return {
        name: _mean_ciou(outcome, *row) - fmean(scores[name]["ciou"] for scores in found) for name, row in ROWS.items()
    }


def _mean_ciou(outcome: Outcome, job: int, variant: str) -> float:
    method = outcome.jobs[job].method.ref.name
    record = next(r for r in outcome.records if (r.method, r.variant) == (method, variant))
    return float(pd.read_parquet(per_sample_path(record))["ciou"].mean())


def _forget(outcome: Outcome) -> None:
    """Delete what was stored of the method, and leave the object maps."""
    job = outcome.jobs[0]
    shutil.rmtree(job.folder)
    for record in outcome.records:
        if record.method == job.method.ref.name:
            record.path.unlink()
