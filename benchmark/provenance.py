"""Where a number comes from: versions, revision, machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import avbench
from avbench.store import PACKAGE

LIBRARIES = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "pillow", "soundfile", "safetensors")


def software() -> dict[str, Any]:
    """Versions of avbench, Python and the libraries that move numbers, and the git revision of a source checkout."""
    return {
        "avbench": avbench.__version__,
        "python": platform.python_version(),
        "git": _revision(PACKAGE.parent),
        **{name: version(name) for name in LIBRARIES},
    }


def machine(device: str) -> dict[str, Any]:
    """The device's name and what it computes with; imports torch."""
    import torch

    name = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    return {
        "device": device,
        "name": name,
        "cuda": torch.version.cuda if device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
        "platform": sys.platform,
    }


def _revision(folder: Path) -> dict[str, Any] | None:
    """Commit and whether tracked files differ from it; None outside a checkout of avbench."""
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
