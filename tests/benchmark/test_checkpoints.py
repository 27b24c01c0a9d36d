"""Checkpoints: ours there and back, official forms, and files that must not be trusted."""

import importlib.util
import json
import os
import pickle
import zipfile
from dataclasses import dataclass, replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from avbench.checkpoints import fill, load_checkpoint, load_weights, save_checkpoint, sha256_of, weights_file
from avbench.errors import AvbenchError, UsageError
from avbench.methods.ezvsl import EZVSL, EZVSLConfig
from avbench.methods.jsa import JSA, JSAConfig
from avbench.methods.ogl import OGL

SLIM = EZVSLConfig(width=1 / 16, out_dim=8, tau=0.07, retrieval="avg")
META = {"recipe": {"name": "ezvsl-demo", "augment": ["flip"]}, "epoch": 7, "selection": "last epoch"}


@dataclass(frozen=True)
class ToyConfig:
    size: int = 2


class Toy(nn.Module):
    """Two tensors."""

    config_class = ToyConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(config.size))
        self.register_buffer("seen", torch.zeros(()))


STATE = {"weight": torch.tensor([1.0, 2.0]), "seen": torch.tensor(3.0)}


@pytest.fixture
def slim():
    torch.manual_seed(0)
    return EZVSL(SLIM)


@pytest.fixture
def saved(slim, tmp_path):
    save_checkpoint(tmp_path / "mine", slim, name="ezvsl", meta=META)
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def official(shared):
    path = shared / "goldens" / "tools" / "make_checkpoint.py"
    spec = importlib.util.spec_from_file_location("official_checkpoints", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_ours_come_back_with_their_settings(slim, saved, name):
    found = load_checkpoint(saved / name, EZVSL, {})
    assert found.config == SLIM
    assert equal(found.state_dict(), slim.state_dict())
    weights = load_weights(saved / name)
    assert weights.meta == {"method": "ezvsl", **META}
    assert weights.config["tau"] == 0.07


def test_settings_can_be_changed_when_loading(saved):
    assert load_checkpoint(saved, EZVSL, {"tau": 0.05}).config == replace(SLIM, tau=0.05)
    with pytest.raises(UsageError, match="temperature"):
        load_checkpoint(saved, EZVSL, {"temperature": 0.05})


def test_loading_fetches_no_pretrained_weights(slim, tmp_path):
    slim.config = replace(SLIM, pretrained="imagenet")
    save_checkpoint(tmp_path, slim, name="ezvsl", meta={})
    assert load_weights(tmp_path).config["pretrained"] == "imagenet"
    assert load_checkpoint(tmp_path, EZVSL, {}).config == SLIM


def test_the_readable_copy_tells_the_same(saved):
    told = json.loads((saved / "config.json").read_text())
    assert told["method"] == "ezvsl"
    assert told["meta"] == META
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_a_copy_that_says_something_else_is_refused(saved):
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace("0.07", "0.03"))
    with pytest.raises(AvbenchError, match=r"config.json says something else than the header of model.safetensors"):
        load_weights(saved)
    (saved / "config.json").unlink()
    assert load_weights(saved).config["tau"] == 0.07


def test_safetensors_without_a_header_take_the_settings_beside_them(slim, saved):
    from safetensors.torch import save_file

    save_file({key: value.clone() for key, value in slim.state_dict().items()}, saved / "model.safetensors")
    assert load_checkpoint(saved, EZVSL, {}).config == SLIM
    (saved / "config.json").unlink()
    assert load_weights(saved).config is None


@pytest.mark.parametrize("text", ["[1, 2]", "{}", "not json", '{"method": "a", "config": 3, "meta": {}}'])
def test_a_header_that_describes_nothing_is_refused(saved, text):
    from safetensors.torch import save_file

    (saved / "config.json").unlink()
    save_file(STATE, saved / "model.safetensors", {"avbench": text})
    with pytest.raises(AvbenchError, match=r"expected method, config and meta in the header of .*model.safetensors"):
        load_weights(saved)


def test_settings_of_the_wrong_type_are_refused(slim, tmp_path):
    slim.config = replace(SLIM, tau="hot")
    save_checkpoint(tmp_path, slim, name="ezvsl", meta={})
    with pytest.raises(UsageError, match=r"wrong type.*tau"):
        load_checkpoint(tmp_path, EZVSL, {})


def test_every_setting_survives(tmp_path):
    torch.manual_seed(0)
    config = JSAConfig(width=1 / 16, dim=8, num_slots=3, reciprocal_k=0, lam1=0.0, eps_test=1e-9, decoders=False)
    save_checkpoint(tmp_path, JSA(config), name="jsa", meta={})
    assert load_checkpoint(tmp_path, JSA, {}).config == config


def test_the_hash_covers_weights_and_settings(slim, saved, tmp_path):
    assert sha256_of(saved) == sha256_of(saved / "model.safetensors")
    assert weights_file(saved) == saved / "model.safetensors"
    slim.config = replace(SLIM, tau=0.03)
    save_checkpoint(tmp_path / "other", slim, name="ezvsl", meta=META)
    assert sha256_of(tmp_path / "other") != sha256_of(saved)


def test_weights_in_another_memory_format_are_saved(slim, tmp_path):
    save_checkpoint(tmp_path, slim.to(memory_format=torch.channels_last), name="ezvsl", meta={})
    assert equal(load_weights(tmp_path).state, {k: v.contiguous() for k, v in slim.state_dict().items()})


