"""Recipe files with several sets, and the listing of their columns."""

from importlib.resources import files

import pytest

from avbench.cli import main
from avbench.data.splits import split_summary
from avbench.errors import UsageError
from avbench.recipe import load_recipe, recipe_names, recipe_summaries, recipe_table
from avbench.recipe_files import unfolded

SHARED = """
method = "ezvsl"
split = ""
selection = "last epoch"
[values]
epochs = { paper = "20", official = "20", used = 20 }
batch_size = { used = 2 }
optimizer = { used = "adam" }
lr = { paper = "1e-4", used = 0.1, why = "a test" }
weight_decay = { used = 0.0 }
schedule = { used = "constant" }
images = { used = "squash" }
augment = { official = ["flip", "masks"], used = ["flip", "masks_fixed"] }
[method_values]
tau = { used = 0.07 }
[sets.small]
summary = "few pairs"
split = "mine"
values.epochs = { used = 100 }
method_values.width = { used = 0.5 }
[sets.large]
summary = "many pairs"
"""


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "mine.toml"
    place.write_text(SHARED)
    return place


def test_a_set_overrides_what_is_shared(place):
    small, large = (load_recipe("ezvsl", f"{place}:{title}") for title in ("small", "large"))
    assert (small.name, small.epochs, small.split, small.summary) == ("mine-small", 100, "mine", "few pairs")
    assert (large.name, large.epochs, large.split, large.summary) == ("mine-large", 20, "", "many pairs")
    assert small.method_values == {"tau": 0.07, "width": 0.5}
    assert large.method_values == {"tau": 0.07}
    assert small.augment == large.augment == ("flip", "masks_fixed")
    assert (small.image_neighbours, small.audio_neighbours, small.seed) == ("", "", 0)


def test_neighbours_may_be_named(place):
    place.write_text(SHARED.replace("[method_values]", 'image_neighbours = { used = "resnet18" }\n[method_values]'))
    assert load_recipe("ezvsl", f"{place}:large").image_neighbours == "resnet18"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{place}",
            r"no set was asked of .*mine.toml, which has large, small: name one of its sets, as in .*toml:large",
        ),
        ("{place}:medium", r"the set 'medium' was asked of .*mine.toml, which has large, small"),
        ("{plain}:small", r"'small' was asked of .*plain.toml, which has no sets: it holds one recipe, .*plain.toml"),
    ],
)
def test_the_set_of_a_file_has_to_be_there(place, text, message):
    plain = place.with_name("plain.toml")
    plain.write_text(SHARED.partition("[sets")[0])
    with pytest.raises(UsageError, match=message):
        load_recipe("ezvsl", text.format(place=place, plain=plain))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[sets.small]", "[sets]", r"expects tables under sets, got \{'summary': 'few pairs'"),
        ("values.epochs = { used = 100 }", "values = 3", r"mine-small expects a table under values, got 3"),
        ("values.epochs = { used = 100 }", "values.epochs = 3", r"mine-small gives epochs no value"),
        ('summary = "few pairs"', "", r"mine-small lacks summary"),
        ('split = "mine"', 'spilt = "mine"', r"no recipe value called 'spilt': did you mean split"),
        ('why = "a test"', 'because = "a test"', r"no column of the recipe mine-small called 'because'"),
        ('"masks_fixed"]', '"masks_fixed", "masks"]', r"masks twice"),
    ],
)
def test_a_file_of_sets_with_a_mistake(place, old, new, message):
    place.write_text(SHARED.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe("ezvsl", f"{place}:small")


def test_the_published_recipes_differ_in_what_the_sets_ask_for():
    epochs = {name: load_recipe("ezvsl", name).epochs for name in ("vggsound-10k", "vggsound-144k", "flickr-10k")}
    assert epochs == {"vggsound-10k": 100, "vggsound-144k": 20, "flickr-10k": 100}
    assert load_recipe("jsa", "vggsound-10k").batch_size == load_recipe("jsa", "flickr-144k").batch_size == 256


def test_a_recipe_may_be_called_by_its_whole_name():
    assert load_recipe("ezvsl", "ezvsl-vggsound-10k") == load_recipe("ezvsl", "vggsound-10k")
    with pytest.raises(UsageError, match=r"no recipe called 'jsa-ezvsl-vggsound-10k'"):
        load_recipe("jsa", "ezvsl-vggsound-10k")


def test_a_file_that_names_no_method_says_so(capsys, place):
    place.write_text(SHARED.replace('method = "ezvsl"', ""))
    assert main(["list", "recipes", "--show", f"{place}:small"]) == 2
    assert "the recipe mine-small does not say which method it is for: write method" in capsys.readouterr().err


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(
        UsageError, match=r"expected a recipe file at .*d.toml, which cannot be read \(Is a directory\)"
    ):
        load_recipe("ezvsl", str(tmp_path / "d.toml"))


def test_every_recipe_of_the_package_is_listed_once():
    stems = [entry.name.removesuffix(".toml") for entry in files("avbench.recipes").iterdir() if ".toml" in entry.name]
    assert [name for name, _ in recipe_summaries()] == recipe_names()
    assert all(any(name == stem or name.startswith(f"{stem}-") for name in recipe_names()) for stem in stems)
    for name in recipe_names():
        assert recipe_table(name)[0] == ("value", "paper", "official", "used", "why")


@pytest.mark.parametrize("name", [name for name in recipe_names() if not name.endswith("demo")])
def test_a_published_recipe_names_a_list_to_train_on_where_the_list_is_known(name):
    method, _, title = name.partition("-")
    split = load_recipe(method, name).split
    unknown = method == "lvs" or name in {"fnac-vggsound-10k", "fnac-vggsound-144k"}
    assert split == ("" if unknown else title)
    assert not split or split_summary(split).purpose == "train"


def test_two_files_cannot_give_one_name():
    found = [name for stem, text in _texts() for name in unfolded(stem, text)]
    assert len(found) == len(set(found)) == len(recipe_names())


def _texts():
    import tomllib

    for entry in files("avbench.recipes").iterdir():
        if entry.name.endswith(".toml"):
            yield entry.name.removesuffix(".toml"), tomllib.loads(entry.read_text())


def test_the_columns_of_a_recipe(place):
    rows = {row[0]: row[1:] for row in recipe_table(f"{place}:small")}
    assert rows["lr"] == ("1e-4", "", "0.1", "a test")
    assert rows["epochs"] == ("", "", "100", "")
    assert rows["augment"] == ("", "flip, masks", "flip, masks_fixed", "")
    assert rows["width"] == ("", "", "0.5", "")


def test_the_columns_are_printed(capsys):
    assert main(["list", "recipes", "--show", "ezvsl-vggsound-10k"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["value", "paper", "official", "used", "why"]
    assert lines[2].split() == ["epochs", "100", "100"]
    assert {line.find("IMAGENET1K_V1") for line in lines} - {-1} == {lines[0].index("official")}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["recipes", "--show", "ezvsl-vggsound"], "no recipe called 'ezvsl-vggsound': did you mean ezvsl-vggsound-10k"),
        (["splits", "--show", ""], "expected --show NAME, got '': avbench list splits shows the names"),
        (["methods", "--show", "jsa"], "for metrics, protocols, recipes, splits, not for methods: leave it out"),
    ],
)
def test_what_cannot_be_shown(capsys, command, message):
    assert main(["list", *command]) == 2
    assert message in capsys.readouterr().err
