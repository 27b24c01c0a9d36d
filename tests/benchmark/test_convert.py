"""Authors' checkpoints into ours: equal maps, readable reports, and nothing written of what does not fit."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import avbench
from avbench.cli import main
from avbench.errors import AvbenchError
from avbench.methods.jsa import JSA, JSAConfig
from avbench.registry import find_method, load_class, make_config
from avbench.types import Batch

SLIM = {
    "ezvsl": {"width": 1 / 16, "out_dim": 8},
    "fnac": {"width": 1 / 16, "out_dim": 8},
    "slavc": {"width": 1 / 16, "out_dim": 8},
    "lvs": {"width": 1 / 16},
    "alignment": {"width": 1 / 16, "heads": False},
    "jsa": {"width": 1 / 16, "dim": 8, "num_slots": 3},
}
IMPLIED = {"jsa": {"dim", "num_slots"}, "alignment": {"heads"}}
"""Settings that the shapes give away, so that nobody has to say them."""
OFFICIAL = {
    "ezvsl": ("model", "module."),
    "fnac": ("model", ""),
    "slavc": ("model", "module."),
    "lvs": ("model_state_dict", "module."),
    "alignment": ("model_state_dict", ""),
    "jsa": ("model", ""),
}
UNUSED = {
    "imgnet.conv1_a.weight": (4, 1, 7, 7),
    "imgnet.conv1_flow.weight": (4, 6, 7, 7),
    "imgnet.fc.weight": (1000, 32),
    "imgnet.fc.bias": (1000,),
    "audnet.conv1.weight": (4, 3, 7, 7),
    "audnet.conv1_flow.weight": (4, 6, 7, 7),
    "audnet.fc.weight": (1000, 32),
    "audnet.fc.bias": (1000,),
}
"""What the official class of LVS and Alignment has beside what it runs, at a sixteenth of the width."""


def slim_state(name):
    """Weights of a slim network under the official names, with batch statistics that are not the initial ones."""
    torch.manual_seed(3)
    cls = load_class(find_method(name))
    state = cls(make_config(cls.config_class, SLIM[name])).state_dict()
    for key, value in state.items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
    extra = UNUSED if name in {"lvs", "alignment"} else {}
    return state | {key: torch.randn(shape) for key, shape in extra.items()}


def given_settings(name):
    """``--set`` items of a slim network, without those that the shapes give away."""
    told = {key: value for key, value in SLIM[name].items() if key not in IMPLIED.get(name, set())}
    return [part for key, value in told.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def save(path, state, entry, prefix, **rest):
    weights = {prefix + key: value for key, value in state.items()}
    torch.save(weights if entry is None else {entry: weights, **rest}, path)
    return path


def heard(method):
    """The map of two samples of noise."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 224, 224, generator=generator)
    sound = torch.rand(2, int(method.frontend.window.seconds * 16_000), generator=generator) - 0.5
    with torch.no_grad():
        return method.localize(Batch(["a", "b"], image, method.frontend(sound, 16_000))).map


def convert(name, file, out, *more):
    return main(["convert", name, str(file), "-o", str(out), *more])


@pytest.fixture
def best(tmp_path):
    """A slim EZ-VSL in its official form."""
    rest = {"epoch": 7, "best_cIoU": np.float64(0.25), "best_Auc": float("nan"), "optimizer": {"state": {}, "lr": [1]}}
    return save(tmp_path / "best.pth", slim_state("ezvsl"), "model", "module.", **rest)


@pytest.mark.parametrize("name", sorted(SLIM))
def test_each_method_hears_the_same_from_its_official_form_and_converted(tmp_path, name):
    state, (entry, prefix) = slim_state(name), OFFICIAL[name]
    file = save(tmp_path / "best.pth.tar", state, entry, prefix, epoch=3)
    assert convert(name, file, tmp_path / "out", *given_settings(name)) == 0
    ours = avbench.load_method(name, checkpoint=tmp_path / "out")
    theirs = avbench.load_method(name, checkpoint=file, **SLIM[name])
    assert ours.config == theirs.config
    found = ours.state_dict()
    assert len(found) == len(state) - 8 * (name in {"lvs", "alignment"})
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert torch.equal(heard(ours), heard(theirs))
    assert heard(ours).std() > 0


