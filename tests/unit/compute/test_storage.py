from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.training.compute import storage
from services.training.compute.storage import FileRows, RowsWriter


@pytest.mark.parametrize("shape", [(50, 3), (50,)])
@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_what_is_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], kind: type
) -> None:
    monkeypatch.setattr(storage, "_WRITTEN_BYTES", 100)
    rows = np.random.default_rng(0).integers(-9, 9, shape).astype(kind)
    for path in (None, tmp_path / "rows"):
        writer = RowsWriter(shape, kind, path)
        for start in (0, 7, 30):
            # Every second row of a copy is not contiguous.
            writer.append(np.repeat(rows, 2, axis=0)[::2][start : {0: 7, 7: 30, 30: 50}[start]])
        found = writer.finish()
        assert isinstance(found, FileRows) == (path is not None)
        assert (len(found), found.shape, found.dtype) == (50, shape, np.dtype(kind))
        for piece in (slice(0, 50), slice(13, 14), slice(45, 99), slice(60, 70), slice(5, 5)):
            np.testing.assert_array_equal(found[piece], rows[piece])
        if isinstance(found, FileRows):
            part = found.part(10, 40).part(5, 20)
            assert (len(part), len(found)) == (15, 50)
            for piece in (slice(0, 15), slice(3, 4), slice(12, 99)):
                np.testing.assert_array_equal(part[piece], rows[15:30][piece])


def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    writer = RowsWriter((4, 2), np.float32, tmp_path / "rows")
    writer.append(np.ones((4, 2)))
    rows = writer.finish()
    with (tmp_path / "rows").open("r+b") as file:
        file.truncate(20)
    np.testing.assert_array_equal(rows[0:2], np.ones((2, 2)))
    with pytest.raises(OSError, match="ends before row 4"):
        rows[2:4]
