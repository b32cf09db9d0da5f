from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pytest

from services.training.adapters.ingest import FileIngest
from services.training.compute.table import Categories
from services.training.domain.dataset import BadContent, Content, Reading
from tests.unit.ingest.whole import read_table

Ingest: TypeAlias = Callable[..., Content]
Refuse: TypeAlias = Callable[..., BadContent]
Values: TypeAlias = Callable[..., list[object]]


@pytest.fixture
def arrow(tmp_path: Path) -> Path:
    return tmp_path / "out" / "content.arrow"


@pytest.fixture
def ingested(tmp_path: Path, arrow: Path) -> Ingest:
    """Ingests bytes into `arrow`, in blocks small enough that a few dozen rows take several."""
    arrow.parent.mkdir()

    def run(data: bytes, asked: str | Reading = "text/csv", block_bytes: int = 512) -> Content:
        source = tmp_path / "source"
        source.write_bytes(data)
        files = FileIngest(block_bytes)
        reading = files.recognise(source, asked if isinstance(asked, Reading) else Reading(asked))
        return files.read(source, reading, arrow, sha256="of the source")

    return run


@pytest.fixture
def refused(ingested: Ingest, arrow: Path) -> Refuse:
    """Ingests bytes that must be refused without a trace."""

    def run(data: bytes, asked: str | Reading = "text/csv", block_bytes: int = 512) -> BadContent:
        with pytest.raises(BadContent) as caught:
            ingested(data, asked, block_bytes)
        assert list(arrow.parent.iterdir()) == []
        return caught.value

    return run


@pytest.fixture
def stored(arrow: Path) -> Callable[[], pa.Table]:
    """What was written."""

    def run() -> pa.Table:
        with pa.OSFile(str(arrow), "rb") as file:
            return pa.ipc.open_file(file).read_all()

    return run


@pytest.fixture
def values(ingested: Ingest, arrow: Path) -> Values:
    """The values of one column of a CSV file, as compute sees them; None where missing."""

    def run(data: bytes, name: str = "a") -> list[object]:
        ingested(data)
        column = read_table(arrow)[name]
        if isinstance(column, Categories):
            return [None if code < 0 else column.vocabulary[code] for code in column.codes]
        return [None if math.isnan(value) else value for value in column.tolist()]

    return run
