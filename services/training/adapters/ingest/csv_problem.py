"""Says what is wrong with a CSV file that the columnar reader refused, and where."""

from __future__ import annotations

from pathlib import Path

from services.training.adapters.ingest.csv_header import Header
from services.training.adapters.ingest.csv_records import MAX_FIELD_BYTES, Record, records
from services.training.domain.dataset import BadContent


def problem(source: Path, header: Header, limit: int, error: Exception) -> BadContent:
    """The first thing wrong with the records of `source`; UNREADABLE, in the words of `error`, when the
    file looks right record by record.

    limit: the most bytes a record may have.
    """
    with source.open("rb") as file:
        file.seek(header.start)
        try:
            for record in records(file, limit):
                _check(record, header.names)
        except BadContent as found:
            return found
    return BadContent("UNREADABLE", f"The file cannot be read as CSV: {str(error).splitlines()[0]}")


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


def _unclosed(record: Record, names: tuple[str, ...]) -> BadContent:
    position = len(record.fields) - 1
    column = names[position] if position < len(names) else None
    message = f"A quote opened in the record on line {record.line} is never closed."
    return BadContent("UNCLOSED_QUOTE", message, row=record.line, column=column)
