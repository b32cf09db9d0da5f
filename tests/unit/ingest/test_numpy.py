from __future__ import annotations

import datetime as dt
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from services.training.adapters.ingest.npy_file import BLOCK_BYTES
from services.training.domain.dataset import Column, ColumnType, Reading
from tests.unit.ingest import written

INTEGER, FLOAT, BOOLEAN, TEXT, TIMESTAMP = ColumnType
MATRIX = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (np.array([1, -2], "i1"), INTEGER, [1, -2]),
        (np.array([1, 2], ">u4"), INTEGER, [1, 2]),
        (np.array([1, 2**64 - 1], "u8"), FLOAT, [1, 2.0**64]),
        (np.array([1.5, np.nan], ">f4"), FLOAT, [1.5, None]),
        (np.array([1.5, np.inf], "f2"), FLOAT, [1.5, np.inf]),
        (np.array([True, False]), BOOLEAN, [True, False]),
        (np.array(["é", ""]), TEXT, ["é", ""]),
        (np.array(["é", "x"], ">U2"), TEXT, ["é", "x"]),
        (np.array(["é".encode(), b"x"]), TEXT, ["é", "x"]),
        (np.array(["1970-01-02", "NaT"], "M8[D]"), TIMESTAMP, [dt.datetime(1970, 1, 2), None]),
        (np.array(["1970-01-01T02"], ">M8[h]"), TIMESTAMP, [dt.datetime(1970, 1, 1, 2)]),
        (np.array([1_500], "M8[ns]"), TIMESTAMP, [dt.datetime(1970, 1, 1, 0, 0, 0, 1)]),
    ],
)
def test_a_plain_array_is_one_column(
    ingested, stored, array, kind: ColumnType, expected: list[object]
) -> None:
    content = ingested(written.npy(array), "")
    assert content.columns[0].column == Column("c0", kind, nullable=None in expected)
    assert stored()["c0"].to_pylist() == expected
    ingested(written.npz({"y": array}), "")
    assert stored()["y"].to_pylist() == expected


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_matrix_is_columns_in_either_order(ingested, stored, arrow: Path, order: str, packed: bool) -> None:
    rows = BLOCK_BYTES // 24 * 2 + 7
    matrix = np.asarray(np.arange(3.0 * rows).reshape(rows, 3), order=order)
    ingested(written.npy(matrix), "")
    assert stored().schema.names == ["c0", "c1", "c2"]
    assert [np.array_equal(stored()[i], matrix[:, i]) for i in range(3)] == [True] * 3
    ingested(written.npz({"X": matrix, "y": np.arange(rows)}, packed=packed), "")
    assert stored().schema.names == ["X_0", "X_1", "X_2", "y"]
    assert [np.array_equal(stored()[i], matrix[:, i]) for i in range(3)] == [True] * 3
    assert [path.name for path in arrow.parent.iterdir()] == [arrow.name]


def test_fields_of_a_structured_array_are_columns(ingested, stored) -> None:
    array = np.array([(1, "x", 0.5), (2, "y", 1.5)], [("id", ">i4"), ("né", "U3"), ("w", "f4")])
    ingested(written.npy(array), "application/octet-stream")
    assert stored().to_pydict() == {"id": [1, 2], "né": ["x", "y"], "w": [0.5, 1.5]}
    ingested(written.npz({"t": array}), "")
    assert list(stored().to_pydict()) == ["t_id", "t_né", "t_w"]


