"""Per-sample values gathered over batches and processes, so that no order or split of the work changes a bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor


class State(TypedDict):
    """What an accumulator holds, as plain tensors on the CPU: to be pickled, saved, or sent to another process."""

    indices: Tensor
    """``[m]`` int64, in the order of arrival."""
    columns: dict[str, Tensor]
    """``[m]`` float64 by name."""


class Accumulator:
    """Named float64 values of samples, by the number of the sample.

    Aggregates are not added up batch by batch; they are computed once from the columns that :meth:`complete` puts in
    the order of the samples. Any order of the batches, any split into batches and any number of processes therefore
    give bit-equal results. Nothing else is kept, on the CPU, and all of it is copied.

    Args:
        columns: The names of the values; at least one, each once.

    Raises:
        ValueError: if there is no name or one stands twice.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"an accumulator needs one column or more, each named once, got {list(columns)}")
        self._indices: list[Tensor] = []
        self._columns: dict[str, list[Tensor]] = {name: [] for name in columns}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        """How many samples have values."""
        return len(self._seen)

    def update(self, indices: Tensor, /, **values: Tensor) -> None:
        """Takes the values of a batch; on an error it takes none.

        Args:
            indices: ``[B]`` of an integer type, 0 or more, none that was given before.
            values: ``[B]`` for every column, of any real type; NaN and infinities are kept.

        Raises:
            ValueError: if an index is negative or stands twice, a column is missing or unknown, or a length differs.
        """
        numbers = self._checked(indices)
        if set(values) != set(self._columns):
            raise ValueError(f"values must be of the columns {sorted(self._columns)}, got {sorted(values)}")
        for name, column in values.items():
            if column.shape != indices.shape:
                raise ValueError(f"{name} must be [{len(indices)}] as its indices are, got {list(column.shape)}")
        self._seen.update(numbers)
        self._indices.append(indices.detach().to("cpu", torch.int64, copy=True))
        for name, column in values.items():
            self._columns[name].append(column.detach().to("cpu", torch.float64, copy=True))

    def merge(self, other: Accumulator) -> None:
        """Takes all that another accumulator of the same columns holds; the other one stays as it is.

        Args:
            other: With columns of the same names and without a sample of this one.

        Raises:
            ValueError: if the names differ or a sample is in both.
        """
        state = other.state()
        self.update(state["indices"], **state["columns"])

    def state(self) -> State:
        """All that it holds, to be given to :meth:`from_state`, in this process or another."""
        return {"indices": _joined(self._indices, torch.int64), "columns": self._joined_columns()}

    @classmethod
    def from_state(cls, state: State) -> Accumulator:
        """The accumulator that had this state.

        Args:
            state: Of :meth:`state`.

        Raises:
            ValueError: if the state could not have come from an accumulator.
        """
        made = cls(list(state["columns"]))
        made.update(state["indices"], **state["columns"])
        return made

    def complete(self, count: int) -> dict[str, Tensor]:
        """The columns in the order of the samples, once all of them are there.

        Args:
            count: How many samples there are, numbered from 0.

        Returns:
            ``[count]`` float64 by name.

        Raises:
            ValueError: if a sample from 0 to ``count - 1`` has no values or another one has some.
        """
        ascending, order = _joined(self._indices, torch.int64).sort()
        expected = torch.arange(count)
        if not torch.equal(ascending, expected):
            missing = expected[~torch.isin(expected, ascending)].tolist()
            beyond = ascending[ascending >= count].tolist()
            raise ValueError(
                f"all of {count} samples must have values, got {_some(missing)} missing and {_some(beyond)} beyond them"
            )
        return {name: column[order] for name, column in self._joined_columns().items()}

    def _joined_columns(self) -> dict[str, Tensor]:
        return {name: _joined(parts, torch.float64) for name, parts in self._columns.items()}

    def _checked(self, indices: Tensor) -> list[int]:
        if indices.ndim != 1 or indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
            raise ValueError(f"indices must be [B] integers, got {list(indices.shape)} of {indices.dtype}")
        numbers: list[int] = indices.tolist()
        if min(numbers, default=0) < 0:
            raise ValueError(f"indices must be 0 or more, got {min(numbers)}")
        again = sorted(n for n, times in Counter(numbers).items() if times > 1 or n in self._seen)
        if again:
            raise ValueError(f"each sample must be given once, got {_some(again)} again")
        return numbers


def _joined(parts: list[Tensor], dtype: torch.dtype) -> Tensor:
    return torch.cat([torch.empty(0, dtype=dtype), *parts])


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:3]))
    return f"{len(numbers)} ({shown}{', ...' if len(numbers) > 3 else ''})" if numbers else "0"
