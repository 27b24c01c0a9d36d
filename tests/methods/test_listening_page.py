"""The plugin that docs/jsa_listening.md prints runs as printed."""

import re
from pathlib import Path

import pytest
import torch

from avbench.registry import find_method, load_class
from avbench.testing import build_slim, training_batch

PAGE = Path(__file__).parents[2] / "docs" / "jsa_listening.md"


def test_the_printed_plugin_trains_and_adds_its_term(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    file = tmp_path / "listening.py"
    file.write_text(code)
    method = build_slim(load_class(find_method(f"{file}:ListeningJSA"))).train()
    torch.manual_seed(0)
    terms = method.loss(training_batch(method))
    config = method.config
    weights = {"contrastive": config.lam0, "match": config.lam3, "divergence": config.lam2}
    weights |= {"reconstruction": config.lam1, "listen": config.lam4}
    wanted = sum(weight * terms[name].item() for name, weight in weights.items())
    assert terms["total"].item() == pytest.approx(wanted, rel=1e-5)
    terms["total"].backward()
