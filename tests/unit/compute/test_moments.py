from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from services.training.compute.moments import Moments

numbers = npst.arrays(np.float64, st.integers(0, 9), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


def moments(*blocks: np.ndarray) -> Moments:
    found = Moments()
    for block in blocks:
        found.add(block)
    return found


@given(st.lists(numbers, min_size=1, max_size=5), st.sampled_from([1.0, 2.0**-300, 2.0**900]))
def test_blocks_give_what_the_whole_gives(blocks: list[np.ndarray], unit: float) -> None:
    whole = np.concatenate(blocks)
    found = moments(*(block * unit for block in blocks))
    assert found.count == len(whole)
    assert found.mean / unit == pytest.approx(whole.mean() if len(whole) else 0, abs=1e-9)
    assert found.spread / unit == pytest.approx(whole.std() if len(whole) else 0, rel=1e-6, abs=1e-7)


def test_a_far_mean_does_not_drown_the_spread() -> None:
    values = 1e9 + np.random.default_rng(0).normal(0, 1, 10_000)
    found = moments(*np.array_split(values, 37))
    assert found.spread == pytest.approx(values.std(), rel=1e-9)


def test_weights_are_those_of_a_weighted_mean() -> None:
    random = np.random.default_rng(0)
    values, weights = random.gamma(1, 2, 500), random.gamma(0.3, 5, 500)
    found = Moments()
    for rows in np.array_split(np.arange(500), 7):
        found.add(values[rows], weights[rows])
    mean = np.average(values, weights=weights)
    assert (found.count, found.mean) == (pytest.approx(weights.sum()), pytest.approx(mean))
    assert found.squares == pytest.approx(weights @ (values - mean) ** 2)


def test_the_largest_numbers_do_not_overflow() -> None:
    top = np.finfo(np.float64).max
    found = moments(np.array([1.0, 3.0]), np.array([top, -top]))
    assert found.spread == pytest.approx(top / 2**0.5, rel=1e-12)
    assert found.squares == np.inf
    assert found.largest == top
