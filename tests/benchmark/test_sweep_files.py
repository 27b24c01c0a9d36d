"""Sweep files: the packaged ones against the published tables, strict reading, what is trained for a row."""

import copy
import subprocess
import sys
import tomllib
from dataclasses import replace

import pytest
import yaml

from avbench.cli import main
from avbench.commands.sweep_output import _header, as_table
from avbench.errors import UsageError
from avbench.registry import find_method, load_class
from avbench.sweeping.files import load_sweep, parse_sweep, sweep_names
from avbench.sweeping.plan import Choices, check_settings, make_plan
from avbench.sweeping.settings import defaults_of, shortest
from avbench.sweeping.unit import Where, recipe_called

EXACT = ("jsa-supp-3", "jsa-supp-4", "jsa-supp-5", "jsa-supp-6", "alignment-8", "alignment-9")
"""Sweeps that have the rows and columns of the table that they follow."""

METRICS = {"cIoU": "locacc", "AUC": "auc"} | {
    f"{way.upper()}_R@{k}": f"{way}_instance_r{k}" for way in ("a2i", "i2a") for k in (1, 5, 10)
}
"""Name of a metric in the published tables -> id."""

OURS = {"slot_iters": "iters", "nn_k": "k"}
"""Name of a setting in the published tables -> ours, where they differ."""


@pytest.fixture(scope="module")
def published(shared):
    return {table["id"]: table for table in yaml.safe_load((shared / "published/tables.yaml").read_text())["tables"]}


def where(tmp_path) -> Where:
    return Where(str(tmp_path), str(tmp_path / "home"), str(tmp_path / "runs"))


def test_the_packaged_sweeps():
    assert sweep_names() == sorted([*EXACT, "oassl-supp-3-like"])


@pytest.mark.parametrize("name", EXACT)
def test_rows_and_columns_are_those_of_the_published_table(published, name):
    sweep, table = load_sweep(name), published[name]
    assert sweep.follows == name
    assert list(sweep.row_header) == table["row_header"]
    assert [(c.header, c.metric) for c in sweep.columns] == [
        (c["header"], METRICS[c["metric"]]) for c in table["columns"]
    ]
    assert sweep.transposed == table.get("orientation", "").startswith("transposed")
    wanted = [_labels(row, len(sweep.row_header)) for row in table["rows"]]
    assert [row.labels for row in sweep.rows] == wanted


def _labels(row, width):
    keys = tuple(map(str, row.get("row_keys", ())))
    return keys if len(keys) == width else (row["label"], *keys)


@pytest.mark.parametrize("name", EXACT)
def test_settings_are_those_of_the_published_rows(published, name):
    for row, printed in zip(load_sweep(name).rows, published[name]["rows"], strict=True):
        assert row.settings == _settings(printed["method_variant"].rpartition(":")[2]), row.labels


def _settings(variant):
    found = {OURS.get(key, key): tomllib.loads(f"value = {value}")["value"] for key, value in _pairs(variant)}
    if "n_target_slots" in found:
        return {"num_targets": found["n_target_slots"], "num_slots": sum(found.values())}
    marks = {"semantic", "multi_view", "feature_alignment"}
    return {key: bool(value) if key in marks else value for key, value in found.items()}


def _pairs(variant):
    return [pair.split("=") for pair in variant.split(";")]


@pytest.mark.parametrize("name", EXACT)
def test_the_default_row_is_the_papers_and_the_methods_own_setting(published, shared, name):
    text = (shared / f"published/{name}.csv").read_text()
    variants = {line.split(",")[4] for line in _rows(text) if "default_row" in line}
    sweep = load_sweep(name)
    (default,) = [row for row in sweep.rows if row.default]
    (variant,) = variants
    assert default.settings == _settings(variant.rpartition(":")[2])
    ref = find_method(sweep.method)
    base = {**defaults_of(ref), **recipe_called(ref.name, sweep.scales["paper"].recipe).method_values}
    assert shortest(default.settings, base) == {}, "so that the default row of four tables is trained once"


