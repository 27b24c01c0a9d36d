"""What the page shows, from entries: boards, moves between protocols, pages of methods, a gallery, files."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import avbench
from avbench.data.splits import Split, split_names, split_summary
from avbench.leaderboards.board_moves import Moving, moving
from avbench.leaderboards.board_pools import pools
from avbench.leaderboards.boards import Board, Line, Listens, boards, family
from avbench.leaderboards.entries import Entry
from avbench.leaderboards.sensitivity import is_control, sensitivity
from avbench.metrics.catalogue import METRICS
from avbench.metrics.protocols import PROTOCOLS
from avbench.metrics.resampling import RESAMPLES
from avbench.opening import Progress, silent
from avbench.pages.gallery import gallery, has_maps
from avbench.pages.methods import page_of, plain_record
from avbench.records import SELECTIONS

TITLE = "avbench leaderboard"


@dataclass(frozen=True)
class Site:
    """What a page is made of.

    Attributes:
        entries: accepted ones, and a user's own.
        pictures: the split of the gallery with its media; None leaves the gallery out.
        published: the papers' tables, as the page's contract has them.
        resamples: of the bootstrap behind intervals and ties.
    """

    entries: tuple[Entry, ...]
    pictures: Split | None
    published: tuple[dict[str, str], ...] = ()
    resamples: int = RESAMPLES


def site_data(site: Site, progress: Progress = silent) -> dict[str, Any]:
    """The data of :func:`avbench.leaderboards.site.page.render`, a pure function of what the site is made of."""
    found = _boards(site, progress)
    records = sum(len(entry.records) for entry in site.entries)
    return {
        "title": TITLE,
        "generated": {
            "avbench": avbench.__version__,
            "entries": len(site.entries),
            "records": records,
            "note": _note(site.entries),
        },
        "metrics": {name: _metric(name) for name in _shown_metrics(found)},
        "protocols": {board.protocol: _protocol(board) for board in found},
        "splits": {board.split: _split(board) for board in found},
        "methods": {name: _method(group) for name, group in _by_method(site.entries)},
        "boards": [_board(number, board) for number, board in enumerate(found)],
        "moves": [moves for moves in map(_moves, moving(pools(site.entries))) if moves],
        "pages": {name: page_of(group) for name, group in _by_method(site.entries)},
        "gallery": None if site.pictures is None else gallery(site.pictures, _pictured(site)),
        "files": {entry.name: _file(entry) for entry in sorted(site.entries, key=_place) if entry.badge != "local"},
        "published": list(site.published),
    }


def _note(entries: Sequence[Entry]) -> str:
    own = sum(entry.badge == "local" for entry in entries)
    if not own:
        return "Written by avbench site from accepted records; every number can be traced to its file."
    rest = f"{len(entries) - own} accepted ones and {own}" if own < len(entries) else "results"
    return f"Written by avbench site from {rest} of a runs folder, which nobody has accepted."


def _boards(site: Site, progress: Progress) -> list[Board]:
    splits = sorted({entry.split for entry in site.entries})
    found = []
    with progress("ranking", len(splits)) as advance:
        for split in splits:
            found += boards(site.entries, splits=(split,), resamples=site.resamples)
            advance(1)
    return found


def _by_method(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for name, group in groupby(sorted(entries, key=_place), key=lambda entry: entry.method):
        yield name, list(group)


def _place(entry: Entry) -> tuple[str, str, int, str, str, str]:
    """Where an entry stands among others, whatever order they came in."""
    return entry.method, entry.split, SELECTIONS.index(entry.selection), entry.key, entry.badge, str(entry.path)


def _shown_metrics(found: Sequence[Board]) -> list[str]:
    shown = {metric for board in found for metric in board.metrics} | {"locacc", "auc"}
    return [name for name in METRICS if name in shown]


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "display": metric.display,
        "decimals": metric.decimals,
        "direction": metric.direction,
        "about": metric.reference,
    }


def _protocol(board: Board) -> dict[str, Any]:
    known = PROTOCOLS[board.protocol.partition(":")[0]]
    return {"version": board.version, "about": known.summary}


def _split(board: Board) -> dict[str, Any]:
    known = split_summary(board.split) if board.split in split_names() else None
    title = known.title if known else board.split
    return {
        "title": title,
        "n": board.n,
        "sha256": board.split_sha256,
        "about": known.source if known else "A list of a user's own.",
    }


def _method(entries: Sequence[Entry]) -> dict[str, Any]:
    """What is said of a method, by its newest record."""
    entry = max(entries, key=lambda one: str(one.records[0].run.get("finished", "")))
    info: Mapping[str, Any] = entry.records[0].provenance["method"].get("info", {})
    told = {name: info.get(name, "") for name in ("summary", "paper", "official", "labels", "pretrained")}
    parameters = entry.parameters
    return {
        **told,
        "family": family(plain_record(entry)),
        "control": entry.control,
        "needs": list(info.get("needs", ())),
        "parameters": parameters and {"training": parameters.training, "inference": parameters.inference},
        "card": _card(entry),
    }


def _card(entry: Entry) -> list[list[str]]:
    """What the page's own fields do not say."""
    provenance = entry.records[0].provenance
    checkpoint: Mapping[str, Any] = provenance.get("checkpoint") or {}
    training: Mapping[str, Any] = checkpoint.get("training") or {}
    recipe: Mapping[str, Any] = training.get("recipe") or {}
    lines = [
        ("Trained on", (training.get("split") or {}).get("name", "")),
        ("Recipe", _recipe(recipe)),
        ("Checkpoint", str(checkpoint.get("selection", ""))),
        ("Settings", ", ".join(f"{key} = {value}" for key, value in sorted(provenance.get("config", {}).items()))),
    ]
    return [[label, text] for label, text in lines if text]


