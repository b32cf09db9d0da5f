"""What is doubtful of data is said, and of data that are as they should be nothing is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from services.training.compute.data_checks import gathering
from services.training.compute.data_checks.drift import cramers_v, kolmogorov_smirnov
from services.training.compute.loop import NullLoop, Offering
from services.training.compute.prepare import Preparation, Problem
from services.training.compute.sample_writer import Room
from services.training.compute.table import Categories, Column, as_table
from services.training.domain.hyperparameters import BoostedTrees, KMeans
from tests.unit.compute.tables import bundled, text

Table = Mapping[str, Column]
KINDS = {"iris": "classification", "digits": "classification", "breast_cancer": "classification"}
KINDS |= {"wine": "classification", "diabetes": "regression"}


def warnings(
    table: Table,
    kind: Any = "classification",
    others: tuple[Table | None, Table | None] = (None, None),
    part: float = 0.3,
) -> list[str]:
    """With `part` of the rows for validation: of small tables less would be too few to judge by."""
    params = KMeans() if kind == "clustering" else BoostedTrees()
    problem = Problem(kind, "" if kind == "clustering" else "y", params, validation_fraction=part)
    tables = (as_table(table), as_table(others[0]), as_table(others[1]))
    return list(Preparation.of(problem, tables, Offering(NullLoop()), Room(1 << 30, None))(None).warnings)


def rows(table: Table, start: int, stop: int) -> dict[str, Column]:
    return {
        name: Categories(c.codes[start:stop], c.vocabulary) if isinstance(c, Categories) else c[start:stop]
        for name, c in table.items()
    }


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("part", [0.15, 0.3, 0.7])
def test_nothing_is_said_of_tables_that_are_as_they_should_be(name: str, part: float) -> None:
    """Among them iris, where a petal tells the kind nearly, and two more that are easily told."""
    assert warnings(bundled(name), KINDS[name], part=part) == []


def noisy(y: np.ndarray) -> np.ndarray:
    noise: np.ndarray = y + np.random.default_rng(0).normal(0, 0.02 * y.std(), len(y))
    return noise


GIVEN_AWAY: dict[str, Callable[[np.ndarray], Column]] = {
    "copy": lambda y: y.copy(),
    "shifted": lambda y: 5 - 3 * y,
    "noisy": noisy,
    "named": lambda y: text(*(f"class {value}" for value in y.tolist())),
}


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
@pytest.mark.parametrize("how", GIVEN_AWAY)
def test_a_column_that_gives_the_target_away_is_named(name: str, how: str) -> None:
    table = dict(bundled(name))
    y = table["y"]
    assert not isinstance(y, Categories)
    if name == "diabetes" and how == "named":
        y = table["y"] = np.round(y, -2)
    table["leak"] = GIVEN_AWAY[how](y)
    [said] = warnings(table, KINDS[name])
    assert said.startswith("column 'leak' alone tells 'y' nearly perfectly (")
    assert "validation rows" in said
    assert "excluded_columns" in said


def test_copies_of_the_target_do_not_hide_each_other() -> None:
    table = dict(bundled("digits"))
    y = table["y"]
    assert not isinstance(y, Categories)
    said = warnings({**table, "one": y + 1, "two": -y})
    assert [one.split("'")[1] for one in said] == ["one", "two"]


def test_what_is_easy_to_tell_is_not_given_away() -> None:
    """Either column would do; so neither is a secret."""
    random = np.random.default_rng(1)
    y = random.integers(0, 2, 600).astype(float)
    easy = {f"x{i}": y * 4 + random.normal(0, 0.9, 600) for i in range(12)}
    sure = y * 8 + random.normal(size=600)
    assert warnings({**easy, "sure": sure, "y": y}) == []


def test_few_rows_prove_nothing() -> None:
    y = np.arange(200) % 2.0
    noise = np.random.default_rng(0).normal(size=200)
    assert warnings({"leak": y.copy(), "x": noise, "y": y}) == []  # 60 validation rows
    rare = np.where(np.arange(1000) % 100 == 0, 1.0, 0.0)
    noise = np.random.default_rng(0).normal(size=1000)
    assert warnings({"leak": rare.copy(), "x": noise, "y": rare}) == []  # 3 of the rarer class


def test_rows_that_are_there_twice_are_counted() -> None:
    digits = bundled("digits")
    twice = {
        name: np.concatenate([column, column[:300]])  # type: ignore[arg-type]
        for name, column in digits.items()
    }
    said = warnings(twice, part=0.2)
    assert [one.split(" of the ")[1].split()[0] for one in said] == ["validation", "test"]
    assert all(0 < int(one.split()[0]) < 150 and "flatters" in one for one in said)


def test_a_number_of_its_own_makes_copies_of_equal_rows() -> None:
    random = np.random.default_rng(5)
    table = {"x": random.normal(size=500), "c": random.integers(0, 2, 500) * 1.0, "y": np.arange(500) % 2.0}
    assert warnings(table) == []
    assert len(warnings({name: np.tile(column, 2) for name, column in table.items()})) == 2


def test_equal_rows_are_expected_where_there_are_few_kinds_of_them() -> None:
    random = np.random.default_rng(2)
    columns: dict[str, Column] = {
        name: text(*random.choice(["a", "b", "c"], 900).tolist()) for name in ("one", "two", "three")
    }
    table = {**columns, "y": random.integers(0, 2, 900).astype(float)}
    assert warnings(table) == []
    # But a dataset of one's own, made of rows of a table where they are rarer, is found.
    wide = {**table, "x": np.floor(random.exponential(60, 900))}
    copied = rows(wide, 0, 300)
    [said] = warnings(wide, others=(copied, rows(wide, 300, 300)))
    assert said.startswith("300 rows (100.0%) of the validation part")


def test_of_many_rows_equal_ones_are_found_by_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_HASHED", 200)
    digits = bundled("digits")
    said = warnings(digits, others=(rows(digits, 0, 900), rows(digits, 0, 0)))
    assert [one.split(" of the rows")[0] for one in said] == ["about 100.0%"]


def test_datasets_of_ones_own_that_differ_are_named() -> None:
    random = np.random.default_rng(3)

    def table(count: int, shift: float, second: float, gaps: float) -> dict[str, Column]:
        texts = np.where(random.random(count) < second, "b", "a").tolist()
        return {
            "same": random.normal(size=count),
            "number": random.normal(shift, 1, count),
            "kind": text(*texts),
            "holes": np.where(random.random(count) < gaps, np.nan, random.normal(size=count)),
            "y": random.integers(0, 2, count).astype(float),
        }

    train = table(2000, 0, 0.5, 0.05)
    assert warnings(train, others=(table(500, 0, 0.5, 0.05), table(400, 0, 0.5, 0.05))) == []
    [said] = warnings(train, others=(table(500, 0, 0.5, 0.05), table(400, 1, 0.8, 0.4)))
    assert "in the test dataset" in said
    assert sorted(part for part in said.split("'") if part in train) == ["holes", "kind", "number"]
    assert "Kolmogorov-Smirnov distance 0." in said
    assert warnings(train, others=(None, table(25, 1, 0.8, 0.4))) == []  # too few rows
    [said] = warnings(rows(train, 0, 2000), "clustering", (None, table(400, 1, 0.5, 0.05)))
    assert "'number'" in said


def test_statistics_are_those_of_scipy() -> None:
    random = np.random.default_rng(4)
    first, second = np.sort(random.normal(size=400)), np.sort(random.normal(0.15, 1.1, 250))
    expected = stats.ks_2samp(first, second, method="asymp")
    distance, p_value = kolmogorov_smirnov(first, second)
    assert distance == pytest.approx(expected.statistic)
    assert p_value == pytest.approx(expected.pvalue, rel=0.15)
    counts = np.array([[40, 90, 20, 31], [60, 70, 10, 55]])
    chi2 = stats.chi2_contingency(counts, correction=False)
    size, p_value = cramers_v(counts)
    assert size == pytest.approx(np.sqrt(chi2.statistic / counts.sum()))
    assert p_value == pytest.approx(chi2.pvalue, rel=0.15)
