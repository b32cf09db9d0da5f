"""An archive of NumPy arrays of equal length as batches of typed columns, unpacked as it is read."""

from __future__ import annotations

import contextlib
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.npy_file import BLOCK_BYTES, read_rows, rows_of
from services.training.adapters.ingest.npy_header import NpyHeader, read_npy_header
from services.training.adapters.ingest.numpy_columns import arrow_columns, arrow_types, column_names
from services.training.adapters.ingest.typed import Typed, check_width, damaged
from services.training.domain.dataset import BadContent

# Each array is unpacked by a decoder of its own, side by side with the others.
_MOST_ARRAYS = 1_000
_COPIED_BYTES = 1 << 20
_Take = Callable[[int], Any]


def npz_batches(file: Typed) -> Batches:
    """The rows of the arrays, side by side: `name` of an array of shape (n,), name_0, name_1, … of (n, d),
    name_field of a structured one.

    Raises BadContent, here or while iterating: UNREADABLE, UNSUPPORTED_COLUMN, UNEQUAL_LENGTHS,
    TOO_MANY_COLUMNS, and what `Typed.table` raises.
    """
    headers = _headers(file.path)
    lengths = {name: header.rows for name, header in headers.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} has {rows:,}" for name, rows in list(lengths.items())[:20])
        raise BadContent("UNEQUAL_LENGTHS", f"The arrays must have equally many rows: {listed}.")
    names = [column for name, header in headers.items() for column in column_names(header, name, alone=False)]
    types = [arrow for header in headers.values() for arrow in arrow_types(header)]
    schema = pa.schema(zip(names, types, strict=True))
    return file.table(schema, _batches(file, headers, schema))


def _headers(path: Path) -> dict[str, NpyHeader]:
    headers: dict[str, NpyHeader] = {}
    columns = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            if len(members) > _MOST_ARRAYS:
                message = f"The archive has {len(members):,} arrays; {_MOST_ARRAYS:,} is the most."
                raise BadContent("TOO_MANY_COLUMNS", message)
            for info in members:
                name = info.filename.removesuffix(".npy")
                if name in headers:
                    raise BadContent("DUPLICATE_COLUMN", f"Two arrays are named {name!r}.", column=name)
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # What NumPy writes; the others can grow without bound.
                    raise BadContent("UNREADABLE", f"Array {name!r} is packed in a way that NumPy is not.")
                with archive.open(info) as member:
                    header = read_npy_header(cast(BinaryIO, member), f"Array {name!r}")
                headers[name] = header
                columns += header.shape[1] if len(header.shape) == 2 else 1
                check_width(columns)
    except Exception as error:
        raise damaged("NumPy", error) from error
    return headers


def _batches(file: Typed, headers: dict[str, NpyHeader], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rows = next(iter(headers.values())).rows if headers else 0
    width = sum(header.row_bytes for header in headers.values())
    step = max(1, BLOCK_BYTES // max(1, width))
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(file.path))
            takes = [
                stack.enter_context(_member(archive, name, header, file.destination))
                for name, header in headers.items()
            ]
            for start in range(0, rows, step):
                blocks = [take(min(step, rows - start)) for take in takes]
                pairs = zip(blocks, headers.values(), strict=True)
                arrays = [array for block, header in pairs for array in arrow_columns(block, header)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            for take in takes:
                take(0)
        except Exception as error:
            raise damaged("NumPy", error) from error


@contextlib.contextmanager
def _member(archive: zipfile.ZipFile, name: str, header: NpyHeader, destination: Path) -> Iterator[_Take]:
    """A function that gives the next rows of an array. Asked for none, it checks that there are no more."""
    info = next(info for info in archive.infolist() if info.filename.removesuffix(".npy") == name)
    with archive.open(info) as member:
        stream = cast(BinaryIO, member)
        if header.fortran:
            with _unpacked(stream, header, name, destination) as file:
                yield _columnwise(file, header)
        else:
            _exactly(stream, header.offset, name)
            yield lambda count: _rowwise(stream, header, count, name)


def _rowwise(stream: BinaryIO, header: NpyHeader, count: int, name: str) -> Any:
    if count == 0:
        _check_end(stream, name)
    return rows_of(_exactly(stream, count * header.row_bytes, name), header)


def _columnwise(file: BinaryIO, header: NpyHeader) -> _Take:
    start = 0

    def take(count: int) -> Any:
        nonlocal start
        rows = read_rows(file, header, start, count)
        start += count
        return rows

    return take


@contextlib.contextmanager
def _unpacked(stream: BinaryIO, header: NpyHeader, name: str, destination: Path) -> Iterator[BinaryIO]:
    """A file beside `destination`: a stream of an array stored column by column cannot be read row by row."""
    path = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}.array.partial")
    try:
        with path.open("w+b") as file:
            left = header.offset + header.rows * header.row_bytes
            while left:
                left -= file.write(_exactly(stream, min(_COPIED_BYTES, left), name))
            _check_end(stream, name)
            yield cast(BinaryIO, file)
    finally:
        path.unlink(missing_ok=True)


def _exactly(stream: BinaryIO, size: int, name: str) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise BadContent("UNREADABLE", f"Array {name!r} is cut short.")
    return data


def _check_end(stream: BinaryIO, name: str) -> None:
    # Reading to the end is also what compares the checksum.
    if stream.read(1):
        raise BadContent("UNREADABLE", f"Array {name!r} is longer than its header says.")
