"""avbench: the referee of self-supervised audio-visual sound source localization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_method"]

if TYPE_CHECKING:
    from avbench.api import evaluate, load_method


def __getattr__(name: str) -> Any:
    """Load the public functions on first use: importing avbench imports neither torch nor pandas."""
    if name in {"evaluate", "load_method"}:
        from avbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'avbench' has no attribute {name!r}")
