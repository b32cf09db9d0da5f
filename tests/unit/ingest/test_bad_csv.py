from __future__ import annotations

import os

import pytest

ROWS = b"1,x\n" * 1000


@pytest.mark.parametrize(
    ("data", "reason", "row", "column"),
    [
        (b"", "EMPTY_FILE", None, None),
        (b"\n\r\n\n", "EMPTY_FILE", None, None),
        (b"a,b\n", "NO_ROWS", None, None),
        (b"a,b\n\n\n", "NO_ROWS", None, None),
        (b"a,b\n,NA\n?,\n", "ALL_NULL", None, None),
        (b"a,b\n" + ROWS + b"1,2,3\n" + ROWS, "RAGGED_ROW", 1002, None),
        (b"a,b\n" + ROWS + b"1\n" + ROWS, "RAGGED_ROW", 1002, "b"),
        (b'a,b\n\n1,"x\ny"\n\n2\n', "RAGGED_ROW", 6, "b"),
        (b"a,b\n" + ROWS + b"1,\xff\n" + ROWS, "NOT_UTF8", 1002, "b"),
        (b"a,b\n1,x\n\xff,x\n", "NOT_UTF8", 3, "a"),
        (b"a,\xff\n1,2\n", "NOT_UTF8", 1, None),
        ("a,b\n1,2\n".encode("utf-16"), "NOT_UTF8", 1, None),
        (b"a,b\n" + ROWS + b"1,x\0\n", "NUL_BYTE", 1002, "b"),
        (b"a,b\0\n1,2\n", "NUL_BYTE", 1, None),
        (b"a,b,a\n1,2,3\n", "DUPLICATE_COLUMN", 1, "a"),
        (b"\na,,c\n1,2,3\n", "UNNAMED_COLUMN", 2, ""),
        (b'a,b\n1,x\n2,"y\n3,z\n', "UNCLOSED_QUOTE", 3, "b"),
        (b'a,b\n1,x\n"2,y\n3,z\n', "UNCLOSED_QUOTE", 3, "a"),
        (b'a\n1\n"2', "UNCLOSED_QUOTE", 3, "a"),
        (b'"a,b\n1,2\n', "UNCLOSED_QUOTE", 1, None),
        (b"a,b\n1," + b"x" * 5000 + b"\n", "ROW_TOO_LONG", 2, None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "UNSUPPORTED_FORMAT", None, None),
        (b"PAR1\x15\x04\x15PAR1", "UNSUPPORTED_FORMAT", None, None),
    ],
)
def test_what_is_wrong_and_where(
    refused, data: bytes, reason: str, row: int | None, column: str | None
) -> None:
    problem = refused(data)
    assert (problem.reason, problem.row, problem.column) == (reason, row, column)
    assert len(str(problem)) < 200


def test_a_quote_left_open_in_a_large_file_is_found_without_reading_on(refused) -> None:
    problem = refused(b'a,b\n1,"x\n' + ROWS * 100, block_bytes=1 << 20)
    assert (problem.reason, problem.row) == ("UNCLOSED_QUOTE", 2)


def test_a_field_of_more_than_128_kib(refused) -> None:
    problem = refused(b"a,b\n1,x\n2," + b"x" * 140_000 + b"\n", block_bytes=1 << 20)
    assert (problem.reason, problem.row) == ("FIELD_TOO_LONG", 3)


def test_binary_junk(refused) -> None:
    junk = b"\x80" + os.urandom(100_000)
    assert refused(junk).reason in {"NOT_UTF8", "NUL_BYTE", "ROW_TOO_LONG"}
    assert refused(junk, "application/octet-stream").reason in {"NOT_UTF8", "NUL_BYTE", "ROW_TOO_LONG"}
