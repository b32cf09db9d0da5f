"""What compute takes and gives: plain arrays by column name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating]
IntArray: TypeAlias = npt.NDArray[np.integer]


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
Table: TypeAlias = Mapping[str, Column]


def row_count(table: Table) -> int:
    """Rows in `table`; 0 when it has no columns."""
    return len(next(iter(table.values()))) if table else 0


def take(table: Table, rows: IntArray) -> dict[str, Column]:
    """The given rows of every column, in that order."""
    return {name: _take(column, rows) for name, column in table.items()}


def _take(column: Column, rows: IntArray) -> Column:
    if isinstance(column, Categories):
        return Categories(column.codes[rows], column.vocabulary)
    return column[rows]
