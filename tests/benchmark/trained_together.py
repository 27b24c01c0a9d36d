"""Trainings named in a JSON file, one after the other, then a command: run by torchrun as one of several processes.

``torchrun --nproc-per-node 2 trained_together.py FILE.json run --method ...``
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from avbench.cli import main
from avbench.data.splits import load_split
from avbench.recipe import load_recipe
from avbench.registry import find_method
from avbench.training import Judging, Keeping, Training, train


def training_of(told: dict) -> Training:
    """The training that ``method``, ``name``, ``settings``, ``values``, ``split``, ``validation`` and ``out`` tell."""
    values = {**told["values"], "augment": tuple(told["values"]["augment"])}
    recipe = replace(load_recipe("any", "demo"), name=told["name"], method=told["name"], **values)
    validation = load_split(told["validation"]) if told.get("validation") else None
    return Training(
        find_method(told["method"]), recipe, load_split(told["split"]), Path(told["out"]), told["settings"],
        torch.device("cpu"), judging=Judging(validation), keeping=Keeping(every_steps=3),
    )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    for told in json.loads(Path(sys.argv[1]).read_text()):
        train(training_of(told), resume=True)
    sys.exit(main(sys.argv[2:]))
