"""Files in, one Arrow file out; the Arrow file in, compute's tables out.

FileIngest  CSV, TSV, Parquet, Arrow or NumPy on disk → an Arrow file and its profile
ArrowTable  Arrow file → compute's Table
timestamp_columns  which of its numbers are points in time
rows_to_table  rows of a prediction request → compute's Table

What becomes of a file's columns: CSV and TSV name them in the header; Parquet and Arrow have names. A NumPy
array of shape (n, d) gives c0, c1, …, one of shape (n,) c0, a structured array its fields; in an archive
(NPZ), X of shape (n, d) gives X_0, X_1, … and y of shape (n,) y. Any of them may be packed in gzip or zstd.
"""

from services.training.adapters.ingest.pipeline import FileIngest
from services.training.adapters.ingest.reader import ArrowTable, timestamp_columns
from services.training.adapters.ingest.rows import BadRow, rows_to_table

__all__ = ["ArrowTable", "BadRow", "FileIngest", "rows_to_table", "timestamp_columns"]
