"""Rows of a NumPy array as Arrow columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from services.training.adapters.ingest.npy_header import NpyHeader
from services.training.domain.dataset import BadContent

_ARROW_UNITS = ("D", "s", "ms", "us", "ns")


def column_names(header: NpyHeader, stem: str, *, alone: bool) -> list[str]:
    """What the columns of an array are called.

    alone: the array is the whole file. It gives c0, c1, … or the names of its fields; an array called `stem`
    in an archive gives `stem`, or stem_0, stem_1, … or stem_field.
    """
    if header.dtype.names:
        return list(header.dtype.names) if alone else [f"{stem}_{name}" for name in header.dtype.names]
    if len(header.shape) == 1:
        return ["c0" if alone else stem]
    return [f"c{i}" if alone else f"{stem}_{i}" for i in range(header.shape[1])]


def arrow_types(header: NpyHeader) -> list[pa.DataType]:
    """The types of `arrow_columns`."""
    none = np.empty((0, *header.shape[1:]), header.dtype)
    return [array.type for array in arrow_columns(none, header)]


def arrow_columns(rows: Any, header: NpyHeader) -> list[Any]:
    """Some rows of the array, column by column. Raises BadContent NOT_UTF8."""
    if header.dtype.names:
        return [_arrow(rows[name], name) for name in header.dtype.names]
    if rows.ndim == 1:
        return [_arrow(rows, None)]
    # One copy in column order; taking one column at a time reads every row anew for each.
    columns = np.asfortranarray(rows)
    return [_arrow(columns[:, position], None) for position in range(rows.shape[1])]


def _arrow(values: Any, name: str | None) -> Any:
    kind = values.dtype.kind
    if kind == "M" and np.datetime_data(values.dtype)[0] not in _ARROW_UNITS:
        values = values.astype("datetime64[s]")
    if kind in "US":
        return _text(values, name)
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    return pa.array(np.ascontiguousarray(values))


def _text(values: Any, name: str | None) -> Any:
    try:
        if values.dtype.kind == "U":
            return pa.array(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))), pa.string())
        return pa.array(np.ascontiguousarray(values), pa.binary()).cast(pa.string())
    except (UnicodeError, pa.ArrowException) as error:
        raise BadContent(
            "NOT_UTF8", f"Text in the array is not Unicode: {error}"[:200], column=name
        ) from error
