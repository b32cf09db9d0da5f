"""The first record of a CSV file: the names of its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.training.adapters.ingest.asked import check_asked
from services.training.adapters.ingest.csv_records import records
from services.training.adapters.ingest.csv_text import Text
from services.training.domain.dataset import BadContent

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Header:
    """line: where the header begins. start, end: offsets of its first byte and of the byte after it."""

    names: tuple[str, ...]
    line: int
    start: int
    end: int


def read_header(text: Text) -> Header:
    """The header of a file, in at most `block_bytes`; blank lines and a UTF-8 mark before it are skipped.

    Raises BadContent EMPTY_FILE, NOT_UTF8, NUL_BYTE, UNCLOSED_QUOTE, ROW_TOO_LONG, FIELD_TOO_LONG,
    UNNAMED_COLUMN, DUPLICATE_COLUMN or UNKNOWN_COLUMN.
    """
    with text.open() as file:
        mark = file.read(len(_UTF8_MARK))
    if mark.startswith(_UTF16_MARKS):
        raise BadContent("NOT_UTF8", "The file is UTF-16; save it as UTF-8.", row=1)
    start = len(_UTF8_MARK) if mark == _UTF8_MARK else 0
    with text.open(start) as file:
        record = next(records(file, text.block_bytes, text.delimiter), None)
    if record is None:
        raise BadContent("EMPTY_FILE", "The file is empty.")
    names = tuple(record.text(position) for position in range(len(record.fields)))
    if not record.closed:
        raise BadContent("UNCLOSED_QUOTE", "A quote in the header is never closed.", row=record.line)
    check_names(names, record.line)
    check_asked(text.types, names)
    return Header(names, record.line, start, start + record.end)


def check_names(names: Sequence[str], line: int | None = None) -> None:
    """Raises BadContent UNNAMED_COLUMN or DUPLICATE_COLUMN unless every column has a name of its own."""
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise BadContent("UNNAMED_COLUMN", f"Column {position} has no name.", row=line, column=name)
    for name, times in Counter(names).items():
        if times > 1:
            message = f"{times} columns are named {name!r}."
            raise BadContent("DUPLICATE_COLUMN", message, row=line, column=name)
