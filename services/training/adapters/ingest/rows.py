"""From the rows of a prediction request to compute's tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np

from services.training.adapters.ingest.csv_notation import NULLS
from services.training.compute.table import Categories, Column

Kind: TypeAlias = Literal["numeric", "timestamp", "categorical"]


class BadRow(Exception):
    """A value that its column cannot take. index: of the row in the request, from 0. column: by name."""

    def __init__(self, message: str, *, index: int, column: str) -> None:
        super().__init__(message)
        self.message = message
        self.index = index
        self.column = column


def rows_to_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, Kind]) -> dict[str, Column]:
    """A table of the expected `columns`, in their order, one row for each mapping.

    Values are JSON's: None, bool, number or text; a missing key means the same as None, a missing value, and
    keys that are not in `columns` are ignored. In a numeric column booleans are 0 and 1, text must spell a
    number or one of the null spellings of CSV. A timestamp column takes seconds since the epoch, or text in
    ISO 8601, UTC unless it says otherwise. In a categorical one, numbers and booleans become text as
    `as_text` says. Raises BadRow otherwise.
    """
    return {name: _column(rows, name, kind) for name, kind in columns.items()}


def as_text(value: bool | float) -> str:
    """A number or boolean as training data spells it: 3.0 is "3", 0.5 "0.5", True "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _column(rows: Sequence[Mapping[str, object]], name: str, kind: Kind) -> Column:
    if kind == "categorical":
        return _categorical(rows, name)
    read, wanted = (_seconds, "a point in time") if kind == "timestamp" else (_number, "a number")
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        number = read(row.get(name))
        if number is None:
            message = f"Row {index}, column {name!r}: {_shown(row[name])} is not {wanted}."
            raise BadRow(message, index=index, column=name)
        values[index] = number
    return values


def _seconds(value: object) -> float | None:
    """A point in time as seconds since the epoch; otherwise as `_number`."""
    number = _number(value)
    if number is not None or not isinstance(value, str):
        return number
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _number(value: object) -> float | None:
    """The value as a number, NaN when it is missing; None when it is not one."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        value = value.strip()
        if value in NULLS:
            return math.nan
        if "_" in value:  # Python reads 1_000 as a number, the CSV reader does not
            return None
    if not isinstance(value, (bool, int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _categorical(rows: Sequence[Mapping[str, object]], name: str) -> Categories:
    texts = [_category(row.get(name), index, name) for index, row in enumerate(rows)]
    vocabulary = tuple(sorted({text for text in texts if text is not None}))
    positions: dict[str | None, int] = {text: position for position, text in enumerate(vocabulary)}
    codes = np.array([positions.get(text, -1) for text in texts], dtype=np.int32)
    return Categories(codes, vocabulary)


def _category(value: object, index: int, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return None if math.isnan(value) else as_text(value)
    message = f"Row {index}, column {name!r}: {_shown(value)} is not text, a number or a boolean."
    raise BadRow(message, index=index, column=name)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
