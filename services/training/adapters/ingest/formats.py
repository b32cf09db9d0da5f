"""Which format a file is in."""

from __future__ import annotations

from pathlib import Path

from services.training.adapters.ingest.parquet_file import MAGIC
from services.training.domain.dataset import BadContent

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
CSV_TYPES = frozenset({CSV, "application/csv"})
PARQUET_TYPES = frozenset({PARQUET, "application/x-parquet", "application/parquet"})

# What people upload by mistake, told by the first bytes. None of these can begin a CSV file in UTF-8 text
# that is worth reading.
_FOREIGN = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"BZh", "bzip2-compressed"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
)


def is_parquet(source: Path, content_type: str) -> bool:
    """True for Parquet, false for CSV; the first bytes decide unless `content_type` does.

    Raises BadContent UNSUPPORTED_FORMAT when the first bytes are those of a well-known other format.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("multipart/"):
        raise BadContent("UNSUPPORTED_FORMAT", "This is a form; send the file itself, as `curl -T` does.")
    if media_type in PARQUET_TYPES:
        return True
    with source.open("rb") as file:
        head = file.read(16)
    parquet = head.startswith(MAGIC) and _ends_as_parquet(source)
    if parquet and media_type in CSV_TYPES:
        raise BadContent("UNSUPPORTED_FORMAT", f"The file is Parquet, but was sent as {media_type}.")
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise BadContent("UNSUPPORTED_FORMAT", f"The file is {name}; send CSV or Parquet.")
    return parquet


def _ends_as_parquet(source: Path) -> bool:
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - len(MAGIC)))
        return file.read() == MAGIC