@pytest.mark.parametrize("entry", ["model", "model_state_dict", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_form_gives_the_same_weights(tmp_path, entry, prefix):
    state = slim_state("ezvsl")
    save(tmp_path / "a.pth", state, entry, prefix, epoch=1)
    assert convert("ezvsl", tmp_path / "a.pth", tmp_path / "out", *given_settings("ezvsl")) == 0
    found = avbench.load_method("ezvsl", checkpoint=tmp_path / "out").state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    origin = json.loads((tmp_path / "out" / "config.json").read_text())["meta"]["converted"]
    assert (origin["entry"], origin["module_prefix"]) == (entry, prefix == "module.")


def test_a_run_gives_the_same_figures_from_both(best, tmp_path, tiny_set, store, capsys):
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl")) == 0
    capsys.readouterr()
    where = ["--split", str(tiny_set), "--runs", str(tmp_path / "runs"), "--controls", "false", "--workers", "0"]
    rows = []
    for weights in (["--checkpoint", str(best), *given_settings("ezvsl")], ["--checkpoint", str(tmp_path / "out")]):
        assert main(["run", "--method", "ezvsl", *where, *weights, "--json"]) == 0
        rows += json.loads(capsys.readouterr().out)
    assert rows[0]["metrics"] == rows[1]["metrics"]
    assert rows[0]["record"] != rows[1]["record"]
    told = json.loads(Path(rows[1]["record"]).read_text())["provenance"]["checkpoint"]
    assert told["selection"] == "unknown"
    assert told["training"]["converted"]["file"] == "best.pth"


@pytest.fixture(scope="module")
def official(shared):
    path = shared / "goldens" / "tools" / "make_checkpoint.py"
    spec = importlib.util.spec_from_file_location("official_forms", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "parameters"), [("ezvsl", 22_872_064), ("lvs", 22_346_752), ("jsa", 31_818_498)])
def test_full_size_official_files(official, tmp_path, capsys, name, parameters):
    file = tmp_path / official.OFFICIAL_FORM[name]["file"]
    torch.save(official.make_checkpoint(name), file)
    assert convert(name, file, tmp_path / "out", "--json") == 0
    file.unlink()
    assert json.loads(capsys.readouterr().out)["parameters"] == parameters
    found = avbench.load_method(name, checkpoint=tmp_path / "out").state_dict()
    (tmp_path / "out" / "model.safetensors").unlink()
    wanted = {key: value for key, value in official.make_state_dict(name).items() if key in found}
    assert official.state_digest(found) == official.state_digest(wanted)
    assert len(wanted) == len(found)


def test_the_card_tells_where_the_weights_come_from(best, tmp_path):
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl"), "--set", "tau=0.05") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["method"] == "ezvsl"
    assert front["paper"] == "arXiv:2203.09324"
    assert front["official_code"] == "stoneMo/EZ-VSL"
    assert front["source_file"] == "best.pth"
    assert front["source_sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    written = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert front["weights_sha256"] == hashlib.sha256(written).hexdigest()
    assert front["parameters"] == sum(
        v.numel() for k, v in slim_state("ezvsl").items() if "num_b" not in k and "running" not in k
    )
    assert front["settings"] == {
        **SLIM["ezvsl"],
        "tau": 0.05,
        "pretrained": None,
        "retrieval": "max",
        **front["settings"],
    }
    assert front["held"] == {"epoch": 7, "best_cIoU": 0.25, "best_Auc": "nan", "optimizer": "dict of 2"}
    for told in (
        "| kept | 244 |",
        "under `model`, names with `module.`",
        "| `best_cIoU` | `0.25` |",
        "selected is unknown",
    ):
        assert told in text
    assert "avbench run --method ezvsl --split demo --checkpoint FOLDER" in text
    assert 'avbench.load_method("ezvsl", checkpoint="FOLDER")' in text
    assert str(tmp_path) not in text


def test_documented_droppings_are_named_with_their_reason(tmp_path, capsys):
    file = save(tmp_path / "lvs.pth.tar", slim_state("lvs"), "model_state_dict", "module.")
    assert convert("lvs", file, tmp_path / "out", *given_settings("lvs")) == 0
    out = capsys.readouterr().out
    assert "248 tensors in lvs.pth.tar for lvs" in out
    assert "kept                       240\ndropped                      8\n" in out
    assert "imgnet.fc.bias            [1000]  a classifier of 1000 kinds" in out
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| `audnet.conv1_flow.weight` | first convolutions for pictures and flow" in text
    origin = json.loads((tmp_path / "out" / "config.json").read_text())["meta"]["converted"]
    assert sorted(origin["dropped"]) == sorted(UNUSED)


def test_a_dropping_is_dropped_only_where_the_method_has_no_use_for_it(tmp_path, capsys):
    file = save(tmp_path / "jsa.pth", slim_state("jsa"), "model", "")
    size = ["--set", "width=0.0625"]
    assert convert("jsa", file, tmp_path / "whole", *size, "--json") == 0
    whole = json.loads(capsys.readouterr().out)
    assert convert("jsa", file, tmp_path / "bare", *size, "--set", "decoders=false", "--json") == 0
    bare = json.loads(capsys.readouterr().out)
    assert (whole["source"]["dropped"], len(bare["source"]["dropped"])) == ({}, 20)
    assert whole["kept"] == bare["kept"] + 20
    assert torch.equal(*(heard(avbench.load_method("jsa", checkpoint=tmp_path / name)) for name in ("whole", "bare")))


def test_a_file_without_decoders_says_so_itself(tmp_path):
    state = {key: value for key, value in slim_state("jsa").items() if "decoder" not in key}
    file = save(tmp_path / "jsa.pth", state, "model", "")
    found = avbench.load_method("jsa", checkpoint=file, width=1 / 16)
    assert (found.config.decoders, found.config.num_slots, found.config.dim) == (False, 3, 8)


def misfit(tmp_path, **rest):
    state = slim_state("ezvsl")
    del state["img_proj.bias"], state["audnet.bn1.num_batches_tracked"]
    state["aud_proj.bias"] = torch.zeros(9)
    state["imgnet.bn1.bias"] = state["imgnet.bn1.bias"].to(torch.complex64)
    return save(tmp_path / "best.pth", state | {f"head.{n}": torch.zeros(1) for n in range(20)}, "model", "", **rest)


def test_a_file_that_does_not_fit_is_listed_and_nothing_is_written(tmp_path, capsys):
    assert convert("ezvsl", misfit(tmp_path), tmp_path / "out", *given_settings("ezvsl")) == 1
    out, err = capsys.readouterr()
    assert "missing                      2\n    audnet.bn1.num_batches_tracked\n    img_proj.bias\n" in out
    assert "of another shape             2\n" in out
    assert "    aud_proj.bias    [9] in the file" in out
    assert "    imgnet.bn1.bias  [4] complex64 in the file" in out
    assert "unexpected                  20\n    head.0   [1]\n" in out
    assert "head.17" not in out.split("unexpected")[1].split("and 12 more: --all-keys shows them")[0]
    assert err.count("\n") == 1
    assert "best.pth does not fit EZVSL as configured" in err
    assert not (tmp_path / "out").exists()


def test_all_keys_are_shown_on_demand(tmp_path, capsys):
    assert convert("ezvsl", misfit(tmp_path), tmp_path / "out", *given_settings("ezvsl"), "--all-keys") == 1
    out = capsys.readouterr().out
    assert all(f"    head.{n} " in out for n in range(20))
    assert "    imgnet.layer1.0.conv1.weight\n" in out
    assert "more" not in out


def test_a_report_for_programs(best, tmp_path, capsys):
    assert convert("ezvsl", misfit(tmp_path / "..", epoch=1), tmp_path / "out", *given_settings("ezvsl"), "--json") == 1
    bad = json.loads(capsys.readouterr().out)
    assert (bad["fits"], bad["written"], bad["folder"], bad["config"]) == (False, False, None, None)
    assert bad["missing"] == ["audnet.bn1.num_batches_tracked", "img_proj.bias"]
    assert bad["other_shape"] == {"aud_proj.bias": "[9]", "imgnet.bn1.bias": "[4] complex64"}
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl"), "--json") == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["fits"], good["written"], good["folder"]) == (True, True, str(tmp_path / "out"))
    assert (good["kept"], good["source"]["held"]["epoch"]) == (244, 7)


def test_half_precision_is_kept_and_said(tmp_path, capsys):
    state = {key: value.half() if value.is_floating_point() else value for key, value in slim_state("ezvsl").items()}
    file = save(tmp_path / "half.pth", state, "model", "")
    assert convert("ezvsl", file, tmp_path / "out", *given_settings("ezvsl")) == 0
    assert "stored in another type     204\n" in capsys.readouterr().out
    assert "`aud_proj.bias` | float16 in the file" in (tmp_path / "out" / "README.md").read_text()
    found = avbench.load_method("ezvsl", checkpoint=tmp_path / "out").state_dict()
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in state.items())


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_the_same_content_again_changes_nothing(best, tmp_path, capsys):
    again = ["ezvsl", best, tmp_path / "out", *given_settings("ezvsl")]
    assert convert(*again) == 0
    (tmp_path / "out" / "README.md").write_text("my notes")
    before = contents(tmp_path / "out")
    assert convert(*again) == 0
    assert contents(tmp_path / "out") == before
    assert "the same checkpoint is there already" in capsys.readouterr().err


def test_an_interrupted_conversion_is_completed(best, tmp_path):
    again = ["ezvsl", best, tmp_path / "out", *given_settings("ezvsl")]
    assert convert(*again) == 0
    whole = {name: content for name, (content, _) in contents(tmp_path / "out").items()}
    (tmp_path / "out" / "config.json").unlink()
    assert convert(*again) == 0
    assert {name: content for name, (content, _) in contents(tmp_path / "out").items()} == whole


def test_another_checkpoint_in_the_folder_is_not_replaced(best, tmp_path, capsys):
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl")) == 0
    before = contents(tmp_path / "out")
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl"), "--set", "tau=0.5") == 2
    assert "out holds another config.json, which is not replaced: name another folder" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


def test_somebodys_readme_is_not_replaced(best, tmp_path, capsys):
    (tmp_path / "README.md").write_text("my project")
    assert convert("ezvsl", best, tmp_path, *given_settings("ezvsl")) == 2
    assert "holds another README.md" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "best.pth"]


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_checkpoint_of_ours_needs_no_conversion(best, tmp_path, capsys, name):
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl")) == 0
    assert convert("ezvsl", tmp_path / "out" / name, tmp_path / "more") == 2
    assert "is a checkpoint of ours: load it as it is, avbench run --method ezvsl" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()


