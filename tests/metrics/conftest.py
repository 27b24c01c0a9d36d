"""The worked examples and the second implementation: loops over pixels, written from the formulas."""

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def examples(shared: Path) -> Callable[[str, str], list[dict[str, Any]]]:
    """All worked examples of a metric's variant, with "nan" turned into numbers."""
    text = (shared / "examples" / "worked_examples.json").read_text(encoding="utf-8")
    cases = json.loads(re.sub(r'"nan"(?=[,\]}])', "NaN", text))["cases"]

    def pick(metric: str, variant: str) -> list[dict[str, Any]]:
        found = [case for case in cases if (case["metric"], case["variant"]) == (metric, variant)]
        assert len(found) > 20
        return found

    return pick


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """A few samples of the official evaluators' runs; the file says which."""
    return json.loads((GOLDEN / "metrics_evaluators.json").read_text(encoding="utf-8"))


class Loops:
    """One number at a time, in plain Python floats."""

    @staticmethod
    def normalised(rows: list[list[float]]) -> list[list[float]]:
        cells = [v for row in rows for v in row]
        if any(math.isnan(v) for v in cells):
            return [[math.nan] * len(row) for row in rows]
        low, high = min(cells), max(cells)
        return rows if low == high else [[(v - low) / (high - low) for v in row] for row in rows]

    @staticmethod
    def half_mask(rows: list[list[float]], below: float = 0.5, strict: bool = False) -> list[list[bool]]:
        cells = sorted((v for row in rows for v in row), key=lambda v: (math.isnan(v), v))
        edge = cells[int(below * len(cells))]
        return [[v > edge if strict else v >= edge for v in row] for row in rows]

    @staticmethod
    def ciou(mask: list[list[bool]], truth: list[list[float]]) -> float:
        inside = whole = wrong = 0.0
        for mask_row, truth_row in zip(mask, truth, strict=True):
            for on, weight in zip(mask_row, truth_row, strict=True):
                inside += weight if on else 0
                whole += weight
                wrong += 1 if on and weight == 0 else 0
        return inside / (whole + wrong) if whole + wrong else math.nan

    @staticmethod
    def area(values: list[float]) -> float:
        shares = [sum(v >= 0.05 * k for v in values) / len(values) for k in range(21)]
        return sum(0.05 * (a + b) / 2 for a, b in pairwise(shares))


@pytest.fixture
def loops() -> type[Loops]:
    return Loops
