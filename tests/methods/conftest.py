"""Made-up weights and the golden outputs of official code, shared by the tests of methods."""

import importlib.util
import json
import math
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from avbench.nets.resnet import Trunk
from avbench.types import Batch


@dataclass
class Golden:
    """Stored outputs of one official method, and the inputs that produced them."""

    arrays: np.lib.npyio.NpzFile
    scalars: dict
    digest: str
    inputs: ModuleType
    checkpoints: ModuleType

    def batch(self, kind, size, dtype, device="cpu"):
        """The first ``size`` made-up samples; sample i is the same for every size."""
        image = torch.from_numpy(self.inputs.model_images(size)).to(device, dtype)
        return Batch([str(i) for i in range(size)], image, self.audio(kind, size, dtype).to(device))

    def audio(self, kind, size, dtype):
        return torch.from_numpy(self.inputs.model_spectrograms(kind, size)).to(dtype)

    def state_digest(self, state):
        return self.checkpoints.state_digest(state)

    @contextmanager
    def probing(self, method, tag, *, limit):
        """Compare mean, deviation, magnitude and first element of the layers' outputs while the body runs."""
        named = sorted({k.split("/")[2] for k in self.scalars if k.startswith(f"probe/{tag}/")})
        assert named
        seen = {}

        def probe(name):
            def look(module, given, made):  # at once: the ReLU that follows a batch norm overwrites its output
                x = made.detach().double()
                values = {"mean": x.mean(), "std": x.std(), "absmax": x.abs().max(), "first": x.flatten()[0]}
                seen[name] = {key: value.item() for key, value in values.items()}

            return look

        handles = [method.get_submodule(name).register_forward_hook(probe(name)) for name in named]
        yield
        for handle in handles:
            handle.remove()
        assert sorted(seen) == named
        for name, values in seen.items():
            for key, value in values.items():
                wanted = self.scalars[f"probe/{tag}/{name}/{key}"]
                assert abs(value - wanted) <= limit * values["absmax"], (name, key)

    def check_gradients(self, method, tag, *, limit=1e-7):
        """Norm, sum and first elements of every stored gradient, within ``limit`` of the norm."""
        parameters = dict(method.named_parameters())
        names = [k.split("/grad_norm/")[1] for k in self.scalars if k.startswith(f"{tag}/grad_norm/")]
        named = [n for n in names if n != "ALL"]
        assert len(named) > 8
        for name in named:
            gradient = parameters[name].grad.flatten().double().cpu()
            norm, total = (self.scalars[f"{tag}/grad_{part}/{name}"] for part in ("norm", "sum"))
            scale = max(norm, 1e-6)
            assert abs(float(gradient.norm()) - norm) <= limit * scale, name
            assert abs(float(gradient.sum()) - total) <= limit * scale * math.sqrt(len(gradient)), name
            first = self.arrays[f"{tag}/grad_first8/{name}"]
            assert np.abs(gradient[:8].numpy() - first).max() <= limit * scale, name
        trained = [p for p in parameters.values() if p.requires_grad]
        whole = torch.stack([p.grad.double().norm() for p in trained]).norm()
        assert float(whole) == pytest.approx(self.scalars[f"{tag}/grad_norm/ALL"], rel=limit)

    def check_buffers(self, method, tag, *, limit=1e-9):
        """First 64 elements, and the norm, of the batch-norm statistics and momentum parameters that the pass moved."""
        state = method.state_dict()
        stored = [k for k in self.arrays if k.startswith(f"{tag}/after/")]
        assert stored
        for key in stored:
            found = state[key.split("/after/")[1]]
            assert distance(found.flatten()[:64], self.arrays[key]) <= limit, key
        for key in [k for k in self.scalars if k.startswith(f"{tag}/after_norm/")]:
            norm = state[key.split("/after_norm/")[1]].double().norm().item()
            assert norm == pytest.approx(self.scalars[key], rel=limit), key


def encode_each_input_once(method):
    """The method, in evaluation mode, with trunks that repeat their answer to a tensor that they have seen.

    They take nearly all the time; what the method makes of their answers is computed whenever it is asked.
    """
    assert not method.training
    for module in method.modules():
        if isinstance(module, Trunk):
            module.forward = cache(module.forward)  # by identity, as tensors are hashed
    return method


def distance(found, wanted):
    """Largest difference, relative to the largest magnitude wanted."""
    found = found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    return np.abs(found.astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-300)


def import_file(path):
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up_tensor(key, shape):
    """The golden recipe for one tensor, from its name and shape alone (goldens/README, ``make_checkpoint``)."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    uniform = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()))).random(math.prod(shape))
    centred = 2.0 * (uniform - 0.5)
    if leaf == "running_var":
        values = 0.5 + uniform
    elif leaf == "running_mean":
        values = 0.2 * centred
    elif len(shape) == 1:
        values = 1.0 + 0.25 * centred if leaf == "weight" else 0.1 * centred
    elif key.endswith("_embed.weight"):
        values = uniform
    elif leaf in {"slots", "mask_token_img", "mask_token_aud"}:
        values = math.sqrt(3.0) * centred
    else:
        values = math.sqrt(6.0 / math.prod(shape[1:])) * centred
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


@pytest.fixture(scope="session", params=["cpu", "cuda"])
def device(request):
    """Each device that goldens are checked on, in turn; without TF32, whose rounding exceeds the tolerances."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device is at hand")
    kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = kept


@pytest.fixture(scope="session")
def made_up():
    """Fill a module with made-up weights; the same key and shape give the same numbers everywhere."""

    def fill(module):
        module.load_state_dict({key: made_up_tensor(key, tuple(t.shape)) for key, t in module.state_dict().items()})
        return module

    return fill


@pytest.fixture(scope="session")
def relative():
    return distance


@pytest.fixture(scope="session")
def encoding_once():
    return encode_each_input_once


@pytest.fixture(scope="session")
def sample0():
    """Outputs of official code for one sample of made-up weights, with that sample."""
    folder = Path(__file__).parents[1] / "golden"
    stored = {**np.load(folder / "ezvsl_jsa_ogl_sample0.npz"), **np.load(folder / "slavc_fnac_sample0.npz")}
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    picture = torch.from_numpy(stored["image"]).permute(2, 0, 1)[None]
    image = ((picture.float() / 255 - mean) / std).double()

    def batch(method):
        audio = torch.from_numpy(stored[f"{method}_spectrogram"])[None, None].double() / 1024
        return Batch(["0"], image, audio)

    return SimpleNamespace(batch=batch, wanted=stored)


@pytest.fixture(scope="session")
def golden(shared):
    """A method's golden outputs by name."""

    def load(name):
        folder = shared / "goldens"
        inputs, checkpoints = (import_file(folder / "tools" / f"make_{n}.py") for n in ("inputs", "checkpoint"))
        info = json.loads((folder / "goldens" / f"{name}.json").read_text())
        return Golden(
            np.load(folder / "goldens" / f"{name}.npz"), info["scalars"], info["checkpoint_digest"], inputs, checkpoints
        )

    return load


def tiny_batch(spectrogram, *, size=4, seed=0, side=64, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 3, side, side, generator=generator)
    audio = torch.randn(size, 1, *spectrogram, generator=generator)
    return Batch([str(i) for i in range(size)], image.to(dtype), audio.to(dtype))


@pytest.fixture(scope="session")
def random_batch():
    """Noise as a batch: ``random_batch((F, T), size=, seed=, side=, dtype=)``."""
    return tiny_batch
