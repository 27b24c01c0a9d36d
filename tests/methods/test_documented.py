"""docs/methods.md names every setting of every method that can be trained."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from avbench.registry import describe, find_method, load_class, method_names

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
TRAINABLE = [name for name in method_names() if (i := describe(find_method(name))).trainable and not i.control]


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_setting_is_on_the_page(name):
    opening, *sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{name}\n")]
    told = set(re.findall(r"`(\w+)`", opening + section))
    assert {f.name for f in fields(load_class(find_method(name)).config_class)} <= told
