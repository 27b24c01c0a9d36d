"""``avbench verify --rerun --accept``: predicting again, the badge that it gives, and what is written."""

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from avbench.commands.verifying import main as verify
from avbench.errors import AvbenchError, UsageError
from avbench.leaderboards.entry_files import read_entries
from avbench.records import seal_of

pytestmark = pytest.mark.usefixtures("no_remains")


def verified(capsys, bundle: Path, *more: str) -> tuple[int, dict]:
    """The exit code, and the report of ``--json``."""
    capsys.readouterr()
    code = verify([str(bundle), "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_controls_and_given_weights_are_run_again_and_accepted_as_verified(small, capsys, tmp_path, bundle_of_all):
    folder = tmp_path / "records"
    how = ["--rerun", "--checkpoint", f"ezvsl={small.training}", "--accept", str(folder)]
    code, report = verified(capsys, bundle_of_all, *how)
    assert code == 0
    assert [(one["method"], one["badge"], one["rerun"]["problem"]) for one in report["entries"]] == [
        ("disc", "verified", ""),
        ("ezvsl", "verified", ""),
        ("random", "verified", ""),
    ]
    assert all(0 <= one["rerun"]["metrics"] < 1e-6 for one in report["entries"])
    entries = read_entries(folder)
    assert [str(entry.path) for entry in entries] == report["accepted"]
    trained = next(entry for entry in entries if entry.method == "ezvsl")
    assert (trained.badge, trained.selection, trained.evaluations[0]["locacc"]) == ("verified", "last", 0.25)
    assert trained.listening is not None
    assert trained.parameters.training > trained.parameters.inference - 1 > 0
    sentence = (
        r"^all\.zip is not accepted, since disc on small is there already as small/disc-none-[0-9a-f]{12}\.json: "
        "delete that first if this is to take its place$"
    )
    with pytest.raises(AvbenchError, match=sentence):
        verify([str(bundle_of_all), "--accept", str(folder)])


def test_what_comes_out_otherwise_stays_submitted(small, capsys, tmp_path, bundle_of_disc, monkeypatch):
    monkeypatch.setattr("avbench.methods.disc.Disc.localize", opposite("disc", "Disc"))
    folder = tmp_path / "records"
    code, report = verified(capsys, bundle_of_disc, "--rerun", "--accept", str(folder))
    assert code == 0
    entry = report["entries"][0]
    assert entry["badge"] == "submitted"
    assert re.fullmatch(
        r"disc on small run again is not as submitted, with 0\.005 allowed: .* is [\d.]+ and [\d.]+; .*",
        entry["rerun"]["problem"],
    )
    assert [(one.badge, one.accepted.by, one.rerun) for one in read_entries(folder)] == [
        ("submitted", "A. Author", None)
    ]
    monkeypatch.undo()
    small.enter(monkeypatch)
    code, report = verified(capsys, bundle_of_disc, "--rerun", "--accept", str(folder))
    assert [one.badge for one in read_entries(folder)] == ["verified"], "a re-run lifts what was submitted"


def opposite(module: str, name: str):
    """``localize`` of a method with the sign of its maps turned."""
    localize = getattr(importlib.import_module(f"avbench.methods.{module}"), name).localize

    def turned(self, batch):
        found = localize(self, batch)
        return replace(found, map=-found.map)

    return turned


def test_weights_that_nothing_was_predicted_with(small, bundle_of_all, tmp_path):
    other = tmp_path / "other.safetensors"
    content = bytearray((small.training / "model.safetensors").read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    sentence = (
        f"^expected weights of ezvsl with the hash [0-9a-f]{{12}}, found others at {other}: name those that its "
        "predictions were made with$"
    )
    with pytest.raises(UsageError, match=sentence):
        verify([str(bundle_of_all), "--rerun", "--checkpoint", f"ezvsl={other}"])
    with pytest.raises(UsageError, match=r"^--checkpoint is for running again: add --rerun, or leave it out$"):
        verify([str(bundle_of_all), "--checkpoint", f"ezvsl={other}"])


def test_a_selection_that_the_weights_do_not_tell(small, bundle_of_all, tmp_path, rewritten):
    """All that says how the checkpoint was chosen is changed alike, and every seal and hash fits."""

    def lie(checkpoint):
        for told in (checkpoint, checkpoint["training"]):
            told["selected"] = {"rule": "validation", "split": "else", "sha256": "0" * 64}

    def change(found):
        for name in [one for one in found if re.search(r"ezvsl-\w+/about|records/.*ezvsl\.av\..*json", one)]:
            content = json.loads(found[name])
            if name.startswith("records/"):
                lie(content["provenance"]["checkpoint"])
                content["selection"] = "validation"
                content["seal"] = seal_of(content)
            else:
                lie(content["resolved"]["checkpoint"])
            found[name] = json.dumps(content).encode()
        for name in [one for one in found if one.startswith("trainings/") and one.endswith("config.json")]:
            content = json.loads(found[name])
            content["meta"]["selected"] = {"rule": "validation", "split": "else", "sha256": "0" * 64}
            found[name] = json.dumps(content).encode()
        manifest = json.loads(found["manifest.json"])
        for entry in manifest["entries"]:
            entry["selection"] = "validation" if entry["method"] == "ezvsl" else entry["selection"]
        found["manifest.json"] = json.dumps(manifest).encode()

    lying = rewritten(bundle_of_all, tmp_path / "lying.zip", change)
    assert verify([str(lying)]) == 0, "nothing in the bundle itself gives the lie away"
    sentence = (
        "ezvsl on small says of itself what its weights and its method do not: selected of the checkpoint; the "
        "selection is validation, and last by the weights; training of the checkpoint; submit it again"
    )
    folder = tmp_path / "records"
    with pytest.raises(AvbenchError, match=f"^{re.escape(sentence)}$"):
        verify([str(lying), "--rerun", "--checkpoint", f"ezvsl={small.training}", "--accept", str(folder)])
    assert not folder.exists()


def test_methods_without_their_weights_or_not_of_ours_stay_submitted(small, capsys, bundle_of_all, monkeypatch):
    monkeypatch.setattr("avbench.rerunning.method_names", lambda: ["ezvsl", "disc"])
    code, report = verified(capsys, bundle_of_all, "--rerun")
    assert code == 0
    assert [one["badge"] for one in report["entries"]] == ["verified", "submitted", "submitted"]
    assert re.fullmatch(
        "ezvsl on small cannot be run again without its weights: add --checkpoint ezvsl=PATH, those of the hash "
        "[0-9a-f]{12}",
        report["entries"][1]["rerun"]["problem"],
    )
    assert report["entries"][2]["rerun"]["problem"] == (
        "random on small cannot be run again from a bundle, since it is no method of avbench's own: it stays submitted"
    )
