"""The leaderboard as one HTML file that holds its data, style and script, and opens from disk."""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.leaderboards.rows import percent

FOLDER = Path(__file__).parent

SCRIPTS = (
    "dom.js",
    "words.js",
    "address.js",
    "plots.js",
    "bump.js",
    "table.js",
    "board.js",
    "moves.js",
    "method.js",
    "gallery.js",
    "published.js",
    "page.js",
)
"""The parts of the page's script, joined in this order into one module."""


def render(data: Mapping[str, Any]) -> str:
    """The page, the same text for the same data.

    The data stand in it once, as gzip in base64, which the script unpacks. The first board stands there as a plain
    table too, for readers without script. A policy in the head forbids every request, and every script or style but
    its own.

    Args:
        data: ``title``, ``generated``, ``metrics``, ``protocols``, ``splits``, ``methods``, ``boards``, ``moves``,
            ``pages``, ``gallery``, ``files`` and ``published``, of values that JSON has; the order of the mappings is
            the order shown. Metrics, intervals and drops are fractions in [0, 1], NaN given as None.

    Raises:
        ValueError: for a number that JSON has not, such as NaN.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _read("page.css"), "\n".join(_read(name) for name in SCRIPTS)
    return pages.get_template("page.html").render(
        title=data["title"],
        generated=data["generated"],
        first=_plain(data),
        packed=_packed(data),
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
    )


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _packed(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _plain(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first board as text: its heading, column titles and cells; None where there is no board."""
    if not data["boards"]:
        return None
    board, metrics = data["boards"][0], data["metrics"]
    return {
        "title": data["splits"][board["split"]]["title"],
        "about": f"{board['protocol']}, version {board['version']}; {board['badge']}; {board['n']} samples.",
        "headings": [metrics[name]["display"] for name in board["metrics"]],
        "rows": [_plain_row(row, board["metrics"], metrics) for row in board["rows"]],
        "notes": board["notes"],
    }


def _plain_row(row: Mapping[str, Any], shown: list[str], metrics: Mapping[str, Any]) -> dict[str, Any]:
    rank = row["ranks"].get(shown[0])
    return {
        "rank": "" if rank is None else str(rank),
        "title": row["title"],
        "control": row["control"],
        "selection": row["selection"],
        "listens": row["listens"]["verdict"] if row["listens"] else "",
        "cells": [_plain_cell(row, name, metrics[name]["decimals"]) for name in shown],
    }


def _plain_cell(row: Mapping[str, Any], name: str, decimals: int) -> tuple[str, str]:
    value, interval = row["values"].get(name), row["intervals"].get(name)
    if value is None:
        return "", ""
    return percent(value, decimals), f"{percent(interval[0], 1)} to {percent(interval[1], 1)}" if interval else ""
