from __future__ import annotations

import numpy as np
import pytest

from services.training.compute import table as tables
from services.training.compute.errors import ComputeError
from services.training.compute.table import Categories, MemoryTable, as_table
from tests.unit.compute.tables import text


def test_a_table_in_memory_comes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_ROWS", 2)
    table = as_table({"a": np.arange(5.0), "b": text("x", "y", "x", None, "z"), "c": np.zeros(5)})
    assert (table.names, len(table)) == (["a", "b", "c"], 5)
    assert as_table(table) is table
    blocks = list(table.blocks(["b", "a"]))
    assert [list(block) for block in blocks] == [["b", "a"]] * 3
    assert [block["a"].tolist() for block in blocks] == [[0, 1], [2, 3], [4]]
    texts = [block["b"] for block in blocks]
    assert all(isinstance(column, Categories) for column in texts)
    assert [column.codes.tolist() for column in texts] == [[0, 1], [0, -1], [2]]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ComputeError, match="b: has 2 rows where the first column has 3"):
        MemoryTable({"a": np.zeros(3), "b": np.zeros(2)})
