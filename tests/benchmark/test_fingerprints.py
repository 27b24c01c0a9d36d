"""What the keys of results and checkpoints are taken of."""

import subprocess
import sys

import pytest

from avbench.request import PREDICTING
from avbench.store import PACKAGE
from avbench.trained import TRAINING

BESIDE = {"__init__", "broken", "coverage", "describing", "official", "regular", "sharding", "training_set"}
"""Modules of avbench.data that change no prediction: they say what is there, refuse, or serve training alone."""

BESIDE_TRAINING = {
    *("__init__", "audio_modes", "coverage", "describing", "official", "regular", "readers", "readers_lists"),
    *("readers_multisource", "readers_pairs", "readers_strict", "readers_xml", "user_sets", "user_tables"),
    *("pack_manifest", "packs", "shards"),
}
"""Those that change nothing of a training on the demo world, the only one that is looked up by its key."""


@pytest.mark.parametrize(
    ("modules", "sources", "beside"),
    [
        ("avbench.predicting, avbench.data.packs", PREDICTING, BESIDE),
        ("avbench.training, avbench.data.demo", TRAINING, BESIDE_TRAINING),
    ],
)
def test_a_key_covers_every_module_of_the_data_path(modules, sources, beside):
    code = f"import {modules}, sys; print(*(m for m in sys.modules if m.startswith('avbench.data.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix("avbench.data.") for name in done.stdout.split()}
    assert "decoding" in loaded
    named = {source.removeprefix("data/").removesuffix(".py") for source in sources}
    assert loaded - named - beside == set()


@pytest.mark.parametrize("source", sorted({*PREDICTING, *TRAINING}))
def test_every_source_of_a_key_is_there(source):
    assert (PACKAGE / source).exists() or (PACKAGE.parent / source).exists()
