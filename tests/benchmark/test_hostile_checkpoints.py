"""Checkpoint files made to do harm: nothing of them runs, and each is answered in one sentence."""

import builtins
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch

from avbench.checkpoints import load_weights
from avbench.cli import main
from avbench.errors import AvbenchError


class Reduced:
    """An object that unpickling makes by calling ``function(*given)``."""

    def __init__(self, function, *given):
        self.call = function, given

    def __reduce__(self):
        return self.call


BOMBS = {
    "system": lambda marker: Reduced(os.system, f"touch {marker}"),
    "open": lambda marker: Reduced(builtins.open, str(marker), "w"),
    "eval": lambda marker: Reduced(eval, f"open({str(marker)!r}, 'w').close()"),  # noqa: S307
    "popen": lambda marker: Reduced(subprocess.call, [sys.executable, "-c", f"open({str(marker)!r}, 'w')"]),
    "nested pickle": lambda marker: Reduced(pickle.loads, pickle.dumps(BOMBS["system"](marker))),  # noqa: S301
}
PLACES = {
    "beside": lambda bomb: {"model": {"w": torch.zeros(1)}, "optimizer": {"state": [{"step": bomb}]}},
    "inside": lambda bomb: {"model": {"w": bomb}},
    "whole": lambda bomb: bomb,
}


def write(folder, content, legacy):
    torch.save(content, folder / "best.pth", _use_new_zipfile_serialization=not legacy)
    return folder / "best.pth"


def refused(capsys, file, out):
    """Exit code 1, one sentence on stderr, nothing on stdout, nothing written; returns the sentence."""
    assert main(["convert", "ezvsl", str(file), "-o", str(out)]) == 1
    told, sentence = capsys.readouterr()
    assert told == ""
    assert sentence.startswith("avbench: ")
    assert sentence.count("\n") == 1
    assert file.name in sentence
    assert not out.exists()
    return sentence


@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_the_bombs_would_go_off(tmp_path, bomb):
    file = write(tmp_path, BOMBS[bomb](tmp_path / "marker"), legacy=False)
    torch.load(file, weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_nothing_of_a_malicious_file_runs(tmp_path, capsys, monkeypatch, bomb, place, legacy):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    file = write(tmp_path, PLACES[place](BOMBS[bomb](tmp_path / "marker")), legacy)
    sentence = refused(capsys, file, tmp_path / "out")
    assert "was refused, since it needs" in sentence
    assert "which is no weights and could run code" in sentence
    with pytest.raises(AvbenchError, match="was refused, since it needs"):
        load_weights(file)
    assert not (tmp_path / "marker").exists()


def test_what_a_file_asked_for_is_named(tmp_path, capsys):
    from argparse import Namespace

    import numpy as np

    for extra, name in (
        (Namespace(lr=1), "argparse.Namespace"),
        (np.zeros(3), "numpy._core.multiarray._reconstruct"),
        (np.float32(0.5), "numpy.dtypes.Float32DType"),
        (Reduced(os.system, "true"), f"{os.system.__module__}.system"),
    ):
        file = write(tmp_path, {"model": {"w": torch.zeros(1)}, "args": extra}, legacy=False)
        assert name in refused(capsys, file, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_instead_of_weights_is_refused(tmp_path, capsys):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), tmp_path / "best.pth")
    assert "needs TorchScript" in refused(capsys, tmp_path / "best.pth", tmp_path / "out")


def tensor(size, stride, offset=0):
    """A tensor over four stored numbers that says it is something else."""
    stored = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32, _internal=True
    )
    rebuild = torch._utils._rebuild_tensor_v2
    return Reduced(rebuild, stored, offset, size, stride, False, OrderedDict())


ABSURD = {
    "large": lambda: tensor((10**15,), (1,)),
    "repeated": lambda: tensor((10**12, 10**6), (0, 0)),
    "overflowing": lambda: tensor((2**62, 2**62), (0, 0)),
    "beyond 64 bits": lambda: tensor((2**70,), (0,)),
    "negative": lambda: tensor((-5,), (1,)),
    "out of bounds": lambda: tensor((1,), (1,), 10**9),
    "before the start": lambda: tensor((1,), (1,), -5),
    "without content": lambda: Reduced(
        torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (10**12,), (1,), False
    ),
    "sparse": lambda: torch.zeros(4).to_sparse(),
    "no tensor": lambda: Reduced(bytearray, 10**15),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", sorted(ABSURD))
def test_tensors_that_are_not_what_they_say_are_refused(tmp_path, capsys, kind, legacy):
    file = write(tmp_path, {"model": {"w": ABSURD[kind]()}}, legacy)
    refused(capsys, file, tmp_path / "out")


def test_an_archive_that_unpacks_to_more_than_it_is_gets_refused(tmp_path, capsys):
    plain = write(tmp_path, {"model": {"w": torch.zeros(5_000_000)}}, legacy=False)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    assert (tmp_path / "bomb.pth").stat().st_size < 100_000
    assert "says that it unpacks to" in refused(capsys, tmp_path / "bomb.pth", tmp_path / "out")


def test_two_names_that_would_become_one_are_refused(tmp_path, capsys):
    file = write(tmp_path, {"model": {"w": torch.zeros(1), "module.w": torch.ones(1)}}, legacy=False)
    assert "differ by module. alone" in refused(capsys, file, tmp_path / "out")


def test_a_state_dict_that_holds_itself_is_refused(tmp_path, capsys):
    content = {}
    content["model"] = content
    assert "expected weights by name" in refused(capsys, write(tmp_path, content, legacy=False), tmp_path / "out")


def test_one_flipped_bit_of_a_tensor_is_damage(tmp_path, capsys):
    file = write(tmp_path, {"model": {"w": torch.full((1000,), 0.1)}}, legacy=False)
    content = bytearray(file.read_bytes())
    content[content.index(torch.full((4,), 0.1).numpy().tobytes())] ^= 1
    file.write_bytes(content)
    assert "is damaged, since its record best/data/0 does not have the checksum" in refused(
        capsys, file, tmp_path / "out"
    )
