"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of official annotation files, goldens and real media; skips where it is not at hand."""
    place = os.environ.get("AVBENCH_SHARED")
    if not place:
        pytest.skip("AVBENCH_SHARED does not name the folder of official files and goldens")
    return Path(place)
