"""A Parquet file as batches of typed columns, page by page."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from services.training.adapters.ingest.batches import Batches
from services.training.adapters.ingest.typed import Typed, damaged

# Pages are read through a buffer for each column, rather than whole column chunks at once; the buffers of a
# wide table are smaller, since the reader keeps one page of every column.
_BUFFER_BYTES = 1 << 16
_BUFFERS_BYTES = 1 << 23
_LEAST_BUFFER_BYTES = 1 << 12
# Values in a batch, over all columns, so that wide tables come in batches of fewer rows.
_BATCH_VALUES = 1 << 19
_BATCH_ROWS = 4_096


def parquet_batches(file: Typed) -> Batches:
    """The file's batches.

    Raises BadContent, here or while iterating: UNREADABLE, and what `Typed.table` raises.
    """
    try:
        width = max(1, pq.read_metadata(file.path).num_columns)
        buffer = max(_LEAST_BUFFER_BYTES, min(_BUFFER_BYTES, _BUFFERS_BYTES // width))
        parquet = pq.ParquetFile(file.path, buffer_size=buffer, pre_buffer=False)
        arrow = parquet.schema_arrow
    except Exception as error:
        raise damaged("Parquet", error) from error
    return file.table(arrow, _batches(parquet, max(1, min(_BATCH_ROWS, _BATCH_VALUES // width))))


def _batches(parquet: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    with parquet:
        # In one thread: in several, the pages of all columns are in memory at once.
        batches = parquet.iter_batches(batch_size=rows, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:
                raise damaged("Parquet", error) from error
            if batch is None:
                return
            yield batch