def _rows(text):
    """Lines with the quoted caption taken out, whose commas are no separators."""
    for line in text.splitlines()[1:]:
        before, quote, rest = line.partition(',"')
        yield f"{before},-{rest.partition(chr(34))[2]}" if quote and before.count(",") == 1 else line


def test_the_grid_of_two_weights_has_the_published_shape(published):
    sweep, table = load_sweep("oassl-supp-3-like"), published["oassl-supp-3"]
    rows = [row for row in table["rows"] if row["method"] == "OA-SSL"]
    pairs = [tuple(map(float, row["row_keys"])) for row in rows]
    assert [(row.settings["lam3"] / 100, row.settings["lam1"]) for row in sweep.rows] == pairs
    assert [column.header for column in sweep.columns] == [column["header"] for column in table["columns"]]
    assert [row.repeats for row in sweep.rows].count(True) == 1


@pytest.mark.parametrize("name", [*EXACT, "oassl-supp-3-like"])
def test_recipes_and_settings_fit_the_method_at_every_scale(name):
    sweep = load_sweep(name)
    ref = find_method(sweep.method)
    for title, scale in sweep.scales.items():
        recipe = recipe_called(ref.name, scale.recipe)
        for row in sweep.rows:
            load_class(ref).config_class(**{**recipe.method_values, **row.settings_at(title)})


def test_defaults_are_read_without_importing_the_method():
    for name in ("jsa", "alignment", "fnac"):
        ref = find_method(name)
        config = load_class(ref).config_class
        assert defaults_of(ref) == {key: field.default for key, field in config.__dataclass_fields__.items()}
    code = (
        "from avbench.registry import find_method; from avbench.sweeping.settings import defaults_of; import sys; "
        "print(defaults_of(find_method('jsa'))['iters'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]


def test_defaults_that_are_not_written_plainly_are_asked_of_the_class(tmp_path):
    place = tmp_path / "computed.py"
    place.write_text(
        "from dataclasses import dataclass\nfrom avbench.registry import register_method\n"
        "@dataclass(frozen=True)\nclass Config:\n    gain: float = 2 * 3.0\n"
        '@register_method("computed", config=Config)\nclass Computed:\n    """None."""\n'
    )
    assert defaults_of(find_method(f"{place}:Computed")) == {"gain": 6.0}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"a": 1.0}, {}),
        ({"a": 1}, {}),
        ({"a": 2}, {"a": 2.0}),
        ({"n": 1}, {}),
        ({"n": True}, {"n": True}),
        ({"x": 1}, {"x": 1}),
    ],
)
def test_what_the_recipe_has_alike_is_left_out(given, left):
    short = shortest(given, {"a": 1.0, "n": 1})
    assert short == left
    assert [type(value) for value in short.values()] == [type(value) for value in left.values()]


WHOLE = tomllib.loads("""
title = "T"
method = "jsa"
row_header = ["N"]
columns = [{ header = "cIoU", metric = "locacc" }]
rows = [
    { labels = ["1"], settings = { iters = 1 } },
    { labels = ["2"], settings = { iters = 2 }, at.demo = { iters = 3 } },
]
[scales.demo]
recipe = "demo"
train = "demo-train"
test = "demo"
protocol = "jsa"
why = "a reason"
""")


def changed(*path, value):
    content = copy.deepcopy(WHOLE)
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


