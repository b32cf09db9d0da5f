"""Columns read in the type that was asked for, rather than in the one they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from services.training.adapters.ingest.csv_notation import ASKED
from services.training.adapters.ingest.normal import ARROW_TYPES, column_type, normal_array
from services.training.domain.dataset import BadContent, ColumnType

_LISTED_NAMES = 20


def check_asked(types: Mapping[str, ColumnType], names: Sequence[str]) -> None:
    """Raises BadContent UNKNOWN_COLUMN when a type is given for a column that is not there."""
    known = set(names)
    for name in types:
        if name not in known:
            listed = ", ".join(repr(known_name) for known_name in names[:_LISTED_NAMES])
            more = f" and {len(names) - _LISTED_NAMES:,} more" if len(names) > _LISTED_NAMES else ""
            message = f"A type is given for {name!r}; the columns are {listed}{more}."
            raise BadContent("UNKNOWN_COLUMN", message, column=name)


def as_asked(name: str, array: Any, kind: ColumnType) -> Any:
    """`array`, of any type that has a place in a table, as values of `kind`.

    Numbers and booleans become each other where nothing is lost (1.0 is the integer 1, 0 and 1 are booleans;
    an integer as FLOAT is rounded). Everything becomes text, and text is read as in a CSV file. Numbers do
    not become points in time, nor the other way. Raises BadContent TYPE_MISMATCH.
    """
    try:
        return _converted(array, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        words = str(error).splitlines()[0]
        message = f"Column {name!r} cannot be read as {kind}: {words}"
        raise BadContent("TYPE_MISMATCH", message, column=name) from error


def _converted(array: Any, kind: ColumnType) -> Any:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    natural = column_type(array.type)
    if natural is kind:
        return array
    if pa.types.is_null(array.type):
        return pc.cast(array, ARROW_TYPES[kind])
    if kind is ColumnType.TEXT:
        return pc.cast(_instants(array), pa.string())
    if natural is ColumnType.TEXT:
        return ASKED[kind].parse(pc.cast(array, pa.string()))
    if ColumnType.TIMESTAMP in (natural, kind):
        raise pa.ArrowInvalid(f"the values are {natural}, and there is no telling in which unit")
    return _number(array, kind)


def _instants(array: Any) -> Any:
    """Points in time in the one resolution they have here; everything else as it is."""
    if column_type(array.type) is ColumnType.TIMESTAMP:
        return normal_array(array, pa.timestamp("us"))
    return normal_array(array, array.type) if pa.types.is_floating(array.type) else array


def _number(array: Any, kind: ColumnType) -> Any:
    if kind is ColumnType.FLOAT:
        return pc.cast(array, pa.uint8()) if pa.types.is_boolean(array.type) else array
    if pa.types.is_floating(array.type):
        array = normal_array(array, pa.float64())
    integers = pc.cast(array, pa.int64())
    if kind is ColumnType.BOOLEAN:
        if not pc.all(pc.is_in(integers, pa.array([0, 1, None])), min_count=0).as_py():
            raise pa.ArrowInvalid("only 0 and 1 are booleans")
        return pc.cast(integers, pa.bool_())
    return integers
