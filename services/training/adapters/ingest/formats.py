"""Which format a file is in, and whether it is compressed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from services.training.adapters.ingest.compression import MAGICS, compression_of, opened
from services.training.domain.dataset import BadContent, Reading

CSV = "text/csv"
TSV = "text/tab-separated-values"
PARQUET = "application/vnd.apache.parquet"
ARROW_FILE = "application/vnd.apache.arrow.file"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
NPY = "application/x-npy"
NPZ = "application/x-npz"

DELIMITERS = {CSV: ",", TSV: "\t"}
_ALIASES = {
    "application/csv": CSV,
    "text/tsv": TSV,
    "application/parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "application/vnd.apache.arrow": ARROW_FILE,
}
# Enough for the header line of nearly every file, and the first local header of a ZIP archive.
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class _Binary:
    """A format told by its first bytes. reason: of the refusal when a file said to be one is not."""

    name: str
    reason: str
    begins: Callable[[bytes], bool]


def _zip_of_arrays(head: bytes) -> bool:
    # The name of the first member stands at byte 30 of its local header, its length at byte 26.
    if head.startswith(b"PK\x03\x04"):
        return head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")
    return False


def _begins(magic: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magic)


_BINARIES = {
    # Text may begin with these four letters, a control character soon after them is none.
    PARQUET: _Binary(
        "Parquet", "NOT_PARQUET", lambda head: bool(re.match(rb"PAR1.{,28}[\0-\x08\x0e-\x1f]", head, re.S))
    ),
    ARROW_FILE: _Binary("an Arrow file", "NOT_ARROW", _begins(b"ARROW1\0\0")),
    ARROW_STREAM: _Binary("an Arrow stream", "NOT_ARROW", _begins(b"\xff\xff\xff\xff")),
    NPY: _Binary("a NumPy file", "NOT_NUMPY", _begins(b"\x93NUMPY")),
    NPZ: _Binary("an archive of NumPy files", "NOT_NUMPY", _zip_of_arrays),
}
# What people upload by mistake, told by the first bytes. None of these can begin a CSV file in UTF-8 text
# that is worth reading.
_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
)


def recognise(source: Path, asked: Reading) -> Reading:
    """`asked` with the media type and the compression found out where it leaves them open.

    A media type that is none of ours leaves it open too: senders say `application/octet-stream` of anything.
    Raises BadContent UNSUPPORTED_FORMAT, UNSUPPORTED_COMPRESSION, UNREADABLE for a damaged compressed file,
    OPTION_NOT_APPLICABLE, or NOT_PARQUET, NOT_ARROW, NOT_NUMPY, NOT_GZIP, NOT_ZSTD when the bytes are not
    what they are said to be.
    """
    said = asked.media_type.partition(";")[0].strip().lower()
    if said.startswith("multipart/"):
        raise BadContent("UNSUPPORTED_FORMAT", "This is a form; send the file itself, as `curl -T` does.")
    compression = _compression(source, asked.compression.strip().lower())
    with opened(source, compression) as file:
        head = file.read(_HEAD_BYTES)
    media_type = _media_type(head, _ALIASES.get(said, said), bool(compression))
    if asked.null_values and media_type not in DELIMITERS:
        message = f"null_values are for CSV and TSV; this file is {_BINARIES[media_type].name}."
        raise BadContent("OPTION_NOT_APPLICABLE", message)
    return replace(asked, media_type=media_type, compression=compression)


def _compression(source: Path, said: str) -> str:
    if said not in {"", *MAGICS.values()}:
        message = f"The compression {said!r} is not known; send gzip, zstd or none."
        raise BadContent("UNSUPPORTED_COMPRESSION", message)
    with source.open("rb") as file:
        found = compression_of(file.read(4))
    if said and found != said:
        message = f"The file was sent as {said}, but does not begin as {said} does."
        raise BadContent(f"NOT_{said.upper()}", message)
    return found


def _media_type(head: bytes, said: str, compressed: bool) -> str:
    if said == PARQUET and head.startswith(b"PAR1"):
        return PARQUET
    found = next((media_type for media_type, binary in _BINARIES.items() if binary.begins(head)), "")
    if found and said in {*DELIMITERS, *_BINARIES} - {found}:
        message = f"The file is {_BINARIES[found].name}, but was sent as {said}."
        raise BadContent("UNSUPPORTED_FORMAT", message)
    if found:
        return found
    if not head and said in _BINARIES:
        raise BadContent("EMPTY_FILE", "The file is empty.")
    if said in _BINARIES:
        name = _BINARIES[said].name
        raise BadContent(
            _BINARIES[said].reason, f"The file was sent as {said}, but does not begin as {name} does."
        )
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            again = " again" if compressed and magic in MAGICS else ""
            raise BadContent(
                "UNSUPPORTED_FORMAT", f"The file is {name}{again}; send CSV, TSV, Parquet, Arrow or NumPy."
            )
    if said in DELIMITERS:
        return said
    return TSV if _has_tabs_only(head) else CSV


def _has_tabs_only(head: bytes) -> bool:
    """Whether the first line that is not blank has tabs, and no commas."""
    line = next((line for line in head.splitlines() if line.strip()), b"")
    return b"\t" in line and b"," not in line
