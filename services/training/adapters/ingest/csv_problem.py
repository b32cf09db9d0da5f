"""Says what is wrong with a CSV file that the columnar reader refused, and where."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pyarrow as pa

from services.training.adapters.ingest.csv_header import Header
from services.training.adapters.ingest.csv_notation import ASKED
from services.training.adapters.ingest.csv_records import MAX_FIELD_BYTES, Record, records
from services.training.adapters.ingest.csv_text import Text
from services.training.domain.dataset import BadContent, ColumnType

# Values are tried in their asked type this many at a time, which takes a tenth of the time of one by one.
_RECORDS_AT_ONCE = 1024
_SHOWN_CHARACTERS = 40


def problem(text: Text, header: Header, error: Exception) -> BadContent:
    """The first thing wrong with the records of a file; UNREADABLE, in the words of `error`, when the file
    looks right record by record. A value of the wrong type is told after broken records that follow soon.
    """
    try:
        with text.open(header.start) as file:
            found = _checked(records(file, text.block_bytes, text.delimiter), header)
            next(found, None)
            while some := list(islice(found, _RECORDS_AT_ONCE)):
                _check_types(some, text, header)
    except BadContent as bad:
        return bad
    return BadContent("UNREADABLE", f"The file cannot be read as CSV: {str(error).splitlines()[0]}")


def _checked(found: Iterator[Record], header: Header) -> Iterator[Record]:
    for record in found:
        _check(record, header.names)
        yield record


def _check(record: Record, names: tuple[str, ...]) -> None:
    """Raises BadContent when `record` does not belong under columns of these names."""
    if not (joined := "".join(record.fields)).isascii() or "\0" in joined:
        for position in range(len(record.fields)):
            record.text(position, names[position] if position < len(names) else None)
    if not record.closed:
        raise _unclosed(record, names)
    if len(record.fields) != len(names):
        message = f"Line {record.line} has {len(record.fields)} fields, the header {len(names)}."
        column = names[len(record.fields)] if len(record.fields) < len(names) else None
        raise BadContent("RAGGED_ROW", message, row=record.line, column=column)
    for name, field in zip(names, record.fields, strict=True):
        if len(field) > MAX_FIELD_BYTES:
            message = f"Line {record.line}, column {name!r} has more than {MAX_FIELD_BYTES:,} bytes."
            raise BadContent("FIELD_TOO_LONG", message, row=record.line, column=name)


def _check_types(some: list[Record], text: Text, header: Header) -> None:
    """Raises BadContent TYPE_MISMATCH for the first value that is not written as its asked type is."""
    found: list[BadContent] = []
    for position, name in enumerate(header.names):
        if kind := text.types.get(name):
            found.extend(islice(_mismatches(some, position, name, kind, text.nulls), 1))
    if found:
        raise min(found, key=lambda bad: bad.row or 0)


def _mismatches(
    some: list[Record], position: int, name: str, kind: ColumnType, nulls: tuple[str, ...]
) -> Iterator[BadContent]:
    values = [record.text(position, name) for record in some]
    cells = [None if value in nulls else value for value in values]
    if ASKED[kind].fits(pa.array(cells, pa.string())):
        return
    for record, cell in zip(some, cells, strict=True):
        if not ASKED[kind].fits(pa.array([cell], pa.string())):
            message = f"Line {record.line}, column {name!r}: {repr(cell)[:_SHOWN_CHARACTERS]} is not {kind}."
            yield BadContent("TYPE_MISMATCH", message, row=record.line, column=name)


def _unclosed(record: Record, names: tuple[str, ...]) -> BadContent:
    position = len(record.fields) - 1
    column = names[position] if position < len(names) else None
    message = f"A quote opened in the record on line {record.line} is never closed."
    return BadContent("UNCLOSED_QUOTE", message, row=record.line, column=column)
