"""Fixtures about bundles: a demo world of a few samples, results on it, and their bundles."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import pytest
import torch

from avbench.checkpoints import save_checkpoint
from avbench.cli import main
from avbench.data import demo, splits
from avbench.data.demo_world import DemoSplit, read_split
from avbench.errors import AvbenchError
from avbench.methods.ezvsl import EZVSL, EZVSLConfig

SMALL, SAMPLES = "small", 6


@dataclass(frozen=True)
class Small:
    """A split of the demo world that has a few samples, the store that it is drawn into, and results on it."""

    split: DemoSplit
    home: Path
    training: Path
    runs: Path

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Make the split one of avbench's."""
        names, read = splits._definitions(), splits._definition
        known = {**read("demo"), "name": SMALL, "n": SAMPLES, "sha256": self.split.sha256}
        patch.setenv("AVBENCH_HOME", str(self.home))
        patch.setattr(splits, "_definitions", lambda: {**names, SMALL: names["demo"]})
        patch.setattr(splits, "_definition", lambda name: known if name == SMALL else read(name))
        patch.setattr(demo, "read_split", lambda name: self.split)


@pytest.fixture(scope="session")
def small_results(tmp_path_factory) -> Small:
    """Of disc, random and a narrow EZ-VSL with every kind of audio that says whether it listens."""
    place = tmp_path_factory.mktemp("small")
    split = replace(read_split("demo"), name=SMALL, n=SAMPLES, sha256="?")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(place / "home"))
        with pytest.raises(AvbenchError, match="this machine drew"):
            demo.ensure_split(split, workers=1)
        split = replace(split, sha256=demo.content_sha256(demo.demo_root() / f".{SMALL}-?.part"))
        found = Small(split, place / "home", place / "trained", place / "runs")
        found.enter(patch)
        torch.manual_seed(0)
        network = EZVSL(EZVSLConfig(out_dim=8, width=1 / 16))
        save_checkpoint(found.training, network, name="ezvsl", meta={"selection": "last epoch", "epoch": 1})
        row = {"epoch": 1, "split": "demo-val", "purpose": "validation", "n": 200, "locacc": 0.25}
        (found.training / "evaluations.jsonl").write_text(f"{json.dumps(row)}\n")
        how = ["--split", SMALL, "--runs", str(found.runs), "--pictures", "false", "--controls", "false"]
        weights = ["--checkpoint", f"ezvsl={found.training}", "--audio", "true,silent,noise,offscreen"]
        assert main(["run", "--method", "ezvsl", "--retrieval", *weights, *how]) == 0
        assert main(["run", "--method", "disc,random", "--protocol", "common,jsa", *how]) == 0
        assert main(["listen", str(found.runs), "--method", "ezvsl", "--resamples", "50"]) == 0
    return found


@pytest.fixture
def small(small_results, monkeypatch, tmp_path) -> Small:
    """The same, the split being one of avbench's, with a runs folder that may be changed."""
    small_results.enter(monkeypatch)
    runs = shutil.copytree(small_results.runs, tmp_path / "runs")
    return replace(small_results, runs=runs)


@pytest.fixture
def no_remains(monkeypatch, tmp_path):
    """Makes sure that nothing stays in the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="session")
def bundle_of_disc(small_results, tmp_path_factory) -> Path:
    """The bundle of disc's results."""
    out = tmp_path_factory.mktemp("bundles") / "disc.zip"
    with pytest.MonkeyPatch.context() as patch:
        small_results.enter(patch)
        assert main(["submit", str(small_results.runs), "--method", "disc", "--by", "A. Author", "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def bundle_of_all(small_results, tmp_path_factory) -> Path:
    """The bundle of all results, with the training."""
    out = tmp_path_factory.mktemp("bundles") / "all.zip"
    training = ["--training", f"ezvsl={small_results.training}"]
    with pytest.MonkeyPatch.context() as patch:
        small_results.enter(patch)
        assert main(["submit", str(small_results.runs), *training, "-o", str(out)]) == 0
    return out


def members_of(bundle: Path) -> dict[str, bytes]:
    with ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(bundle: Path, out: Path, change: Callable[[dict[str, bytes]], None], *, honest: bool = True) -> Path:
    """Write the bundle anew with its members changed; the manifest of an ``honest`` one lists them as they are then."""
    members = members_of(bundle)
    change(members)
    manifest = json.loads(members.pop("manifest.json"))
    if honest:
        listed = {name: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in members.items()}
        manifest["files"] = listed
    with ZipFile(out, "w", ZIP_STORED) as archive:
        for name, content in {"manifest.json": json.dumps(manifest), **members}.items():
            archive.writestr(name, content)
    return out


@pytest.fixture(scope="session")
def rewritten():
    """:func:`rewrite`."""
    return rewrite


@pytest.fixture(scope="session")
def members():
    """:func:`members_of`."""
    return members_of
