"""Files in, one Arrow file out; the Arrow file in, compute's tables out.

ingest      CSV or Parquet on disk → an Arrow file and its profile
read_table  Arrow file → compute's Table
timestamp_columns  which of its numbers are points in time
rows_to_table  rows of a prediction request → compute's Table
"""

from services.training.adapters.ingest.pipeline import ingest
from services.training.adapters.ingest.reader import read_table, timestamp_columns
from services.training.adapters.ingest.rows import BadRow, rows_to_table

__all__ = ["BadRow", "ingest", "read_table", "rows_to_table", "timestamp_columns"]
