"""Sweep files: the rows and columns of a table, and what is trained and tested for each row, at each scale."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from avbench.data.regular import require_file
from avbench.errors import UsageError, unknown_name
from avbench.metrics.catalogue import METRICS
from avbench.registry import find_method
from avbench.request import protocol_called
from avbench.sweeping.settings import Settings, defaults_of

Content = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: its title, with ``GROUP / TITLE`` under a common heading, and the metric that fills it."""

    header: str
    metric: str
    """Id, as ``avbench list metrics`` has it."""


@dataclass(frozen=True)
class Row:
    """A row: what stands in its first cells, and the settings that make it."""

    labels: tuple[str, ...]
    """As many as the sweep's ``row_header``."""
    settings: Settings
    """Of the method, on top of the recipe's."""
    default: bool = False
    """Whether this is the setting of the paper's other tables."""
    repeats: bool = False
    """Whether it stands in the table a second time, with the settings of a row before it."""
    at: dict[str, Settings] = field(default_factory=dict)
    """Settings in the place of these by scale."""

    def settings_at(self, scale: str) -> Settings:
        """What is set at ``scale``."""
        return {**self.settings, **self.at.get(scale, {})}


@dataclass(frozen=True)
class Scale:
    """What is trained and tested."""

    recipe: str
    """As ``avbench train --recipe`` takes it."""
    train: str
    test: str
    protocol: str
    why: str = ""
    """Why rows have settings of their own here."""


@dataclass(frozen=True)
class Sweep:
    """A table to be: a training and its evaluation per row."""

    name: str
    """Of the file."""
    title: str
    method: str
    row_header: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    scales: dict[str, Scale]
    follows: str = ""
    """Id of the published table whose shape it has."""
    notes: tuple[str, ...] = ()
    """Printed below the table."""
    transposed: bool = False
    """Whether the rows are printed as columns."""

    def scale(self, name: str | None) -> str:
        """The scale asked for; left out, the only one, or ``demo``.

        Raises:
            UsageError: for one that the sweep does not have.
        """
        if name is None and len(self.scales) == 1:
            return next(iter(self.scales))
        asked = "demo" if name is None else name
        if asked not in self.scales:
            raise UsageError(f"the sweep {self.name} has no scale {asked!r}: use --scale {' or '.join(self.scales)}")
        return asked


class _Kind(NamedTuple):
    wanted: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(fits, value))


def _is_setting(value: Any) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


TEXT = _Kind("a text", _is_text)
TEXTS = _Kind("a list of texts", _all(_is_text))
YES = _Kind("true or false", lambda value: isinstance(value, bool))
SETTINGS = _Kind(
    "a table of settings, each a number, a text, true or false",
    lambda value: isinstance(value, dict) and all(map(_is_setting, value.values())),
)
TABLES = _Kind("at least one table", _all(lambda value: isinstance(value, dict)))
AT = _Kind(
    "a table of settings by scale",
    lambda value: isinstance(value, dict) and bool(value) and all(map(SETTINGS.fits, value.values())),
)
NAMED = _Kind(
    "at least one table with a name",
    lambda value: isinstance(value, dict) and bool(value) and all(isinstance(one, dict) for one in value.values()),
)

REQUIRED = {"title": TEXT, "method": TEXT, "row_header": TEXTS, "columns": TABLES, "rows": TABLES, "scales": NAMED}
SWEEP = {**REQUIRED, "follows": TEXT, "notes": TEXTS, "transposed": YES}
COLUMN = {"header": TEXT, "metric": TEXT}
ROW = {"labels": TEXTS, "settings": SETTINGS, "default": YES, "repeats": YES, "at": AT}
SCALE = {"recipe": TEXT, "train": TEXT, "test": TEXT, "protocol": TEXT, "why": TEXT}
OPTIONAL = {"follows", "notes", "transposed", "default", "repeats", "at", "why"}
"""Keys that a file may leave out, in any of its tables."""


