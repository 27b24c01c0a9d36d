"""Training with the boxes of some clips, from the list to the checkpoint."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from avbench.data.splits import load_split
from avbench.methods.attention10k import Attention10k
from avbench.methods.slavc import SLAVC
from avbench.recipe import load_recipe
from avbench.registry import find_method
from avbench.training import Training, train

SLIM = {
    "slavc": {"width": 1 / 16, "out_dim": 8, "dropout_img": 0.0},
    "attention10k": {"width": 1 / 16},
}
CLASSES = {"slavc": SLAVC, "attention10k": Attention10k}


@pytest.fixture
def half_annotated(tiny_set):
    """The set of five samples, of which the boxes of the second and the fourth are not known."""
    place = tiny_set.with_name("annotations.json")
    entries = json.loads(place.read_text())
    for entry in entries[1::2]:
        entry |= {"bbox": [], "sounding": False}
    place.write_text(json.dumps(entries))
    return tiny_set


@pytest.fixture
def fit(half_annotated, tmp_path):
    """Train a method by its recipe for the demo world's boxes, slim; returns its folder."""

    def work(name, *, epochs=2, annotated=1.0, **settings):
        used = {"epochs": epochs, "batch_size": 4, "augment": ("flip",), "annotated": annotated}
        recipe = replace(load_recipe(name, "semi-demo"), **used)
        out = tmp_path / "-".join([name, *map(str, settings.values())])
        ref, split = find_method(name), load_split(str(half_annotated))
        return train(Training(ref, recipe, split, out, {**SLIM[name], **settings}, torch.device("cpu")))

    return work


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def seen(monkeypatch):
    """The batches that the methods were given, in order."""
    found = []

    def spy(loss):
        return lambda self, batch: (found.append(batch), loss(self, batch))[1]

    for cls in CLASSES.values():
        monkeypatch.setattr(cls, "loss", spy(cls.loss))
    return found


@pytest.mark.parametrize("name", sorted(SLIM))
def test_annotated_and_other_clips_share_a_batch(fit, seen, name):
    rows = log_of(fit(name))
    assert [sorted(set(batch.annotated.tolist())) for batch in seen] == [[False, True]] * len(rows)
    for batch in seen:
        known = {f"clip_{number:03d}" for number in (0, 2, 4)}
        assert batch.annotated.tolist() == [sample in known for sample in batch.ids]
        assert [bool(truth.any()) for truth in batch.truth] == batch.annotated.tolist()
    assert all(row["supervised"] > 0 for row in rows)


def test_a_share_of_the_annotated_clips_is_the_same_in_every_epoch(fit, seen):
    fit("attention10k", epochs=4, annotated=0.4)  # of clip_000, clip_002 and clip_004, which lie at 0.42, 0.39, 0.22
    assert len({name for batch in seen for name in batch.ids}) == 5
    for batch in seen:
        assert batch.annotated.tolist() == [name in {"clip_002", "clip_004"} for name in batch.ids]
        assert [bool(truth.any()) for truth in batch.truth] == batch.annotated.tolist()


@pytest.mark.parametrize(
    ("name", "form"), [("slavc", "squared"), ("attention10k", "official"), ("attention10k", "squared")]
)
def test_the_boxes_lower_their_term(fit, name, form):
    rows = log_of(fit(name, epochs=6, supervised=form))
    assert all(row["total"] == pytest.approx(row["supervised"] + others(row)) for row in rows)
    found = [row["supervised"] for row in rows]
    assert sum(found[-2:]) < sum(found[:2])


def others(row):
    return sum(value for name, value in row.items() if name in {"contrastive", "i2a", "a2i"})


def test_slavcs_squared_term_trains_and_its_official_one_does_not(fit):
    plain, official, squared = (fit("slavc", supervised=form) for form in ("off", "official", "squared"))
    assert all("supervised" not in row for row in log_of(plain))
    assert all(row["supervised"] > 0 for row in log_of(official))
    one, other, changed = (load_file(folder / "model.safetensors") for folder in (plain, official, squared))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(one["imgnet.layer4.1.conv2.weight"], changed["imgnet.layer4.1.conv2.weight"])