def test_a_checkpoint_of_another_method_is_refused(saved):
    with pytest.raises(
        AvbenchError,
        match=r"expected a checkpoint of 'jsa', but .* is one of 'ezvsl' with the settings clip_seconds, out_dim",
    ):
        load_checkpoint(saved, JSA, {})


@pytest.mark.parametrize("entry", ["model", "model_state_dict", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_forms(tmp_path, entry, prefix):
    state = {prefix + key: value for key, value in STATE.items()}
    content = state if entry is None else {entry: state, "epoch": 3, "best_cIoU": np.float64(0.5), "optimizer": {}}
    torch.save(content, tmp_path / "best.pth.tar")
    found = load_checkpoint(tmp_path / "best.pth.tar", Toy, {})
    assert found.weight.tolist() == [1, 2]
    assert found.seen.item() == 3


def test_numpy_scalars_under_their_older_name(tmp_path):
    torch.save({"model": STATE, "best": np.float64(0.5)}, tmp_path / "best.pth")
    with zipfile.ZipFile(tmp_path / "best.pth") as old, zipfile.ZipFile(tmp_path / "old.pth", "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert equal(load_weights(tmp_path / "old.pth").state, STATE)


def test_module_is_dropped_as_a_whole_part_anywhere(tmp_path):
    torch.save({"imgnet.module.w": torch.zeros(1), "submodule.w": torch.zeros(1)}, tmp_path / "a.pt")
    assert sorted(load_weights(tmp_path / "a.pt").state) == ["imgnet.w", "submodule.w"]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_wants_to_run_code_is_refused_and_nothing_runs(tmp_path, legacy):
    bomb = {"model": STATE, "extra": Bomb(tmp_path / "ran")}
    torch.save(bomb, tmp_path / "bomb.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(AvbenchError, match=r"bomb.pth was refused, since it needs \w+.mkdir, which is no weights"):
        load_weights(tmp_path / "bomb.pth")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_that_wants_to_run_code_is_refused(tmp_path):
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran"), protocol=2))
    with pytest.raises(AvbenchError, match=r"bomb\.pt"):
        load_weights(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_official_file_is_refused(tmp_path, share):
    torch.save({"model": {"weight": torch.randn(1000)}}, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AvbenchError, match=r"expected a PyTorch checkpoint in .*cut.pth, which is damaged"):
        load_weights(tmp_path / "cut.pth")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
def test_a_truncated_file_of_ours_is_refused(saved, share):
    whole = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AvbenchError, match=r"expected safetensors in .*model.safetensors, which is damaged"):
        load_weights(saved)


@pytest.mark.parametrize("name", ["picture.pth", "picture.safetensors"])
def test_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0" + b"JFIF" * 50)
    with pytest.raises(AvbenchError, match="is damaged or something else"):
        load_weights(tmp_path / name)


@pytest.mark.parametrize("content", [{}, [1, 2], {"model": {"epoch": 1}}, {"model": 3}, {"model": {}}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "log.pth")
    with pytest.raises(AvbenchError, match=r"expected weights by name in .*log.pth"):
        load_weights(tmp_path / "log.pth")


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_an_absent_file_is_named(tmp_path, name):
    with pytest.raises(AvbenchError, match="expected a checkpoint, found nothing at"):
        load_weights(tmp_path / name)


def test_tensors_that_do_not_fit_are_counted_and_named(tmp_path):
    with pytest.raises(AvbenchError) as caught:
        fill(
            Toy(ToyConfig()),
            {"weight": torch.zeros(3), **{f"more{i}": torch.zeros(1) for i in range(5)}},
            tmp_path / "a.pth",
        )
    words = str(caught.value)
    assert "of its 2 tensors and the file's 6" in words
    assert "1 missing (seen)" in words
    assert "5 unexpected (more0, more1, more2)" in words
    assert "1 of another shape (weight [3])" in words


def test_the_first_entry_that_is_a_table_holds_the_weights(tmp_path):
    torch.save({"state_dict": STATE, "model": "resnet18"}, tmp_path / "best.pth")
    found = load_weights(tmp_path / "best.pth")
    assert equal(found.state, STATE)
    assert found.form.rest == {"model": "resnet18"}


def test_settings_that_only_stand_beside_the_weights_are_hashed(saved):
    safetensors.torch.save_file(load_weights(saved).state, saved / "model.safetensors")
    before = sha256_of(saved)
    (saved / "config.json").write_text((saved / "config.json").read_text().replace("0.07", "0.7"))
    assert load_weights(saved).config["tau"] == 0.7
    assert sha256_of(saved) != before


def test_official_ezvsl_jsa_and_ogl_files_load_equal(official, tmp_path):
    for name, cls, trunk in (("ezvsl", EZVSL, ""), ("jsa", JSA, ""), ("ogl_resnet18", OGL, "trunk.")):
        content = official.make_checkpoint(name)
        if name != "ogl_resnet18":
            content["best_cIoU"] = np.float64(0.5)
        torch.save(content, tmp_path / official.OFFICIAL_FORM[name]["file"])
        found = load_checkpoint(tmp_path / official.OFFICIAL_FORM[name]["file"], cls, {}).state_dict()
        wanted = {trunk + key: value for key, value in official.make_state_dict(name).items() if "fc." not in key}
        assert equal(found, wanted), name


def test_an_official_jsa_file_loads_without_decoders(official, tmp_path):
    torch.save(official.make_checkpoint("jsa"), tmp_path / "best.pth")
    found = load_checkpoint(tmp_path / "best.pth", JSA, {"decoders": False})
    assert sum(p.numel() for p in found.parameters()) == 29_708_288
