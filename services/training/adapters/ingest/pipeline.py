"""From a file on disk to an Arrow file and its profile."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from services.training.adapters.ingest.arrow_file import arrow_file
from services.training.adapters.ingest.batches import Batches, gathered
from services.training.adapters.ingest.csv_file import BLOCK_BYTES, inferred, settled
from services.training.adapters.ingest.csv_header import read_header
from services.training.adapters.ingest.formats import CSV, PARQUET, is_parquet
from services.training.adapters.ingest.normal import column_type
from services.training.adapters.ingest.parquet_file import parquet_batches
from services.training.adapters.ingest.profile import Profiler
from services.training.domain.dataset import BadContent, Column, Content, ProfiledColumn


def ingest(
    source: Path, content_type: str, destination: Path, *, sha256: str, block_bytes: int = BLOCK_BYTES
) -> Content:
    """Reads the CSV or Parquet file `source` and writes it to `destination` as one uncompressed Arrow file.

    content_type: a media type; unless it is that of CSV or Parquet, the bytes decide.
    sha256: of the bytes of `source`, lower-case hex; whoever spooled them has it already.
    block_bytes: how much CSV is read at once, and the most bytes a record may have.

    Memory is bounded by the block and the number of columns, not by the size of the file. Raises BadContent
    when the bytes are not a usable table (it has the reasons), and OSError when the disk fails; either way
    nothing is left at `destination` that was not there before.
    """
    if is_parquet(source, content_type):
        media_type = PARQUET
        rows, columns = _write(parquet_batches(source), destination)
    else:
        media_type = CSV
        rows, columns = _ingest_csv(source, destination, block_bytes)
    pa.default_memory_pool().release_unused()
    return Content(sha256, source.stat().st_size, media_type, rows, columns)


def _ingest_csv(source: Path, destination: Path, block_bytes: int) -> tuple[int, tuple[ProfiledColumn, ...]]:
    header = read_header(source, block_bytes)
    try:
        return _write(inferred(source, header, block_bytes), destination)
    except pa.ArrowException:
        # Either the file is bad or only unlike its first block; the careful way tells.
        return _write(settled(source, header, block_bytes), destination)


def _write(table: Batches, destination: Path) -> tuple[int, tuple[ProfiledColumn, ...]]:
    kinds = [kind for field in table.schema if (kind := column_type(field.type)) is not None]
    profilers = [Profiler(kind) for kind in kinds]
    rows = 0
    with arrow_file(destination, table.schema) as writer:
        for batch in gathered(table.batches):
            writer.write_batch(batch)
            rows += batch.num_rows
            for profiler, array in zip(profilers, batch.columns, strict=True):
                profiler.add(array)
        profiles = [profiler.profile() for profiler in profilers]
        if not rows:
            raise BadContent("NO_ROWS", "The file has columns but no rows.")
        if not any(profile.count for profile in profiles):
            raise BadContent("ALL_NULL", "Every value in the file is missing.")
    named = zip(table.schema.names, kinds, profiles, strict=True)
    return rows, tuple(ProfiledColumn(Column(name, kind, p.null_count > 0), p) for name, kind, p in named)
