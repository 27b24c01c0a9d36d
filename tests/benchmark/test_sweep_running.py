"""Running sweeps: the cache, failures, several seeds, killed workers, Ray on two nodes, submitit's local executor."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import avbench.commands.sweep as command
from avbench.cli import main
from avbench.errors import UsageError
from avbench.store import write_json
from avbench.sweeping import locally
from avbench.sweeping.locally import Local
from avbench.sweeping.on_ray import ENVIRONMENT, OnRay
from avbench.sweeping.on_slurm import OnSlurm, SlurmUnit
from avbench.sweeping.worker import attempt

RECIPE = """
summary = "a sweep's"
method = "learner"
split = ""
selection = "last epoch"
[values]
epochs = { used = 2 }
batch_size = { used = 2 }
optimizer = { used = "adamw" }
lr = { used = 0.1 }
weight_decay = { used = 0.0 }
schedule = { used = "constant" }
images = { used = "squash" }
augment = { used = [] }
"""

SWEEP = """
title = "Gain"
method = "learner.py:Tiny"
row_header = ["gain"]
columns = [{ header = "cIoU", metric = "locacc" }, { header = "R@1", metric = "a2i_instance_r1" }]
rows = [
    { labels = ["one"], settings = { gain = 1 }, default = true },
    { labels = ["two"], settings = { gain = 2.0 } },
]
[scales.mine]
recipe = "recipe.toml"
train = "tiny/tiny.yaml"
test = "tiny/tiny.yaml"
protocol = "common"
"""

STEPS = """
    def loss(self, batch):
        from pathlib import Path
        from avbench.errors import AvbenchError

        steps = Path(__file__).with_name(f"steps-{self.config.gain}")
        with steps.open("a") as file:
            file.write("x")
        if steps.stat().st_size == 3 and Path(__file__).with_name(f"kill-{self.config.gain}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if Path(__file__).with_name(f"refuse-{self.config.gain}").exists():
            raise AvbenchError("this gain is refused: take another")
"""
"""Counts the steps of a training in a file; dies once, at the third step, the first of the second epoch."""


@pytest.fixture
def place(trainable_plugin, tiny_set, store, tmp_path, monkeypatch) -> Path:
    """A folder with a sweep of two rows, each a training of 2 epochs of 2 steps."""
    plugin = trainable_plugin.read_text().replace("\n    def loss(self, batch):\n", STEPS)
    (tmp_path / "learner.py").write_text(plugin)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "mine.toml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def steps(place, gain) -> int:
    return (place / f"steps-{gain}").stat().st_size


@pytest.fixture
def here(place, monkeypatch) -> Path:
    """The same, with units done in this process."""

    class Here(Local):
        def __call__(self, units, tell):
            reasons = {unit: attempt(str(unit)) for unit in units}
            return {unit: reason for unit, reason in reasons.items() if reason is not None}

    monkeypatch.setattr(command, "Local", Here)
    return place


def sweep(capsys, *options):
    """Exit code, JSON and stderr of ``avbench sweep mine.toml --json``."""
    code = main(["sweep", "mine.toml", "--json", *options])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_a_sweep_is_trained_once(capsys, here):
    code, found, said = sweep(capsys)
    assert code == 0
    assert "mine at the scale mine: 2 units, 2 to do" in said
    assert [unit["labels"] for unit in found["units"]] == [["one"], ["two"]]
    assert all(unit["record"]["n_scored"] == 5 and not unit["record"]["partial"] for unit in found["units"])
    assert "a2i_instance_r1" in found["units"][0]["record"]["metrics"]
    assert (steps(here, 1.0), steps(here, 2.0)) == (4, 4)
    again = sweep(capsys)
    assert again[:2] == (0, found)
    assert "2 units, 0 to do" in again[2]
    assert (steps(here, 1.0), steps(here, 2.0)) == (4, 4)


def test_the_default_row_is_found_where_a_training_left_it(capsys, here):
    split = str(here / "tiny/tiny.yaml")
    assert main(["train", "--method", "learner.py:Tiny", "--split", split, "--recipe", "recipe.toml"]) == 0
    capsys.readouterr()
    assert main(["sweep", "mine.toml", "--dry-run"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("trained  one, seed 0: the recipe's settings; ")
    assert second.startswith("new      two, seed 0: gain = 2.0; ")
    assert sweep(capsys)[0] == 0
    assert steps(here, 1.0) == 4
    assert main(["sweep", "mine.toml", "--dry-run"]) == 0
    assert all(line.startswith("done ") for line in capsys.readouterr().out.splitlines())


def test_epochs_and_seeds_are_other_units_and_stand_in_the_label(capsys, here):
    assert sweep(capsys)[0] == 0
    code, found, said = sweep(capsys, "--epochs", "1", "--seeds", "3,4", "--out", "table.md")
    assert code == 0
    assert "4 units, 4 to do" in said
    assert [(unit["labels"], unit["seed"], unit["epochs"]) for unit in found["units"]] == [
        (["one"], 3, 1),
        (["one"], 4, 1),
        (["two"], 3, 1),
        (["two"], 4, 1),
    ]
    assert len({unit["checkpoint"] for unit in found["units"]}) == 4
    text = (here / "table.md").read_text()
    assert text.startswith(
        "**Gain: trained on tiny by recipe, 1 epoch instead of 2; tested on tiny, protocol common, n = 5; mean ± "
        "standard deviation over the seeds 3, 4**"
    )
    shown = [unit["record"]["metrics"]["locacc"] for unit in found["units"][:2]]
    assert f"| one (default) | {50 * sum(shown):.2f} ± " in text


def test_a_unit_that_fails_leaves_a_blank_row_and_the_others_go_on(capsys, here):
    (here / "refuse-1.0").touch()
    code, found, said = sweep(capsys, "--out", "table.csv")
    assert code == 1
    assert said.splitlines()[-1] == "avbench: one, seed 0 failed: this gain is refused: take another"
    assert [unit["record"] is None for unit in found["units"]] == [True, False]
    assert found["units"][0]["failed"] == "this gain is refused: take another"
    rows = [line.split(",")[:3] for line in (here / "table.csv").read_text().splitlines()]
    assert rows[1] == ["one", "", ""]
    assert "" not in rows[2]
    (here / "refuse-1.0").unlink()
    assert sweep(capsys)[0] == 0
    assert steps(here, 2.0) == 4, "what was done is not done again"


def test_a_seed_that_is_missing_leaves_no_mean_over_the_others(capsys, here, monkeypatch):
    monkeypatch.setattr(command.Local, "__call__", lambda self, units, tell: {units[0]: "it rained"})
    assert main(["sweep", "mine.toml", "--seeds", "0,1"]) == 1
    captured = capsys.readouterr()
    assert "4 units failed, and their rows are blank." in captured.out
    assert "avbench: one, seed 0 failed: it rained" in captured.err
    assert "avbench: two, seed 1 failed: its worker ended without a result" in captured.err


def test_what_a_worker_says_of_bad_units(place, capsys):
    assert "cannot be read" in str(attempt("none.json"))
    write_json(place / "unit.json", {"where": {}})
    assert "expected the unit of a sweep in unit.json, found another form" in str(attempt("unit.json"))


def killed_at_gain_two(place):
    """The next training with gain 2 dies at its third step; four steps are a whole training."""
    (place / "kill-2.0").touch()


def test_a_killed_worker_loses_nothing(capsys, place):
    killed_at_gain_two(place)
    code, found, said = sweep(capsys, "--jobs", "2", "--workers", "0")
    assert code == 1
    assert "avbench: two, seed 0 failed: its process was ended by signal 9: the same command goes on" in said
    assert "one, seed 0: finished" in said
    assert [unit["record"] is None for unit in found["units"]] == [False, True]
    code, again, said = sweep(capsys, "--jobs", "2", "--workers", "0")
    assert code == 0
    assert "2 units, 1 to do" in said
    assert again["units"][0] == found["units"][0]
    assert again["units"][1]["record"]["n_scored"] == 5
    assert (steps(place, 1.0), steps(place, 2.0)) == (4, 5), "two, the one that was killed, and the two of epoch 2"


def test_ctrl_c_leaves_no_process_behind(place, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def interrupt(key, event):
        if len(started) == 2:
            raise KeyboardInterrupt

    units = [place / "a.json", place / "b.json", place / "c.json"]
    with pytest.raises(KeyboardInterrupt):
        Local(2)(units, interrupt)
    assert [process.returncode for process in started] == [-15, -15]


def test_a_worker_that_ends_without_a_sentence(place, monkeypatch):
    events = []
    (place / "a.log").write_text("avbench: of an earlier attempt\n")
    monkeypatch.setattr(locally.sys, "executable", "false")
    failed = Local(1)([place / "a.json"], lambda key, event: events.append((key, event)))
    assert failed == {place / "a.json": f"its process ended with code 1: {place / 'a.log'} says why"}
    assert [key for key, _ in events] == ["a", "a"]


def node() -> dict[str, int | bool]:
    """Of a small node. Its ports are chosen here: a raylet waits 15 s at most for ports that its agents choose."""
    agents = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("", 0))) for _ in agents]
        ports = dict(zip(agents, [one.getsockname()[1] for one in sockets], strict=True))
    return {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False, **ports}


@pytest.mark.filterwarnings("ignore")
def test_ray_on_two_nodes_finishes_though_a_worker_is_killed(capsys, place, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    killed_at_gain_two(place)
    cluster = Cluster(initialize_head=True, head_node_args=node())
    try:
        cluster.add_node(**node())
        code, found, said = sweep(capsys, "--launcher", "ray", "--ray-address", cluster.address, "--workers", "0")
    finally:
        cluster.shutdown()
    assert code == 0, said
    assert [unit["record"]["n_scored"] for unit in found["units"]] == [5, 5]
    assert (steps(place, 1.0), steps(place, 2.0)) == (4, 5), "it went on from the end of epoch 1"


@pytest.mark.filterwarnings("ignore")
def test_submitits_local_executor_finishes_though_a_job_is_killed(capsys, place):
    pytest.importorskip("submitit")
    killed_at_gain_two(place)
    options = ["--launcher", "slurm", "--slurm", "cluster=local,partition=none", "--jobs", "2", "--workers", "0"]
    code, found, said = sweep(capsys, *options)
    assert code == 0, said
    assert "died and is submitted again" in said
    assert [unit["record"]["n_scored"] for unit in found["units"]] == [5, 5]
    assert (steps(place, 1.0), steps(place, 2.0)) == (4, 5), "it went on from the end of epoch 1"
    assert (place / "runs/sweeps/slurm").is_dir()


def test_what_slurm_queues_again_is_the_path_alone(place):
    submission = SlurmUnit("unit.json").checkpoint()
    assert vars(submission.function) == {"path": "unit.json"}
    assert "expected a file of JSON at unit.json" in submission.function()


def test_slurm_that_is_not_there(place, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        UsageError, match="there is no SLURM here, since sbatch is not found: use --slurm cluster=local"
    ):
        OnSlurm(1, place / "slurm")([], print)
    with pytest.raises(UsageError, match="expected --slurm cluster=local or cluster=slurm, got 'lokal'"):
        OnSlurm(1, place / "slurm", {"cluster": "lokal"})([], print)
    with pytest.raises(UsageError, match=r"a parameter of --slurm is not understood \(.*'partitio'"):
        OnSlurm(1, place / "slurm", {"cluster": "local", "partitio": "gpu"})([], print)


@pytest.mark.parametrize(("launch", "extra"), [(OnRay(1), "ray"), (OnSlurm(1, Path("slurm")), "slurm")])
def test_a_missing_extra_is_named(monkeypatch, launch, extra):
    for module in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"which is not installed: pip install avbench\[{extra}\]"):
        launch([], print)


def test_values_of_the_recipe_are_other_units_and_stand_in_the_label(capsys, here):
    given = ["--recipe-set", "batch_size=5", "--recipe-set", "augment="]
    assert sweep(capsys, *given, "--out", "table.md")[0] == 0
    assert "batch_size 5 instead of" in (here / "table.md").read_text()
    assert main(["sweep", "mine.toml", "--dry-run", *given]) == 0
    assert all(line.startswith("done ") for line in capsys.readouterr().out.splitlines())
    assert main(["sweep", "mine.toml", "--dry-run"]) == 0
    assert all(line.startswith("new ") for line in capsys.readouterr().out.splitlines())
    for wrong, message in {"seed=1": "named with --seeds", "lr=x": "got 'x': correct 'lr=x'"}.items():
        assert main(["sweep", "mine.toml", "--dry-run", "--recipe-set", wrong]) == 2
        assert message in capsys.readouterr().err