@cache
def _packaged() -> dict[str, str]:
    entries = [entry for entry in files("avbench.sweeps").iterdir() if entry.name.endswith(".toml")]
    return {entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8") for entry in entries}


def sweep_names() -> list[str]:
    """The sweeps in the package, sorted."""
    return sorted(_packaged())


def load_sweep(text: str) -> Sweep:
    """The sweep that ``text`` names: one of :func:`sweep_names`, or ``FILE.toml``.

    Raises:
        UsageError: for an unknown name, a file that cannot be read, or one with anything that is not understood.
    """
    if text.endswith(".toml"):
        return parse_sweep(Path(text).stem, _read(Path(text)))
    if text not in _packaged():
        raise unknown_name("sweep", text, _packaged(), "avbench list sweeps")
    return parse_sweep(text, tomllib.loads(_packaged()[text]))


def parse_sweep(name: str, content: Content) -> Sweep:
    """The sweep that a file's content declares.

    Raises:
        UsageError: for unknown, missing or mistaken keys, names that do not exist, or rows that are alike.
    """
    place = f"the sweep {name}"
    found = _checked(place, content, SWEEP)
    sweep = Sweep(
        **{key: value for key, value in found.items() if key not in {"columns", "rows", "scales"}},
        name=name,
        columns=tuple(Column(**_checked(f"a column of {place}", one, COLUMN)) for one in content["columns"]),
        rows=tuple(Row(**_checked(f"row {n} of {place}", one, ROW)) for n, one in enumerate(content["rows"], start=1)),
        scales={
            title: Scale(**_checked(f"the scale {title} of {place}", one, SCALE))
            for title, one in content["scales"].items()
        },
    )
    _check_names(sweep)
    for number, row in enumerate(sweep.rows, start=1):
        _check_row(sweep, row, f"row {number} of {place}")
    for scale in sweep.scales:
        _check_alike(sweep, scale)
    return sweep


def _checked(place: str, content: Content, kinds: dict[str, _Kind]) -> Content:
    """``content`` if it has the keys of ``kinds``, each of its kind; lists as tuples."""
    for key, value in content.items():
        if key not in kinds:
            raise unknown_name(f"key of {place}", key, kinds, f"the list {', '.join(kinds)}")
        if not kinds[key].fits(value):
            raise UsageError(f"{place} expects {kinds[key].wanted} under {key}, got {value!r}: correct the file")
    if missing := [key for key in kinds if key not in content and key not in OPTIONAL]:
        raise UsageError(f"{place} lacks {', '.join(missing)}: see avbench/sweeps for whole ones")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _check_names(sweep: Sweep) -> None:
    for column in sweep.columns:
        if column.metric not in METRICS:
            raise unknown_name("metric", column.metric, METRICS, "avbench list metrics")
    for scale in sweep.scales.values():
        protocol_called(scale.protocol)


def _check_row(sweep: Sweep, row: Row, place: str) -> None:
    ref = find_method(sweep.method)
    known = defaults_of(ref)
    if len(row.labels) != len(sweep.row_header):
        raise UsageError(
            f"{place} expects a label for each of {', '.join(sweep.row_header)}, got {', '.join(row.labels)}: add or "
            "remove some"
        )
    for settings in (row.settings, *row.at.values()):
        for key in settings:
            if key not in known:
                raise unknown_name(f"setting of {ref.name}", key, known, f"the list {', '.join(known)}")
    for scale, settings in row.at.items():
        if scale not in sweep.scales or not sweep.scales[scale].why:
            raise UsageError(f"{place} sets {', '.join(settings)} at {scale}: say why, under scales.{scale}")


def _check_alike(sweep: Sweep, scale: str) -> None:
    """Refuse rows that cannot be told apart, or that would train the same twice without saying so."""
    labels: dict[tuple[str, ...], int] = {}
    settings: dict[str, int] = {}
    for number, row in enumerate(sweep.rows, start=1):
        same = repr(sorted(row.settings_at(scale).items()))
        if row.labels in labels:
            raise UsageError(
                f"rows {labels[row.labels]} and {number} of the sweep {sweep.name} are both labelled "
                f"{', '.join(row.labels)}: rename one"
            )
        if (same in settings) != row.repeats:
            raise UsageError(_told_alike(sweep, scale, number, settings.get(same)))
        labels[row.labels], settings[same] = number, settings.get(same, number)


def _told_alike(sweep: Sweep, scale: str, number: int, first: int | None) -> str:
    place = f"of the sweep {sweep.name}"
    if first is None:
        return f"row {number} {place} repeats no row before it at the scale {scale}: leave repeats out"
    return (
        f"rows {first} and {number} {place} have the same settings at the scale {scale}: change one, or write "
        "repeats = true"
    )


def _read(path: Path) -> Content:
    try:
        require_file(path)
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"expected a sweep file, found nothing at {path}: avbench list sweeps has names") from None
    except OSError as problem:
        raise UsageError(f"expected a sweep file at {path}, which cannot be read ({problem.strerror})") from None
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"expected TOML in the sweep {path}, which has an error ({problem})") from None
