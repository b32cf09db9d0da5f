"""Brings every Arrow type down to the five of the domain.

One Arrow type stands for each: int64, float64, bool, string and timestamp[us] (an instant, UTC understood).
Microseconds are what a double holds of an epoch time, and reach further than nanoseconds do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.training.domain.dataset import BadContent, ColumnType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.INTEGER: pa.int64(),
    ColumnType.FLOAT: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.TEXT: pa.string(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
}


def column_type(arrow: pa.DataType) -> ColumnType | None:
    """The type an Arrow type is brought down to; None where it has no place in a table of scalars.

    uint64 and decimals become FLOAT, because they may not fit an int64. A column of nulls is FLOAT: nothing
    but missing numbers. A time of day is TEXT, for it is no instant.
    """
    types = pa.types
    if types.is_dictionary(arrow):
        return column_type(arrow.value_type)
    if types.is_floating(arrow) or types.is_decimal(arrow) or types.is_null(arrow) or types.is_uint64(arrow):
        return ColumnType.FLOAT
    if types.is_integer(arrow):
        return ColumnType.INTEGER
    if types.is_boolean(arrow):
        return ColumnType.BOOLEAN
    if types.is_date(arrow) or types.is_timestamp(arrow):
        return ColumnType.TIMESTAMP
    if (
        types.is_string(arrow)
        or types.is_large_string(arrow)
        or types.is_string_view(arrow)
        or types.is_time(arrow)
    ):
        return ColumnType.TEXT
    return None


def schema_of(names: Sequence[str], types: Sequence[ColumnType]) -> pa.Schema:
    """The schema of the Arrow file."""
    return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in zip(names, types, strict=True)])


def normalise(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` in the types of `schema`, column by column; NaN becomes null.

    Raises BadContent OUT_OF_RANGE or NOT_UTF8, naming the column.
    """
    columns = zip(schema, batch.columns, strict=True)
    return pa.RecordBatch.from_arrays(
        [_normal_column(array, field) for field, array in columns], schema=schema
    )


def _normal_column(array: Any, field: Any) -> Any:
    try:
        array = normal_array(array, field.type)
    except pa.ArrowInvalid as error:
        raise BadContent("OUT_OF_RANGE", f"Column {field.name!r}: {error}", column=field.name) from error
    if pa.types.is_string(field.type):
        _check_utf8(array, field.name)
    return array


def normal_array(array: Any, target: pa.DataType) -> Any:
    """`array` cast to `target`, one of ARROW_TYPES. Raises ArrowInvalid when a value does not fit."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type != target:
        array = pc.cast(array, target, safe=not _only_loses_precision(array.type))
    return _nan_to_null(array) if pa.types.is_floating(target) else array


def _only_loses_precision(arrow: pa.DataType) -> bool:
    """Whether a value of this type always fits, rounded; a safe cast would refuse to round it."""
    nanoseconds = pa.types.is_timestamp(arrow) and arrow.unit == "ns"
    return nanoseconds or pa.types.is_integer(arrow) or pa.types.is_decimal(arrow)


def _nan_to_null(array: Any) -> Any:
    # The columnar way takes four times as long for the short arrays of a wide table.
    if not array.null_count and len(array) and not np.isnan(np.from_dlpack(array)).any():
        return array
    if not pc.any(pc.is_nan(array)).as_py():
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def _check_utf8(array: Any, name: str) -> None:
    # The CSV reader has checked already; Parquet's string columns are unchecked bytes.
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise BadContent("NOT_UTF8", f"Column {name!r} holds text that is not UTF-8.", column=name) from error
