"""TensorBoard's files read back by TensorBoard, W&B without a network, and what happens where neither works."""

import json
import math
import struct
import sys

import pytest

from avbench.errors import UsageError
from avbench.tracking import TRACKERS, check_trackers, open_trackers

DESCRIPTION = {"method": "ezvsl", "recipe": {"lr": 1e-4}}
EVALUATED = {"epoch": 1, "split": "demo-val", "purpose": "validation", "n": 200, "locacc": 0.25, "auc": 0.5}


def curves(folder):
    """What TensorBoard shows: tag -> [(step, value), ...]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def tensorboard(out, done=0):
    (tracker,) = open_trackers(["tensorboard"], out, DESCRIPTION, done=done)
    return tracker


def test_tensorboard_shows_what_was_logged(tmp_path):
    tracker = tensorboard(tmp_path)
    tracker.log({"train/total": 2.0, "train/lr": 0.5}, 1)
    tracker.log({"train/total": 1.5, "train/lr": 0.25}, 2)
    tracker.evaluated(EVALUATED)
    tracker.close()
    assert curves(tmp_path) == {
        "train/total": [(1, 2.0), (2, 1.5)],
        "train/lr": [(1, 0.5), (2, 0.25)],
        "validation/demo-val/locacc": [(2, 0.25)],
        "validation/demo-val/auc": [(2, 0.5)],
    }


def test_tensorboard_holds_rows_as_soon_as_they_are_logged(tmp_path):
    tracker = tensorboard(tmp_path)
    tracker.log({"train/total": 2.0}, 1)
    assert curves(tmp_path) == {"train/total": [(1, 2.0)]}, "before it was closed: a killed training never closes it"
    tracker.close()


def test_tensorboard_keeps_values_that_are_no_numbers(tmp_path):
    tracker = tensorboard(tmp_path)
    tracker.log({"train/area": math.nan, "train/total": math.inf}, 1)
    tracker.close()
    shown = curves(tmp_path)
    assert math.isnan(shown["train/area"][0][1])
    assert shown["train/total"] == [(1, math.inf)]


def test_a_resumed_training_replaces_the_steps_that_it_takes_again(tmp_path):
    for done, value in ((0, 1.0), (2, 7.0)):  # killed after step 4, resumed from the state after step 2
        tracker = tensorboard(tmp_path, done)
        for step in range(done + 1, done + 5):
            tracker.log({"train/total": value}, step)
        tracker.close()
    assert curves(tmp_path) == {"train/total": [(1, 1.0), (2, 1.0), (3, 7.0), (4, 7.0), (5, 7.0), (6, 7.0)]}


@pytest.fixture
def offline(monkeypatch):
    """No network and no settings of the person who runs the tests."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")


def records(path):
    """The records of a W&B file: after 7 bytes, blocks of 32 KiB, of pieces (checksum, size, kind: 1 whole, 4 last)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            yield Record.FromString(whole)
            whole = b""


def test_wandb_writes_a_run_without_a_network(tmp_path, offline, capfd):
    for done in (0, 2):
        (tracker,) = open_trackers(["wandb"], tmp_path, DESCRIPTION, done=done)
        tracker.log({"train/total": 2.0}, done + 1)
        tracker.log({"speed/waiting": 0.5}, done + 1)
        tracker.evaluated(EVALUATED)
        tracker.close()
    assert capfd.readouterr() == ("", "")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({file.name for file in files}) == 1, "a resumed training is the same run"
    kept = list(records(files[0]))
    config = {item.key: json.loads(item.value_json) for r in kept for item in r.run.config.update}
    assert {key: config[key] for key in DESCRIPTION} == DESCRIPTION
    (step,) = [{i.key or i.nested_key[0]: i.value_json for i in r.history.item} for r in kept if r.history.item]
    assert float(step["train/total"]) == 2.0
    assert float(step["speed/waiting"]) == 0.5
    assert float(step["validation/demo-val/locacc"]) == 0.25


def test_two_folders_are_two_runs(tmp_path, offline, monkeypatch):
    import wandb

    ids = []
    monkeypatch.setattr(wandb, "init", lambda **given: ids.append(given["id"]))
    for folder in ("a", "b", "a"):
        open_trackers(["wandb"], tmp_path / folder, DESCRIPTION)
    assert ids[0] == ids[2] != ids[1]


def test_the_mode_of_wandb_is_the_users(tmp_path, offline, monkeypatch):
    import wandb

    seen = []
    monkeypatch.setattr(wandb, "init", lambda **given: seen.append(given["mode"]))
    open_trackers(["wandb"], tmp_path, DESCRIPTION)
    monkeypatch.setenv("WANDB_MODE", "online")
    open_trackers(["wandb"], tmp_path, DESCRIPTION)
    assert seen == ["offline", None], "W&B reads the variable where nothing is said over it"


def test_a_tracker_that_cannot_be_opened_is_left_out(tmp_path, offline, monkeypatch, capsys):
    import wandb

    def refuse(**given):
        raise wandb.errors.UsageError("api_key not configured\n(no-tty)")

    monkeypatch.setattr(wandb, "init", refuse)
    trackers = open_trackers(["wandb", "tensorboard"], tmp_path, DESCRIPTION)
    assert [type(tracker).__name__ for tracker in trackers] == ["TensorBoard"]
    trackers[0].close()
    said = capsys.readouterr().err
    assert said == "wandb cannot go on (UsageError: api_key not configured (no-tty)): the training does, without it\n"


def test_a_folder_that_cannot_be_written_leaves_the_tracker_out(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("in the way")
    assert open_trackers(["tensorboard"], tmp_path, DESCRIPTION) == []
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_package_is_refused_at_once(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"package {name}, which is not installed: pip install avbench\[{name}\]$"):
        check_trackers([name])
    with pytest.raises(UsageError, match="not installed"):
        open_trackers([name], tmp_path, DESCRIPTION)
    assert list(tmp_path.iterdir()) == []


def test_a_package_without_its_own_requirements_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(UsageError, match=r"pip install avbench\[tensorboard\]$"):
        open_trackers(["tensorboard"], tmp_path, DESCRIPTION)


def test_an_unknown_tracker_is_refused_with_the_closest():
    with pytest.raises(UsageError, match=r"no tracker called 'tensorbord': did you mean tensorboard\?"):
        check_trackers(["tensorbord"])
    with pytest.raises(UsageError, match=r"no tracker called 'x': .*\(tensorboard, wandb\) shows all$"):
        check_trackers(["wandb", "x"])


def test_checking_imports_nothing(monkeypatch):
    for name in TRACKERS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    check_trackers(list(TRACKERS))
    assert not set(TRACKERS) & set(sys.modules)
