"""A CSV or TSV file as batches of typed columns, in constant memory.

Two ways, tried in this order. `inferred` trusts the types of the first block: one pass, at the full speed of
the reader, which gives up when a later block does not agree. `settled` reads twice: everything as text, to
find the types that hold over the whole file, then again to convert. They give the same types and values.

Quoted line ends are always allowed for: measured, that costs nothing against reading alone, and without it
the reader loses its place in such a file.

A column whose type was asked for is read as text and parsed in that type's notation, both ways.

As with most readers of CSV, leading zeros do not make text of a number ("007" is 7), "0x1F" is 31, and
integers beyond 64 bits are FLOAT. "inf" is a FLOAT; "nan" is a missing value.
"""

from __future__ import annotations

import csv
import io
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from services.training.adapters.ingest.batches import Batches, gathered
from services.training.adapters.ingest.csv_header import Header
from services.training.adapters.ingest.csv_notation import ASKED, FALSES, TRUES, Notation, Settling
from services.training.adapters.ingest.csv_problem import problem
from services.training.adapters.ingest.csv_records import MAX_FIELD_BYTES
from services.training.adapters.ingest.csv_text import Text
from services.training.adapters.ingest.normal import column_type, normalise, schema_of

# How many blocks the reader may be ahead of what was taken from it; left alone, it holds 32 of them.
_BLOCKS_AHEAD = 4
# It always is taken from, as far as known; should a block ever yield no batch, the reader goes on after this.
_PATIENCE_SECONDS = 5.0
_BLANK = re.compile(rb"[\r\n]*")
_NUL = re.compile(rb"\0")


def inferred(text: Text, header: Header) -> Batches:
    """Batches in the types of the first block.

    Raises ArrowException, here or while iterating, when the file is not like its first block, or not CSV;
    BadContent when it is compressed and damaged.
    """
    stream, reader = _open(text, header, text.types)
    # A time of day stays as it was written, which only its text still tells.
    if times := [field.name for field in reader.schema if pa.types.is_time(field.type)]:
        stream.close()
        stream, reader = _open(text, header, [*text.types, *times])
    kinds = [text.types.get(field.name) or column_type(field.type) for field in reader.schema]
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        stream.close()
        raise pa.ArrowInvalid("bytes that are not UTF-8")
    notations = [ASKED[text.types[name]] if name in text.types else None for name in header.names]
    return _converted(_records(stream, reader), notations, schema_of(header.names, known))


def settled(text: Text, header: Header) -> Batches:
    """Batches in types that hold over the whole file. Raises BadContent, naming the row and the column."""
    try:
        notations = _settle(text, header)
    except pa.ArrowException as error:
        raise problem(text, header, error) from error
    strings = _records(*_open(text, header, header.names))
    return _converted(strings, notations, schema_of(header.names, [notation.kind for notation in notations]))


def _settle(text: Text, header: Header) -> list[Notation]:
    """The notation of each column. Raises ArrowInvalid when a value is not written in the asked one."""
    asked = [text.types.get(name) for name in header.names]
    columns = [Settling() if kind is None else Settling((ASKED[kind],)) for kind in asked]
    for batch in _gathered(_records(*_open(text, header, header.names))):
        for column, array in zip(columns, batch.columns, strict=True):
            column.add(array)
    return [column.notation() for column in columns]


def _converted(
    records: Iterator[pa.RecordBatch], notations: Sequence[Notation | None], schema: pa.Schema
) -> Batches:
    """Columns with a notation are parsed; the others are in the reader's types, near those of `schema`."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in _gathered(records):
            pairs = zip(notations, batch.columns, strict=True)
            arrays = [notation.parse(array) if notation else array for notation, array in pairs]
            yield normalise(pa.RecordBatch.from_arrays(arrays, names=schema.names), schema)

    return Batches(schema, batches())


def _open(text: Text, header: Header, strings: Iterable[str]) -> tuple[_Stream, Any]:
    """A reader that gives the columns in `strings` as text, the others in a type of its own choice."""
    stream: Any = _Stream(text, header)
    try:
        return stream, pa_csv.open_csv(
            stream,
            # Threads of the reader's own made it no faster, and other calls need the processors too.
            pa_csv.ReadOptions(
                block_size=text.block_bytes, column_names=list(header.names), use_threads=False
            ),
            pa_csv.ParseOptions(delimiter=text.delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(strings, pa.string()),
                null_values=list(text.nulls),
                true_values=list(TRUES),
                false_values=list(FALSES),
                strings_can_be_null=True,
            ),
        )
    except BaseException:
        stream.close()
        raise


def _records(stream: _Stream, reader: Any) -> Iterator[pa.RecordBatch]:
    """The batches without the end mark. Raises ArrowInvalid when a quote has swallowed the mark."""
    with stream:
        held = None
        for batch in reader:
            stream.taken()
            if not batch.num_rows:
                continue
            if held is not None:
                yield held
            held = batch
        if held is None or any(column[-1].is_valid for column in held.columns):
            raise pa.ArrowInvalid("a quote is not closed")
        yield held.slice(0, held.num_rows - 1)


def _gathered(records: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """First of all: with a thousand columns, every step on a block costs more than its values do."""
    for batch in gathered(records):
        _check_lengths(batch)
        yield batch


def _check_lengths(batch: Any) -> None:
    for array in batch.columns:
        if pa.types.is_string(array.type) and array.nbytes > MAX_FIELD_BYTES:
            longest = pc.max(pc.binary_length(array)).as_py() or 0
            if longest > MAX_FIELD_BYTES:
                raise pa.ArrowInvalid("a field is too long")


def _end_mark(text: Text, columns: int) -> bytes:
    """A record of nulls."""
    null = "" if "" in text.nulls else text.nulls[0]
    line = io.StringIO(newline="")
    csv.writer(line, quoting=csv.QUOTE_ALL, delimiter=text.delimiter, lineterminator="\n").writerow(
        [null] * columns
    )
    return b"\n" + line.getvalue().encode()


class _Stream(io.RawIOBase):
    """The records of a CSV file for the columnar reader, and after them an end mark: a record of nulls.

    The reader takes an unclosed quote at the end of a file for a closed one. It then takes the mark as part
    of the quoted text, and by its absence we know. A NUL byte raises ArrowInvalid.
    """

    def __init__(self, text: Text, header: Header) -> None:
        super().__init__()
        self._file = text.stream(header.end)
        # The reader drops a byte order mark from the start of a stream; after a blank line it is data.
        self._before = b"\n"
        self._after = _end_mark(text, len(header.names))
        # The reader reads ahead in a thread of its own: never close the file under it.
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_BLOCKS_AHEAD)

    def readable(self) -> bool:
        return True

    def taken(self) -> None:
        """A batch was taken from the reader, which may read another block."""
        self._room.release()

    def read(self, size: int = -1) -> Any:
        """A buffer of the next `size` bytes; the last time, more: the mark never comes alone."""
        self._room.acquire(timeout=_PATIENCE_SECONDS)
        with self._lock:
            chunk = self._file.read_buffer(size - len(self._before))
            if _NUL.search(chunk):
                raise pa.ArrowInvalid("a NUL byte")
            if _BLANK.fullmatch(chunk):
                # There is nothing in it to take.
                self._room.release()
            missing = size - len(self._before) - len(chunk)
            if self._before or missing:
                chunk, self._before = self._before + bytes(chunk), b""
            # The reader takes a block of a lone "\n", second half of a line end, for the end of the file.
            if missing:
                chunk, self._after = chunk + self._after, b""
        return chunk

    def close(self) -> None:
        self._room.release()
        with self._lock:
            self._file.close()
        super().close()
