"""A CSV file as batches of typed columns, in constant memory.

Two ways, tried in this order. `inferred` trusts the types of the first block: one pass, at the full speed of
the reader, which gives up when a later block does not agree. `settled` reads twice: everything as text, to
find the types that hold over the whole file, then again to convert. They give the same types and values.

Quoted line ends are always allowed for: measured, that costs nothing against reading alone, and without it
the reader loses its place in such a file.

As with most readers of CSV, leading zeros do not make text of a number ("007" is 7), "0x1F" is 31, and
integers beyond 64 bits are FLOAT. "inf" is a FLOAT; "nan" is a missing value.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.csv_header import Header
from services.training.adapters.ingest.csv_notation import FALSES, NULLS, TRUES, Settling
from services.training.adapters.ingest.csv_problem import problem
from services.training.adapters.ingest.csv_records import MAX_FIELD_BYTES
from services.training.adapters.ingest.normal import column_type, normalise, schema_of

# How much is read at once, and the most bytes a record may have. Memory is a multiple of it (readahead and
# conversion); larger blocks were no faster.
BLOCK_BYTES = 1 << 20


def inferred(source: Path, header: Header, block_bytes: int) -> Batches:
    """Batches in the types of the first block.

    Raises ArrowException, here or while iterating, when the file is not like its first block, or not CSV.
    """
    stream, reader = _open(source, header, block_bytes, {})
    # A time of day stays as it was written, which only its text still tells.
    if times := [field.name for field in reader.schema if pa.types.is_time(field.type)]:
        stream.close()
        stream, reader = _open(source, header, block_bytes, dict.fromkeys(times, pa.string()))
    kinds = [column_type(field.type) for field in reader.schema]
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        stream.close()
        raise pa.ArrowInvalid("bytes that are not UTF-8")
    schema = schema_of(header.names, known)
    return Batches(schema, (normalise(batch, schema) for batch in _records(stream, reader)))


def settled(source: Path, header: Header, block_bytes: int) -> Batches:
    """Batches in types that hold over the whole file. Raises BadContent, naming the row and the column."""
    columns = [Settling() for _ in header.names]
    try:
        for batch in _strings(source, header, block_bytes):
            for column, array in zip(columns, batch.columns, strict=True):
                column.add(array)
    except pa.ArrowException as error:
        raise problem(source, header, block_bytes, error) from error
    notations = [column.notation() for column in columns]
    schema = schema_of(header.names, [notation.kind for notation in notations])

    def converted() -> Iterator[pa.RecordBatch]:
        for batch in _strings(source, header, block_bytes):
            pairs = zip(notations, batch.columns, strict=True)
            arrays = [notation.parse(array) for notation, array in pairs]
            yield normalise(pa.RecordBatch.from_arrays(arrays, names=list(header.names)), schema)

    return Batches(schema, converted())


def _strings(source: Path, header: Header, block_bytes: int) -> Iterator[pa.RecordBatch]:
    return _records(*_open(source, header, block_bytes, dict.fromkeys(header.names, pa.string())))


def _open(
    source: Path, header: Header, block_bytes: int, types: dict[str, pa.DataType]
) -> tuple[_Stream, Any]:
    stream: Any = _Stream(source, header)
    try:
        return stream, pa_csv.open_csv(
            stream,
            pa_csv.ReadOptions(block_size=block_bytes, column_names=list(header.names)),
            pa_csv.ParseOptions(newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types=types,
                null_values=list(NULLS),
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
            if not batch.num_rows:
                continue
            _check_lengths(batch)
            if held is not None:
                yield held
            held = batch
        if held is None or any(column[-1].is_valid for column in held.columns):
            raise pa.ArrowInvalid("a quote is not closed")
        yield held.slice(0, held.num_rows - 1)


def _check_lengths(batch: Any) -> None:
    for array in batch.columns:
        if pa.types.is_string(array.type):
            longest = pc.max(pc.binary_length(array)).as_py() or 0
            if longest > MAX_FIELD_BYTES:
                raise pa.ArrowInvalid("a field is too long")


class _Stream(io.RawIOBase):
    """The records of a CSV file for the columnar reader, and after them an end mark: a record of nulls.

    The reader takes an unclosed quote at the end of a file for a closed one. It then takes the mark as part
    of the quoted text, and by its absence we know. A NUL byte raises ArrowInvalid.
    """

    def __init__(self, source: Path, header: Header) -> None:
        super().__init__()
        self._file = source.open("rb")
        self._file.seek(header.end)
        # The reader drops a byte order mark from the start of a stream; after a blank line it is data.
        self._before = b"\n"
        self._after = b"\n" + b",".join([b'""'] * len(header.names)) + b"\n"
        # The reader reads ahead in a thread of its own: never close the file under it.
        self._lock = threading.Lock()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes; the last time, more: the mark never comes alone."""
        with self._lock:
            chunk = self._before + self._file.read(size - len(self._before))
            self._before = b""
            # The reader takes a block of a lone "\n", second half of a line end, for the end of the file.
            if len(chunk) < size:
                chunk, self._after = chunk + self._after, b""
        if b"\0" in chunk:
            raise pa.ArrowInvalid("a NUL byte")
        return chunk

    def close(self) -> None:
        with self._lock:
            self._file.close()
        super().close()
