from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.compute.errors import ComputeError
from services.training.compute.splits import split

fractions = st.floats(0, 0.49)
seeds = st.integers(0, 2**64 - 1)


@given(st.integers(1, 200), fractions, fractions, seeds, st.integers(1, 8) | st.none())
def test_parts_are_disjoint_and_complete(
    rows: int, validation: float, test: float, seed: int, classes: int | None
) -> None:
    codes = None if classes is None else np.random.default_rng(seed).integers(0, classes, rows)
    parts = split(rows, validation, test, seed, codes)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together) == list(range(rows))
    if codes is not None:
        assert set(codes[parts.train]) == set(codes)


@given(st.integers(10, 300), st.floats(0, 0.4), st.floats(0, 0.4), seeds)
def test_sizes_match_the_fractions(rows: int, validation: float, test: float, seed: int) -> None:
    parts = split(rows, validation, test, seed)
    assert len(parts.validation) == pytest.approx(validation * rows, abs=0.51)
    assert len(parts.test) == pytest.approx(test * rows, abs=0.51)


def test_one_row_is_left_to_train_on() -> None:
    assert len(split(10, 0.49, 0.49, 0).train) == 1


def test_classes_are_spread_alike_and_rare_ones_stay_in_training() -> None:
    codes = np.repeat([0, 1, 2], [600, 300, 2])
    parts = split(902, 0.2, 0.1, 4, codes)
    assert np.bincount(codes[parts.validation], minlength=3).tolist() == [120, 60, 0]
    assert np.bincount(codes[parts.test], minlength=3).tolist() == [60, 30, 0]
    assert np.bincount(codes[parts.train]).tolist() == [420, 210, 2]


def test_many_small_classes_still_fill_the_parts() -> None:
    parts = split(400, 0.1, 0.1, 4, np.repeat(np.arange(100), 4))
    assert (len(parts.validation), len(parts.test)) == (40, 40)


def test_the_seed_decides() -> None:
    assert split(50, 0.2, 0.2, 7).test.tolist() == split(50, 0.2, 0.2, 7).test.tolist()
    assert split(50, 0.2, 0.2, 7).test.tolist() != split(50, 0.2, 0.2, 8).test.tolist()


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0), (float("nan"), 0)])
def test_impossible_fractions_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ComputeError, match="fractions"):
        split(10, validation, test, 0)