def test_field_names_outside_of_latin_1(ingested, stored) -> None:
    array = np.array([(1,)], [("名", "i4")])
    with pytest.warns(UserWarning, match="format 3.0"):
        ingested(written.npy(array), "")
    assert stored().to_pydict() == {"名": [1]}


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}, 1], object), "objects"),
        (np.array([(1, {})], [("a", "i4"), ("b", object)]), "'b'"),
        (np.array([1j]), "complex"),
        (np.zeros((2, 2, 2)), "2 × 2 × 2"),
        (np.array(1.0), "scalar"),
        (np.zeros(2, "m8[s]"), "timedelta"),
        (np.zeros(2, "V3"), "V3"),
        (np.zeros(2, [("a", "f4", (2,))]), "'a'"),
        (np.zeros((2, 2), [("a", "f4")]), "structured"),
        (np.zeros(2, np.longdouble), "float128"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(refused, array, words: str) -> None:
    alone = refused(written.npy(array), "")
    assert (alone.reason, words in alone.message) == ("UNSUPPORTED_COLUMN", True)
    archived = refused(written.npz({"y": np.zeros(2), "odd": array}), "")
    assert (archived.reason, "'odd'" in archived.message) == ("UNSUPPORTED_COLUMN", True)


class Ran(Exception):
    """Somebody unpickled what was uploaded."""


class Hostile:
    def __reduce__(self) -> object:
        return exec, ("raise Ran",)


def test_pickles_are_never_read(refused) -> None:
    header = written.npy(np.array([None], object))[:128]
    assert refused(header + pickle.dumps(Hostile()), "").reason == "UNSUPPORTED_COLUMN"
    assert refused(pickle.dumps(Hostile()), "application/x-npy").reason == "NOT_NUMPY"


def test_arrays_of_one_archive_must_be_equally_long(refused) -> None:
    problem = refused(written.npz({"X": MATRIX, "y": np.arange(5)}), "")
    assert problem.reason == "UNEQUAL_LENGTHS"
    assert "'X' has 4, 'y' has 5" in problem.message


def test_names_in_an_archive_must_differ(refused) -> None:
    assert refused(written.npz({"X": MATRIX, "X_0": np.arange(4)}), "").reason == "DUPLICATE_COLUMN"
    with pytest.warns(UserWarning, match="Duplicate"):
        out = zipped_twice()
    assert refused(out, "").reason == "DUPLICATE_COLUMN"


def zipped_twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for _ in range(2):
            archive.writestr("a.npy", written.npy(np.arange(3)))
    return out.getvalue()


def header(text: bytes, version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"\x93NUMPY",
        b"\x93NUMPY\x09\0\x10\0{}",
        header(b"{}"),
        header(b"(" * 5000),
        header(b"-" * 5000 + b"1"),
        header(b"x" * 300_000, 2),
        header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"),
        header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)}"),
        header(b"{'descr': 'zz', 'fortran_order': False, 'shape': (2,)}"),
        written.npy(MATRIX)[:-1],
        written.npy(MATRIX) + b"x",
        written.npy(np.asfortranarray(MATRIX))[:-1],
    ],
)
def test_arrays_that_are_not_whole(refused, data: bytes) -> None:
    assert refused(data, "").reason == "UNREADABLE"
    assert refused(written.zipped({"a.npy": data}), "").reason == "UNREADABLE"


def test_an_archive_that_is_damaged(refused) -> None:
    whole = written.npz({"X": np.random.default_rng(0).random((1000, 3))}, packed=False)
    assert refused(whole[:-30], "").reason == "UNREADABLE"
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    assert refused(bytes(damaged), "").reason == "UNREADABLE"
    assert refused(written.zipped({"a.npy": written.npy(MATRIX), "b.txt": b"x"}), "").reason == "UNREADABLE"


def test_an_array_made_to_fill_the_memory(refused) -> None:
    wide = header(b"{'descr': '<U100000000', 'fortran_order': False, 'shape': (1,)}") + b"\0" * 100
    assert refused(wide, "").reason == "ROW_TOO_LONG"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", written.npy(np.arange(3)))
    assert refused(out.getvalue(), "").reason == "UNREADABLE"
    columns = written.npy(np.asfortranarray(MATRIX)) + b"\0" * 1000
    assert refused(written.zipped({"a.npy": columns}), "").reason == "UNREADABLE"


def test_arrays_without_rows_or_columns(refused) -> None:
    assert refused(written.npy(np.zeros((0, 3))), "").reason == "NO_ROWS"
    assert refused(written.npy(np.zeros((3, 0))), "").reason == "NO_COLUMNS"
    assert refused(written.npy(np.full(3, np.nan)), "").reason == "ALL_NULL"
    assert refused(written.npy(np.zeros((1, 100_001), "i1")), "").reason == "TOO_MANY_COLUMNS"
    assert refused(written.npz({"a": np.zeros((1, 100_001), "i1")}), "").reason == "TOO_MANY_COLUMNS"


def test_text_that_is_not_unicode(refused) -> None:
    assert refused(written.npy(np.array([b"\xff"])), "").reason == "NOT_UTF8"
    wide = written.npy(np.array(["x"]))
    assert refused(wide[:-4] + b"\xff\xff\xff\xff", "").reason == "NOT_UTF8"


def test_asked_types_and_compression(ingested, stored) -> None:
    asked = Reading(column_types=(("c1", TEXT),))
    ingested(written.zstd(written.npy(np.array([[1, 2], [3, 4]]))), asked)
    assert stored().to_pydict() == {"c0": [1, 3], "c1": ["2", "4"]}