def _recipe(recipe: Mapping[str, Any]) -> str:
    if not recipe:
        return ""
    told = ", ".join(f"{key} {recipe[key]}" for key in ("epochs", "batch_size", "lr", "seed") if key in recipe)
    return f"{recipe.get('name', '')}: {told}".replace("_", " ")


def _board(number: int, board: Board) -> dict[str, Any]:
    return {
        "id": f"b{number}",
        "split": board.split,
        "protocol": board.protocol,
        "version": board.version,
        "badge": board.badge,
        "selection": " and ".join(board.selections),
        "n": board.n,
        "n_positive": board.n_positive,
        "metrics": list(board.metrics),
        "rows": [_row(line) for line in board.lines],
        "notes": list(board.notes),
    }


def _row(line: Line) -> dict[str, Any]:
    return {
        "title": line.title,
        "method": line.method,
        "variant": line.variant,
        "control": line.control,
        "family": line.family,
        "selection": "" if line.selection == "none" else line.selection,
        "badge": line.badge,
        "values": {name: round(value, 6) for name, value in line.values.items() if value == value},
        "intervals": {name: [round(low, 5), round(high, 5)] for name, (low, high) in line.intervals.items()},
        "ranks": line.ranks,
        "groups": line.groups,
        "listens": None if line.listens is None else _listens(line.listens),
        "parameters": line.parameters,
        "milliseconds": None if line.seconds is None else round(1000 * line.seconds, 3),
        "device": line.device,
        "n": line.n,
        "entry": line.entry.name,
    }


def _listens(heard: Listens) -> dict[str, Any]:
    return {"verdict": heard.verdict, "drop": heard.drop, "low": heard.low, "high": heard.high, "p": heard.p_holm}


def _moves(one: Moving) -> dict[str, Any] | None:
    """How ranks move between protocols; None where fewer than two methods or protocols are there."""
    found = sensitivity(one.records)
    if found is None:
        return None
    controls = {record.title for record in one.records if is_control(record)}
    rows = zip(found.rows, found.values, found.places, strict=True)
    return {
        "split": one.split,
        "selection": " and ".join(one.selections),
        "badge": one.badge,
        "metric": found.metric,
        "protocols": list(found.protocols),
        "rows": [
            {"title": title, "control": title in controls, "values": [*map(_number, values)], "places": list(places)}
            for title, values, places in rows
        ],
        "tau": [_number(tau) for tau in found.tau],
    }


def _number(value: float | None) -> float | None:
    """None for NaN, which JSON has not."""
    return None if value is None or value != value else round(value, 6)


def _pictured(site: Site) -> list[Entry]:
    """A column for each method that keeps maps: of the first selection that it has; controls last."""
    chosen: dict[str, Entry] = {}
    for entry in sorted(site.entries, key=lambda one: (one.control, *_place(one))):
        if site.pictures and has_maps(entry, site.pictures):
            chosen.setdefault(entry.method, entry)
    return list(chosen.values())


def _file(entry: Entry) -> dict[str, str]:
    packed = gzip.compress(entry.path.read_bytes(), compresslevel=9, mtime=0)
    return {"name": entry.path.name, "gzip": base64.b64encode(packed).decode()}
