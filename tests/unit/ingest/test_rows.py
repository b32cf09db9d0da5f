from __future__ import annotations

import numpy as np
import pytest

from services.training.adapters.ingest import BadRow, rows_to_table
from services.training.compute.table import Categories


def test_rows_become_the_expected_columns() -> None:
    rows = [{"size": 1.5, "city": "Oslo", "extra": []}, {"city": None}, {"size": "2", "city": "Rome"}]
    table = rows_to_table(rows, {"city": "categorical", "size": "numeric"})
    assert list(table) == ["city", "size"]
    city = table["city"]
    assert isinstance(city, Categories)
    assert (city.codes.tolist(), city.vocabulary) == ([0, -1, 1], ("Oslo", "Rome"))
    np.testing.assert_array_equal(table["size"], [1.5, np.nan, 2])


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1),
        (7, 7),
        (" 1e3 ", 1000),
        ("+1", 1),
        ("", np.nan),
        ("NA", np.nan),
        ("?", np.nan),
        (None, np.nan),
    ],
)
def test_what_counts_as_a_number(value: object, number: float) -> None:
    np.testing.assert_array_equal(rows_to_table([{"a": value}], {"a": "numeric"})["a"], [number])


@pytest.mark.parametrize("value", ["two", "1_000", [1], {"x": 1}, 10**400, "x" * 1000])
def test_what_does_not_is_named(value: object) -> None:
    with pytest.raises(BadRow, match=r"Row 1, column 'a': .* is not a number") as caught:
        rows_to_table([{"a": 1}, {"a": value}], {"a": "numeric"})
    assert (caught.value.index, caught.value.column) == (1, "a")
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (3, "3"), (-0.0, "0"), (0.5, "0.5"), (1e300, "1e+300"), (True, "true"), ("3.0", "3.0")],
)
def test_numbers_in_a_categorical_column_become_text(value: object, text: str) -> None:
    column = rows_to_table([{"a": value}], {"a": "categorical"})["a"]
    assert isinstance(column, Categories)
    assert column.vocabulary == (text,)


def test_structures_in_a_categorical_column_are_refused() -> None:
    with pytest.raises(BadRow, match="Row 0, column 'a'"):
        rows_to_table([{"a": {"b": 1}}], {"a": "categorical"})


def test_no_rows() -> None:
    table = rows_to_table([], {"a": "numeric", "b": "categorical"})
    assert [len(column) for column in table.values()] == [0, 0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86400),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01 00:00:01Z", 1),
        (60, 60),
        (None, np.nan),
    ],
)
def test_a_point_in_time_is_seconds_since_the_epoch(value: object, seconds: float) -> None:
    np.testing.assert_array_equal(rows_to_table([{"at": value}], {"at": "timestamp"})["at"], [seconds])


def test_what_is_no_point_in_time_is_named() -> None:
    with pytest.raises(BadRow, match="'soon' is not a point in time"):
        rows_to_table([{"at": "soon"}], {"at": "timestamp"})
