"""CSV records with the lines they stand on.

Slower than the columnar reader and used only where a place in the file is wanted: for the header, and once a
file is known to be bad. Bytes are read as Latin-1, one character for each, so that any file can be walked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from services.training.domain.dataset import BadContent

# The most bytes one field may have; the standard library's limit, which the whole package keeps to.
MAX_FIELD_BYTES = 131_072


@dataclass(frozen=True)
class Record:
    """One record. line: where it begins. end: offset of the byte after it. closed: its quotes are closed."""

    line: int
    end: int
    fields: list[str]
    closed: bool

    def text(self, position: int, column: str | None = None) -> str:
        """A field as text. Raises BadContent NOT_UTF8 or NUL_BYTE, naming the line and `column`."""
        where = f"line {self.line}, column {position + 1 if column is None else repr(column)}"
        try:
            value = self.fields[position].encode("latin-1").decode()
        except UnicodeDecodeError as error:
            message = f"The file is not UTF-8: {where} holds the byte 0x{error.object[error.start]:02x}."
            raise BadContent("NOT_UTF8", message, row=self.line, column=column) from error
        if "\0" in value:
            raise BadContent("NUL_BYTE", f"A NUL byte in {where}.", row=self.line, column=column)
        return value


def records(stream: BinaryIO, limit: int, delimiter: str = ",") -> Iterator[Record]:
    """The records of `stream` in order, blank lines left out.

    Raises BadContent ROW_TOO_LONG when one has more than `limit` bytes, FIELD_TOO_LONG when a field has more
    than MAX_FIELD_BYTES, and UNCLOSED_QUOTE when it has them because it ran over the ends of lines.
    """
    lines = _Lines(stream, limit)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.begin_record()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise lines.field_too_long() from error
        if fields is None:
            return
        if fields:
            yield Record(lines.first, lines.offset, fields, closed=not lines.ended)


class _Lines:
    """Iterates over physical lines (LF, CRLF or CR), keeping count."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._text = io.TextIOWrapper(stream, encoding="latin-1", newline="")
        self._limit = limit
        self._number = 0
        self._record_offset = 0
        self.offset = 0
        self.first = 1
        self.ended = False

    def begin_record(self) -> None:
        self.first = self._number + 1
        self._record_offset = self.offset

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._limit + 1)
        if not line:
            # The csv reader asks for more at the end of the file only; within a record, a quote is open.
            self.ended = True
            raise StopIteration
        self._number += 1
        self.offset += len(line)
        if self.offset - self._record_offset > self._limit:
            raise self._row_too_long()
        return line

    def field_too_long(self) -> BadContent:
        if self._number > self.first:
            message = f"A quote opened in the record on line {self.first} is not closed within"
            return BadContent("UNCLOSED_QUOTE", f"{message} {MAX_FIELD_BYTES:,} bytes.", row=self.first)
        message = f"Line {self.first} has a field of more than {MAX_FIELD_BYTES:,} bytes."
        return BadContent("FIELD_TOO_LONG", message, row=self.first)

    def _row_too_long(self) -> BadContent:
        message = (
            f"The record on line {self.first} has more than {self._limit:,} bytes; is a quote left open?"
        )
        return BadContent("ROW_TOO_LONG", message, row=self.first)
