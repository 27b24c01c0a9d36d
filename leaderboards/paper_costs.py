"""The cells that need no data: parameters counted now, time and memory measured on the present device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from avbench.leaderboards.grids import Grid, GridCell, GridGroup, GridRow
from avbench.leaderboards.paper_cells import COUNTED, HERE, PARAMETERS, Filled, Number, difference, points
from avbench.leaderboards.published_index import read_index
from avbench.leaderboards.published_names import METHODS
from avbench.leaderboards.published_tables import MARKS, PublishedTable

if TYPE_CHECKING:
    from avbench.device_costs import DeviceCost

TIMES = ("mllm_caption_time", "train_time", "train_memory", "infer_time", "infer_memory")
"""Metrics of the table of costs, in its order."""
AT_INFERENCE = "without auxiliary decoders"
"""How the variant of the row begins whose count leaves out what training alone uses."""
WITHOUT_DECODERS = {"decoders": False}
"""The same as settings of the method."""


def counts_parameters(table: PublishedTable) -> bool:
    """Whether the table is one of parameters."""
    return all(column.metric == PARAMETERS for column in table.columns)


def times_methods(table: PublishedTable) -> bool:
    """Whether the table is one of time and memory."""
    return all(column.metric in TIMES for column in table.columns)


def with_sizes(filled: Filled, count: Callable[[str, Mapping[str, Any]], int]) -> Filled:
    """The table of parameters with what is counted now.

    Args:
        filled: Of a table that :func:`counts_parameters`.
        count: Counts those of a method with settings.
    """
    numbers = dict(filled.numbers)
    exact = []
    for i, row in enumerate(filled.table.rows):
        method = METHODS[read_index().methods[row.method]["key"]]
        if method is None:
            continue
        settings = WITHOUT_DECODERS if row.variant.startswith(AT_INFERENCE) else {}
        number = count(method, settings)
        exact.append(f"{method}{' without decoders' if settings else ''} {number:,}")
        millions = number / 1e6
        numbers[i, 0] = Number(millions, 2, COUNTED, difference(filled.table.cells[i][0], millions))
    remark = f"Counted now, at the published settings: {'; '.join(exact)}."
    return replace(filled, numbers=numbers, remarks=(*filled.remarks, remark))


def with_costs(grid: Grid, costs: Sequence[DeviceCost]) -> Grid:
    """The table of time and memory with a row for each of our methods below the paper's.

    Args:
        grid: Of a table that :func:`times_methods`.
        costs: On one device.
    """
    rows = tuple(
        GridRow(
            (cost.method, *[MARKS[None]] * (len(grid.row_header) - 1)),
            tuple(_lines(grid, text) for text in _cells(cost).values()),
            _notes(cost),
        )
        for cost in costs
    )
    group = GridGroup(f"{HERE}: {device_words(costs[0])}", rows)
    return replace(grid, groups=(*grid.groups, group), remarks=(remark_of(costs[0]), *grid.remarks))


def _lines(grid: Grid, text: str) -> tuple[GridCell, ...]:
    """A number where the grid has ours, with its badge; where it has one line alone, there."""
    if len(grid.lines) == 1:
        return (GridCell(text),)
    shown = {"ours": text, "badge": COUNTED if text else ""}
    return tuple(GridCell(shown.get(line, "")) for line in grid.lines)


def _notes(cost: DeviceCost) -> tuple[str, ...]:
    return (f"{cost.settings}, so that it is smaller than the batch",) if cost.settings else ()


def device_words(cost: DeviceCost) -> str:
    """The device in few words."""
    threads = "" if cost.device.startswith("cuda") else f", {cost.threads} thread(s)"
    return f"{cost.name} ({cost.device}{threads}), batches of {cost.batch_size}"


def remark_of(cost: DeviceCost) -> str:
    """How the rows of our methods were measured."""
    return (
        f"{HERE}: measured {cost.measured} on {device_words(cost)}, with PyTorch {cost.torch}, in float32, on noise of "
        "the size of real input, at the published settings, without decoding and front-end. An iteration is loss, "
        f"gradients and Adam of a batch of {cost.batch_size}; times are medians. Memory is the most that tensors held "
        "at a time, for a batch; 1 GB = 1,000,000,000 bytes. The paper states neither its device nor its batch, so "
        "that its rows and ours cannot be ranked together."
    )


def told(table: PublishedTable, costs: Sequence[DeviceCost]) -> tuple[tuple[str, str, str, float], ...]:
    """Method, column, metric and value of each number that :func:`with_costs` adds."""
    headers = {column.metric: column.header for column in table.columns}
    return tuple(
        (cost.method, headers[metric], metric, value) for cost in costs for metric, value in as_numbers(cost).items()
    )


def as_numbers(cost: DeviceCost) -> Mapping[str, float]:
    """The costs by metric of the published table, in its units."""
    return {
        "train_time": cost.step_seconds,
        "train_memory": cost.step_bytes / 1e9,
        "infer_time": cost.image_seconds,
        "infer_memory": cost.image_bytes / 1e9,
    }


def _cells(cost: DeviceCost) -> dict[str, str]:
    """The costs as shown by metric; captions are written by nobody here."""
    numbers = as_numbers(cost)
    decimals = {"train_memory": 2, "infer_memory": 2}
    shown = {name: points(value, decimals.get(name, 3)) for name, value in numbers.items()}
    return {name: shown.get(name, "") for name in TIMES}
