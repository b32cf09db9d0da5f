from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.compute import splits
from services.training.compute.errors import ComputeError
from services.training.compute.splits import TEST, TRAIN, VALIDATION, split

fractions = st.floats(0, 0.49)
seeds = st.integers(0, 2**64 - 1)


@given(st.integers(1, 200), fractions, fractions, seeds, st.integers(1, 8) | st.none())
def test_parts_are_complete_and_keep_each_class(
    rows: int, validation: float, test: float, seed: int, classes: int | None
) -> None:
    codes = None if classes is None else np.random.default_rng(seed).integers(0, classes, rows)
    parts = split(rows, validation, test, seed, codes)
    assert len(parts) == rows
    assert set(parts.tolist()) <= {TRAIN, VALIDATION, TEST}
    if codes is not None:
        assert set(codes[parts == TRAIN]) == set(codes)


@given(st.integers(10, 300), st.floats(0, 0.4), st.floats(0, 0.4), seeds)
def test_sizes_match_the_fractions(rows: int, validation: float, test: float, seed: int) -> None:
    parts = split(rows, validation, test, seed)
    assert int((parts == VALIDATION).sum()) == pytest.approx(validation * rows, abs=0.51)
    assert int((parts == TEST).sum()) == pytest.approx(test * rows, abs=0.51)


def test_one_row_is_left_to_train_on() -> None:
    assert (split(10, 0.49, 0.49, 0) == TRAIN).sum() == 1


def test_classes_are_spread_alike_and_rare_ones_stay_in_training() -> None:
    codes = np.repeat([0, 1, 2], [600, 300, 2])
    parts = split(902, 0.2, 0.1, 4, codes)
    assert np.bincount(codes[parts == VALIDATION], minlength=3).tolist() == [120, 60, 0]
    assert np.bincount(codes[parts == TEST], minlength=3).tolist() == [60, 30, 0]
    assert np.bincount(codes[parts == TRAIN]).tolist() == [420, 210, 2]


def test_many_small_classes_still_fill_the_parts() -> None:
    parts = split(400, 0.1, 0.1, 4, np.repeat(np.arange(100), 4))
    assert (int((parts == VALIDATION).sum()), int((parts == TEST).sum())) == (40, 40)


def test_the_seed_decides() -> None:
    assert split(50, 0.2, 0.2, 7).tolist() == split(50, 0.2, 0.2, 7).tolist()
    assert split(50, 0.2, 0.2, 7).tolist() != split(50, 0.2, 0.2, 8).tolist()


@pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (-0.1, 0), (float("nan"), 0)])
def test_impossible_fractions_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ComputeError, match="fractions"):
        split(10, validation, test, 0)


def test_blocks_are_dealt_as_if_all_rows_were_shuffled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_BLOCK_ROWS", 10)
    codes = np.arange(40) % 2
    drawn = np.array([split(40, 0.25, 0.2, seed, codes) for seed in range(600)])
    for part, share in ((VALIDATION, 0.25), (TEST, 0.2)):
        assert (drawn == part).sum(axis=1).tolist() == [round(share * 40)] * 600
        # Four standard deviations of 600 draws.
        np.testing.assert_allclose((drawn == part).mean(axis=0), share, atol=0.07)
    # Of ten rows of a block, some 2.5 are drawn, not always as many.
    assert len(set((drawn[:, :10] == VALIDATION).sum(axis=1))) > 3


def test_is_heard_of_at_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_BLOCK_ROWS", 10)
    heard: list[int] = []
    split(95, 0.1, 0.1, 0, on_block=lambda: heard.append(1))
    assert len(heard) == 10
