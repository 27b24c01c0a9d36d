"""Each method of a run sees its pictures in its own way, made once for all that share it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from avbench.augment import normalise
from avbench.cli import main
from avbench.data.batches import RawBatch
from avbench.data.decoding import decode_pictures
from avbench.errors import UsageError
from avbench.predicting import as_batch, images_of, picture_of

CPU = torch.device("cpu")


def method(**attributes):
    return SimpleNamespace(frontend=None, **attributes)


def test_the_default_is_squashed():
    assert picture_of(method()) == "squash"
    assert picture_of(method(picture="tensor")) == "tensor"


def test_an_unknown_way_is_refused_with_those_that_there_are():
    with pytest.raises(UsageError, match=r"'crop'.*centre-crop"):
        picture_of(method(picture="crop"))


def test_each_method_gets_its_own():
    squashed = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    floats = torch.rand(2, 3, 224, 224) * 1.2 - 0.1
    raw = RawBatch([0, 1], ["a", "b"], squashed, pictures={"tensor": floats})
    images = images_of(raw, CPU)
    assert torch.equal(as_batch(raw, method(), {}, images).image, normalise(squashed))
    assert torch.equal(as_batch(raw, method(picture="tensor"), {}, images).image, normalise(floats))


def test_a_method_that_does_not_look_gets_an_empty_one():
    raw = RawBatch([0], ["a"], None, pictures={"tensor": torch.rand(1, 3, 224, 224)})
    assert as_batch(raw, method(), {}, images_of(raw, CPU)).image.shape == (1, 3, 0, 0)


PLUGIN = '''
"""A method that keeps what it sees."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from avbench.registry import register_method
from avbench.types import Prediction


@dataclass(frozen=True)
class Config:
    picture: str = "squash"


@register_method("keeper", config=Config, needs=("image",), trainable=False)
class Keeper(nn.Module):
    """A keeper of pictures."""

    frontend = None

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.picture = config.picture

    def localize(self, batch):
        torch.save(batch.image, Path(__file__).with_name(f"{self.picture}.pt"))
        return Prediction(batch.image.mean(dim=1))
'''


def keeper_in(folder, kind):
    (folder / "keeper.py").write_text(PLUGIN.replace('"squash"', f'"{kind}"'))
    return f"{folder / 'keeper.py'}:Keeper"


@pytest.mark.parametrize("kind", ["squash", "centre-crop", "tensor"])
def test_a_run_makes_the_picture_that_a_method_asks_for(kind, tiny_set, tmp_path):
    keeper = keeper_in(tmp_path, kind)
    where = ["--split", str(tiny_set), "--runs", str(tmp_path / "runs")]
    assert main(["run", "--method", f"{keeper},disc", *where]) == 0
    seen = torch.load(tmp_path / f"{kind}.pt")
    frame = tmp_path / "tiny" / "frames" / "clip_001.png"
    expected = normalise(torch.from_numpy(decode_pictures(frame, [kind])[kind])[None])[0]
    np.testing.assert_array_equal(seen[1], expected)


def test_localize_refuses_another_way(capsys, tiny_set, tmp_path):
    media = [str(tmp_path / "tiny/frames/clip_000.png"), str(tmp_path / "tiny/audio/clip_000.wav")]
    method = keeper_in(tmp_path, "tensor")
    assert main(["localize", "--method", method, *media, "--out", str(tmp_path / "a.png")]) == 2
    assert "keeper is set to look at them as 'tensor': set its picture to squash" in capsys.readouterr().err