def test_bad_requests_are_refused(best, tmp_path, capsys):
    for method, file, out, more, told in (
        ("ezvsl", "absent.pth", "out", [], "found nothing at"),
        ("ezvls", "best.pth", "out", [], "did you mean ezvsl"),
        ("ezvsl", "best.pth", "out", ["--set", "temperature=1"], "temperature"),
        ("ezvsl", "best.pth", "best.pth", [], "cannot be a folder"),
        ("ogl", "best.pth", "out", [], "--set ogl.weights="),
    ):
        assert convert(method, tmp_path / file, tmp_path / out, *more) == 2
        assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pth"]


def test_an_empty_text_is_no_folder(best, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert convert("ezvsl", best, "", *given_settings("ezvsl")) == 2
    assert "expected --out DIR, got ''" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["best.pth"]


def test_a_plugin_is_converted_too(plugin_file, tmp_path):
    file = save(tmp_path / "theirs.pth", {"weight": torch.tensor(2.5)}, None, "module.")
    assert convert(f"{plugin_file}:Tiny", file, tmp_path / "out", "--set", "gain=3.0") == 0
    found = avbench.load_method(f"{plugin_file}:Tiny", checkpoint=tmp_path / "out")
    assert (found.weight.item(), found.config.gain) == (2.5, 3.0)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "--method tiny_plugin.py:Tiny" in text


def test_names_from_a_file_move_no_cursor_and_break_no_table(tmp_path, capsys):
    state = {**slim_state("ezvsl"), "\x1b[2Jgone\n": torch.zeros(1), "x" * 500: torch.zeros(1)}
    file = save(tmp_path / "best.pth", state, "model", "")
    assert convert("ezvsl", file, tmp_path / "out", *given_settings("ezvsl")) == 1
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert r"\x1b[2Jgone\n" in out
    assert max(map(len, out.splitlines())) < 160
    save(file, slim_state("ezvsl"), "model", "", **{"`|x`\n": "a|b`\x1b"})
    assert convert("ezvsl", file, tmp_path / "out", *given_settings("ezvsl")) == 0
    assert "| `'\\|x'\\n` | `a\\|b'\\x1b` |" in (tmp_path / "out" / "README.md").read_text()


def test_shapes_that_no_network_has_are_refused(tmp_path, capsys):
    file = save(tmp_path / "jsa.pth", {"slot_attn.slots": torch.zeros(1, 1, 8)}, "model", "")
    assert convert("jsa", file, tmp_path / "out") == 1
    assert "jsa.pth has tensors of a shape that jsa cannot have" in capsys.readouterr().err


def test_a_file_that_claims_a_huge_network_is_found_out_before_it_is_built(tmp_path, capsys):
    slots = torch.zeros(1, 2, 1_000_000)  # whose linear layers alone would have 10^12 weights
    file = save(tmp_path / "jsa.pth", {"slot_attn.slots": slots}, "model", "")
    assert convert("jsa", file, tmp_path / "out") == 1
    assert "missing                    286\n" in capsys.readouterr().out
    with pytest.raises(AvbenchError, match=r"jsa.pth does not fit JSA as configured"):
        avbench.load_method("jsa", checkpoint=file)


def test_settings_told_by_shapes_yield_to_those_given(tmp_path):
    file = save(tmp_path / "jsa.pth", slim_state("jsa"), "model", "")
    with pytest.raises(AvbenchError, match=r"1 of another shape \(slot_attn.slots \[1, 3, 8\]\)"):
        avbench.load_method("jsa", checkpoint=file, width=1 / 16, num_slots=4)
    assert JSA.settings_of(JSA(JSAConfig(width=1 / 16, dim=8)).state_dict()) == {
        "num_slots": 2,
        "dim": 8,
        "decoders": True,
    }
    assert JSA.settings_of({"slot_attn.slots": torch.zeros(3)}) == {}


def test_the_card_is_written_last(best, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("avbench.converting.write_atomic", lambda path, content: written.append(path.name))
    assert convert("ezvsl", best, tmp_path / "out", *given_settings("ezvsl")) == 0
    assert written == ["model.safetensors", "config.json", "README.md"]