def test_a_whole_file_is_read():
    sweep = parse_sweep("mine", WHOLE)
    assert [row.settings_at("demo") for row in sweep.rows] == [{"iters": 1}, {"iters": 3}]
    assert sweep.scale(None) == "demo"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("titel",), "T", r"no key of the sweep mine called 'titel': did you mean title\?"),
        (("title",), "", "the sweep mine expects a text under title, got ''"),
        (("title",), None, "the sweep mine lacks title"),
        (("rows",), [], r"expects at least one table under rows, got \[\]"),
        (("rows",), None, "the sweep mine lacks rows"),
        (("columns",), [], r"expects at least one table under columns, got \[\]"),
        (("scales",), {}, "expects at least one table with a name under scales"),
        (("scales", "demo"), 3, "expects at least one table with a name under scales"),
        (("row_header",), "N", "expects a list of texts under row_header, got 'N'"),
        (("transposed",), "yes", "expects true or false under transposed, got 'yes'"),
        (("notes",), [1], r"expects a list of texts under notes, got \[1\]"),
        (("columns", 0, "metric"), "cIou", "there is no metric called 'cIou': did you mean ciou"),
        (("columns", 0, "metrics"), "auc", "there is no key of a column of the sweep mine called 'metrics'"),
        (("rows", 0, "labels"), ["1", "2"], "row 1 of the sweep mine expects a label for each of N, got 1, 2"),
        (("rows", 0, "labels"), ["2"], "rows 1 and 2 of the sweep mine are both labelled 2"),
        (("rows", 0, "settings"), {"iter": 1}, r"no setting of jsa called 'iter': did you mean iters"),
        (("rows", 0, "settings"), {"iters": [1]}, "row 1 of the sweep mine expects a table of settings"),
        (("rows", 0, "settings"), {"iters": float("inf")}, "row 1 of the sweep mine expects a table of settings"),
        (
            ("rows", 0, "settings"),
            {"iters": 3},
            "rows 1 and 2 of the sweep mine have the same settings at the scale demo",
        ),
        (("rows", 1, "repeats"), True, "row 2 of the sweep mine repeats no row before it at the scale demo"),
        (("rows", 1, "at"), {"paper": {"iters": 3}}, "row 2 of the sweep mine sets iters at paper: say why"),
        (("rows", 1, "at"), {"demo": 3}, "row 2 of the sweep mine expects a table of settings by scale under at"),
        (("scales", "demo", "why"), None, "row 2 of the sweep mine sets iters at demo: say why, under scales.demo"),
        (("scales", "demo", "test"), None, "the scale demo of the sweep mine lacks test"),
        (("scales", "demo", "protocol"), "jsb", "there is no protocol called 'jsb': did you mean jsa"),
        (("method",), "jsb", "there is no method called 'jsb': did you mean jsa"),
    ],
)
def test_a_mistake_is_one_sentence(path, value, message):
    with pytest.raises(UsageError, match=message):
        parse_sweep("mine", changed(*path, value=value))


