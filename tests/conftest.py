"""Fixtures that several test files share."""

import json
import os
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line sets it, before torch is imported
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before that too: processes beside each other share the cores
    cores = len(os.sched_getaffinity(0)) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores)))

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of official annotation files, goldens and real media; skips where it is not at hand."""
    place = os.environ.get("AVBENCH_SHARED")
    if not place:
        pytest.skip("AVBENCH_SHARED does not name the folder of official files and goldens")
    return Path(place)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """An empty store of its own for one test."""
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_set(folder: Path, samples: int, seed: int = 0, kind: str = "clip") -> Path:
    """A set of noise in the official layout, one box each, two labels; returns the YAML file that describes it.

    Samples are called ``<kind>_000`` and so on: those of one name are of one video.
    """
    rng = np.random.default_rng(seed)
    entries = []
    for name in ("frames", "audio"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(samples):
        key = f"{kind}_{number:03d}"
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / "frames" / f"{key}.png")
        soundfile.write(folder / "audio" / f"{key}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
        left = float(rng.integers(0, 50)) / 100
        entries.append({"file": key, "class": f"kind {number % 2}", "bbox": [[left, 0.1, left + 0.5, 0.9]]})
    (folder / "annotations.json").write_text(json.dumps(entries))
    place = folder / "tiny.yaml"
    place.write_text("name: tiny\nformat: vggss\nannotations: annotations.json\nframes: frames\naudio: audio\n")
    return place


@pytest.fixture(scope="session")
def noise_set():
    """:func:`make_set`."""
    return make_set


@pytest.fixture
def tiny_set(tmp_path) -> Path:
    """The YAML file of a set of five samples."""
    return make_set(tmp_path / "tiny", 5)


@pytest.fixture
def larger_set(tmp_path) -> Path:
    """The YAML file of a set that fills two part files and begins a third."""
    return make_set(tmp_path / "larger", 520)


PLUGIN = '''
"""A method in a single file."""

import os
import signal
from dataclasses import dataclass

import torch
from torch import nn

from avbench.frontends import ScipySpectrogram
from avbench.registry import register_method
from avbench.types import Batch, Embeddings, Prediction


@dataclass(frozen=True)
class TinyConfig:
    gain: float = 1.0


@register_method("tiny-plugin", config=TinyConfig, trainable=False)
class Tiny(nn.Module):
    """A tiny method: loudness times brightness."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.frontend = ScipySpectrogram()
        self.weight = nn.Parameter(torch.ones(()))

    def loss(self, batch):
        total = (self.localize(batch).map * self.weight - 1).square().mean()
        return {"total": total}

    def localize(self, batch):
        if os.environ.get("TINY_DIES_AT") in batch.ids:
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("TINY_IS_INTERRUPTED_AT") in batch.ids:
            raise KeyboardInterrupt
        loudness = batch.audio.mean(dim=(1, 2, 3))
        cells = nn.functional.adaptive_avg_pool2d(batch.image.mean(dim=1, keepdim=True), 7)[:, 0]
        return Prediction(self.weight * self.config.gain * cells * loudness[:, None, None])

    def embed(self, batch):
        return Embeddings(batch.image.mean(dim=(2, 3)), batch.audio.mean(dim=(2, 3)).expand(-1, 3))
'''


@pytest.fixture
def plugin_file(tmp_path) -> Path:
    """A file with the method ``Tiny``, which has weights and needs no training."""
    place = tmp_path / "tiny_plugin.py"
    place.write_text(PLUGIN)
    return place


def write_learner(folder: Path) -> Path:
    """The same method, to be trained, as a file in ``folder``."""
    place = folder / "trainable_plugin.py"
    place.write_text(PLUGIN.replace("trainable=False", "trainable=True").replace("tiny-plugin", "learner"))
    return place


@pytest.fixture
def trainable_plugin(tmp_path) -> Path:
    """The file of :func:`write_learner`."""
    return write_learner(tmp_path)


@pytest.fixture(scope="session")
def learner_in():
    """:func:`write_learner`."""
    return write_learner
