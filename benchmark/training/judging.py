"""Evaluations while a method trains: curves, and the checkpoints that are best by them."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from avbench.completing import complete
from avbench.data.coverage import coverage, covered
from avbench.data.places import Packed
from avbench.data.sharding import Shard
from avbench.data.splits import Split
from avbench.errors import AvbenchError, UsageError
from avbench.metrics.retrieval import recalls, retrieval_ranks
from avbench.opening import Progress, silent
from avbench.parts import read_parts
from avbench.predicting import predict
from avbench.records import read_record
from avbench.registry import describe, load_class
from avbench.request import Job, MethodRequest, Settings, truth_kinds
from avbench.training.chances import apart
from avbench.training.devices import share_buffers
from avbench.training.plan import Rule, Training

BEST = "best-"
"""What the folder of a rule's best checkpoint begins with."""

METRICS = ("locacc", "auc", "mean_ciou", "ap", "max_f1")
"""Those of a record that a row of evaluations.jsonl repeats; ``locacc`` tells which epoch is best."""

RECALL = "recall"
"""What tells where a list has no truth: the mean of both directions' recall at 1."""

PROTOCOL = "common"


@dataclass(frozen=True)
class Judge:
    """Evaluates a method on the lists of a training.

    Attributes:
        training: what is trained.
        method: the network, as it is at each call.
        shard: which of the processes this is; each predicts its parts, the first scores them.
        progress: shows how far an evaluation is.
    """

    training: Training
    method: Any
    shard: Shard
    progress: Progress = silent

    def is_due(self, epoch: int) -> bool:
        """Whether there is an evaluation after ``epoch`` epochs."""
        judging = self.training.judging
        last = epoch == self.training.recipe.epochs
        return bool(judging.lists) and (last or epoch % judging.every == 0)

    def rows(self, epoch: int) -> list[dict[str, Any]]:
        """A row of evaluations.jsonl per list; empty in all processes but the first.

        What is drawn meanwhile leaves the training's chances as they were.
        """
        share_buffers(self.method)
        with apart(self.training.device):
            self.method.eval()
            found = [self._row(epoch, rule, split) for rule, split in self.training.judging.lists]
        return found if self.shard.rank == 0 else []

    def _row(self, epoch: int, rule: Rule, split: Split) -> dict[str, Any]:
        job = self._job(epoch, split)
        if self.shard.rank == 0:  # what a killed process left is of other weights
            shutil.rmtree(job.settings.runs, ignore_errors=True)
        self._meet()
        with self.progress(f"evaluating on {split.name}", len(split.samples)) as advance:
            predict([job], [self.method], advance, shard=self.shard)
        self._meet()
        figures: dict[str, float] = {}
        if self.shard.rank == 0:
            figures = self._scored(job) if truth_kinds(split.samples) else {RECALL: self._recall(job)}
            shutil.rmtree(job.settings.runs)
        return {"epoch": epoch, "split": split.name, "purpose": rule, "n": len(split.samples), **figures}

    def _job(self, epoch: int, split: Split) -> Job:
        info = describe(self.training.ref)
        settings = Settings(
            protocols=(PROTOCOL,),
            retrieval=not truth_kinds(split.samples),
            device=str(self.training.device),
            workers=self.training.workers,
            runs=self.training.out / ".judging",
        )
        request = MethodRequest(self.training.ref, info, None, {"epoch": epoch})
        return Job(request, split, coverage(split, info.needs), settings)

    def _meet(self) -> None:
        if self.shard.world > 1:
            dist.barrier()

    def _scored(self, job: Job) -> dict[str, float]:
        complete([job], [job], {job.key: self.method}, silent)
        found = read_record(job.record_path("av", PROTOCOL)).metrics
        return {name: found[name] for name in METRICS if not math.isnan(found.get(name, math.nan))}

    def _recall(self, job: Job) -> float:
        parts = list(read_parts(job.folder, len(job.split.samples), ("embedding.image", "embedding.audio")))
        images, audios = (torch.cat([p.tensors[f"embedding.{side}"] for p in parts]) for side in ("image", "audio"))
        with torch.inference_mode():
            ranks = retrieval_ranks(images, audios, similarity=getattr(self.method, "similarity", None))
        firsts = [recalls(values, (1,))[1] for values in ranks.values()]
        return sum(firsts) / len(firsts)


def telling(row: dict[str, Any]) -> tuple[str, float]:
    """Which figure of an evaluation tells how good an epoch is, and its value.

    Raises:
        AvbenchError: where there is neither.
    """
    for metric in ("locacc", RECALL):
        if metric in row:
            return metric, row[metric]
    raise AvbenchError(f"the evaluation on {row['split']} gave no locacc: name a list with sounding objects")


def check_lists(training: Training) -> None:
    """Refuse lists that could not be evaluated, before anything is trained.

    Raises:
        UsageError: for two lists of one name, or a pack that was made for training.
        AvbenchError: for missing media, or a list without truth for a method without embeddings.
    """
    named = [split.name for _, split in training.judging.lists]
    if twice := {name for name in named if named.count(name) > 1}:
        raise UsageError(f"two of the lists to judge by are called {min(twice)!r}: give them names of their own")
    for _, split in training.judging.lists:
        covered(split, describe(training.ref).needs)
        if any(isinstance(sample.image, Packed) and sample.image.form != "pixels" for sample in split.samples):
            raise UsageError(
                f"{split.name} lies in a pack made for training, which cannot be evaluated: name plain folders, or a "
                "pack made with --for evaluation, with --judge-data"
            )
        if not truth_kinds(split.samples) and not hasattr(load_class(training.ref), "embed"):
            raise AvbenchError(
                f"{split.name} has no boxes, and {training.ref.name} no embeddings by which it could be judged "
                "without: name a list with boxes, or add embed to the method"
            )


def best_folder(out: Path, rule: str) -> Path:
    """Where the checkpoint that is best under a rule stands."""
    return out / f"{BEST}{rule}"