def test_names_and_files_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no sweep called 'jsa-sup-3': did you mean jsa-supp-3 .*avbench list sweeps"):
        load_sweep("jsa-sup-3")
    with pytest.raises(UsageError, match=r"expected a sweep file, found nothing at .*none\.toml"):
        load_sweep(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("title = ")
    with pytest.raises(UsageError, match=r"expected TOML in the sweep .*bad\.toml, which has an error"):
        load_sweep(str(tmp_path / "bad.toml"))


def test_a_scale_that_is_not_there():
    sweep = load_sweep("jsa-supp-3")
    assert sweep.scale(None) == "demo"
    with pytest.raises(UsageError, match="the sweep jsa-supp-3 has no scale 'small': use --scale paper or demo"):
        sweep.scale("small")


def test_a_setting_of_the_wrong_type_is_refused_before_anything_is_trained(tmp_path):
    content = changed("rows", 0, "settings", value={"iters": "many"})
    sweep = replace(parse_sweep("mine", content), scales={"paper": load_sweep("jsa-supp-3").scales["demo"]})
    plan = make_plan(sweep, Choices(where(tmp_path), dry=True))
    with pytest.raises(UsageError, match="a setting of JSAConfig has the wrong type"):
        check_settings([entry.unit for entry in plan.entries])


def test_what_has_nothing_to_train_is_no_sweep(tmp_path):
    content = {**changed("rows", value=[{"labels": ["1"], "settings": {}}]), "method": "disc"}
    with pytest.raises(UsageError, match="is of disc, which has nothing to train"):
        make_plan(parse_sweep("mine", content), Choices(where(tmp_path)))


def test_a_dry_run_lists_each_unit_once_and_the_default_row_is_one_unit(capsys, tmp_path):
    default = set()
    for name, count in {"jsa-supp-3": 5, "jsa-supp-6": 5, "oassl-supp-3-like": 7}.items():
        assert main(["sweep", name, "--dry-run", "--runs", str(tmp_path / "runs")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len({line.rpartition("; ")[2] for line in lines}) == len(lines) == count, name
        default |= {line.rpartition("; ")[2] for line in lines if "the recipe's settings" in line}
    assert len(default) == 1


def test_a_dry_run_at_the_papers_scale_needs_no_media(capsys, shared, tmp_path):
    options = ["--scale", "paper", "--metadata", str(shared / "metadata"), "--runs", str(tmp_path)]
    assert main(["sweep", "jsa-supp-3", "--dry-run", *options]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "unknown  1, seed 12345: iters = 1; known when --data names the media"
    assert main(["sweep", "jsa-supp-3", *options]) == 2
    assert "--data" in capsys.readouterr().err


def test_the_demo_says_that_it_is_no_paper_and_where_its_settings_differ(tmp_path):
    plan = make_plan(load_sweep("jsa-supp-4"), Choices(where(tmp_path), changes={"epochs": 1}))
    table = as_table(plan)
    assert table.caption == (
        "JSA: k of the k-reciprocal false-negative filter (the shape of jsa-supp-4): demo world, not comparable with "
        "the paper's numbers; trained on demo-train by jsa-demo, 1 epoch instead of 5; tested on demo, protocol jsa, "
        "n = 400; seed 0"
    )
    assert table.rows[1].labels == ("20 (here reciprocal_k = 5)",)
    assert table.rows[1].default
    assert table.notes == (
        "Settings of their own at this scale: a quarter of the paper's k, rounded up, for batches of 64 instead of "
        "256; the recipe itself has k = 0.",
    )


def test_the_list_of_sweeps(capsys):
    assert main(["list", "sweeps"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sweep_names()
    assert lines[2].split(None, 3)[1:] == ["5", "rows", "JSA: number of slot-attention iterations"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "expected --jobs of at least 1, got 0"),
        (["--out", "table.html"], "expected --out FILE ending in .md, .csv or .tex"),
        (["--seeds", "1,x"], "expected --seeds as whole numbers from 0, separated by commas, got '1,x'"),
        (["--seeds", "1,1"], "the seed '1' is named twice"),
        (["--launcher", "rai"], "there is no launcher called 'rai': did you mean ray?"),
        (["--ray-gpus", "1"], "--ray-gpus is for --launcher ray, this is --launcher local"),
        (["--launcher", "ray", "--slurm", "a=b"], "--slurm is for --launcher slurm, this is --launcher ray"),
        (["--launcher", "ray", "--ray-cpus", "-1"], "expected --ray-cpus of at least 0, got -1"),
        (["--launcher", "slurm", "--slurm", "partition"], "expected --slurm KEY=VALUE, each key once, got 'partition'"),
        (["--neighbours", "sound=x"], "expected --neighbours image=SOURCE and audio=SOURCE, each once, got 'sound=x'"),
    ],
)
def test_options_that_contradict(capsys, options, message):
    assert main(["sweep", "jsa-supp-3", "--dry-run", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("test", "header"), [("vggss-4655", "VGG-SS / cIoU"), ("demo", "demo / cIoU")])
def test_a_header_names_no_test_list_but_that_of_the_table(test, header):
    assert _header("VGG-SS / cIoU", test) == header
