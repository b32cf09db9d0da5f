"""What compute takes: columns by name, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError

FloatArray: TypeAlias = npt.NDArray[np.floating]
IntArray: TypeAlias = npt.NDArray[np.integer]

_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Categories:
    """A column of categories.

    codes: (n,) int32 positions in `vocabulary`; -1 where the value is missing.
    vocabulary: the distinct values, as text; need not all occur.
    """

    codes: IntArray
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


# A numeric column is (n,) float64 with NaN where the value is missing.
Column: TypeAlias = FloatArray | Categories
Columns: TypeAlias = Mapping[str, Column]


class Table(Protocol):
    """Rows that are read a block at a time, as often as they are wanted; perhaps more than memory holds."""

    @property
    def names(self) -> Sequence[str]:
        """Of the columns, in order."""

    def __len__(self) -> int:
        """How many rows there are."""

    def blocks(self, names: Sequence[str]) -> Iterator[Columns]:
        """The columns `names` of the first rows, then of the next; some 10 MB at a time.

        A column holds numbers in every block or text in every block. Each block of text has a vocabulary of
        its own. The arrays are to be read only, and are not kept.
        """


class MemoryTable:
    """A table of columns that are in memory. Raises ComputeError unless they are of one length."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        for name, column in columns.items():
            if len(column) != len(self):
                raise ComputeError(name, f"has {len(column)} rows where the first column has {len(self)}")

    @property
    def names(self) -> Sequence[str]:
        return list(self._columns)

    def __len__(self) -> int:
        return row_count(self._columns)

    def blocks(self, names: Sequence[str]) -> Iterator[Columns]:
        wanted = {name: self._columns[name] for name in names}
        for start in range(0, len(self), _BLOCK_ROWS):
            yield take(wanted, slice(start, start + _BLOCK_ROWS))


class PickedTable:
    """Some rows of a table. rows: (n,) whether each is among them."""

    def __init__(self, table: Table, rows: npt.NDArray[np.bool_]) -> None:
        self._table, self._rows = table, rows

    @property
    def names(self) -> Sequence[str]:
        return self._table.names

    def __len__(self) -> int:
        return int(self._rows.sum())

    def blocks(self, names: Sequence[str]) -> Iterator[Columns]:
        row = 0
        for block in self._table.blocks(names):
            rows = self._rows[row : row + row_count(block)]
            row += len(rows)
            yield take(block, rows)


@overload
def as_table(table: Table | Columns) -> Table: ...


@overload
def as_table(table: Table | Columns | None) -> Table | None: ...


def as_table(table: Table | Columns | None) -> Table | None:
    """Columns as a table; a table, or none, as it is."""
    return MemoryTable(table) if isinstance(table, Mapping) else table


def row_count(columns: Columns) -> int:
    """Rows in `columns`; 0 when there are no columns."""
    return len(next(iter(columns.values()))) if columns else 0


def take(columns: Columns, rows: IntArray | npt.NDArray[np.bool_] | slice) -> dict[str, Column]:
    """The given rows of every column, in that order."""
    return {name: take_rows(column, rows) for name, column in columns.items()}


def take_rows(column: Column, rows: IntArray | npt.NDArray[np.bool_] | slice) -> Column:
    """The given rows of one column."""
    if isinstance(column, Categories):
        return Categories(column.codes[rows], column.vocabulary)
    return column[rows]
