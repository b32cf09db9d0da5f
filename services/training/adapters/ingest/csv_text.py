"""A file of delimited text, and how it is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from services.training.adapters.ingest.compression import Unpacked, opened
from services.training.adapters.ingest.csv_notation import NULLS
from services.training.domain.dataset import ColumnType

# How much is read at once, and the most bytes a record may have. Memory is a multiple of it (readahead and
# conversion); larger blocks were no faster.
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Text:
    """nulls: the texts that stand for a missing value. types: of columns whose type is not to be found out.

    A compressed file is unpacked anew each time it is opened. That is once more for the header's few bytes,
    and twice more for a file that is unlike its first block; an unpacked copy would cost every compressed
    upload its size on disk.
    """

    source: Path
    compression: str = ""
    delimiter: str = ","
    nulls: tuple[str, ...] = NULLS
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    block_bytes: int = BLOCK_BYTES

    def open(self, offset: int = 0) -> BinaryIO:
        """The file from this byte on."""
        file = opened(self.source, self.compression)
        if self.compression:
            file.read(offset)
        else:
            file.seek(offset)
        return file

    def stream(self, offset: int = 0) -> Any:
        """The same, to be read with `read_buffer`. Large pieces in Python's memory stay with the process."""
        if self.compression:
            packed = Unpacked(self.source, self.compression)
            packed.read_buffer(offset)
            return packed
        file = pa.OSFile(str(self.source), "rb")
        file.seek(offset)
        return file
