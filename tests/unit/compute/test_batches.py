from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.training.compute.backend import open_backend
from services.training.compute.estimators import batches
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.batches import Batch, Batches
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.preprocessing import Expansion
from services.training.compute.storage import FileRows, RowsWriter

NUMPY = open_backend("numpy")
ROWS = 1003


@pytest.fixture(params=["memory", "file", "packed file"])
def samples(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Samples:
    """Row number i has target i, and i in its first feature."""
    monkeypatch.setattr(batches, "WINDOW_BYTES", 8 * 150)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 8 * 7)
    in_file = request.param != "memory"
    features = RowsWriter((ROWS, 2), np.float32, tmp_path / "features" if in_file else None)
    targets = RowsWriter((ROWS,), np.int64, tmp_path / "targets" if in_file else None)
    features.append(np.column_stack([np.arange(ROWS), np.arange(ROWS) % 3]))
    targets.append(np.arange(ROWS))
    expansion = None
    if request.param == "packed file":
        place = [np.array([at]) for at in range(2)]
        expansion = Expansion(4, place[0], place[0], place[0][:0], place[1], place[1], np.array([3]))
    return Samples(features.finish(), targets.finish(), ROWS, expansion=expansion, packed=True)


def batches_of(samples: Samples, seed: int = 0) -> Batches:
    return Batches(samples, Inputs.fit(samples), 16, seed, NUMPY)


def walk(found: Batches, epoch: int, first: int = 0) -> Iterator[Batch]:
    for number in found.epoch(epoch, first):
        yield found.fetch(np.array([number]))


def rows_of(found: Batches, epoch: int, first: int = 0) -> list[list[int]]:
    return [batch.targets.tolist() for batch in walk(found, epoch, first)]


def test_every_row_comes_once_an_epoch(samples: Samples) -> None:
    found = batches_of(samples)
    epochs = [rows_of(found, epoch) for epoch in (0, 1)]
    assert epochs[0] != epochs[1]
    for epoch in epochs:
        assert {len(batch) for batch in epoch} == {found.rows}
        assert len(epoch) == found.steps
        assert sorted(np.concatenate(epoch)[:ROWS].tolist()) == list(range(ROWS))
        assert [found.passed(batch) for batch in (0, 1, found.steps)] == [0, found.rows, ROWS]


def test_features_go_with_their_targets(samples: Samples) -> None:
    inputs = Inputs.fit(samples)
    for batch in walk(batches_of(samples), 3):
        packed = np.column_stack([batch.targets, batch.targets % 3]).astype(np.float32)
        np.testing.assert_array_equal(batch.x, inputs(packed)[0])


@pytest.mark.parametrize("first", [1, 8, 9, 10, 40, 62, 63])
def test_from_any_batch_on_the_rest_is_the_same(samples: Samples, first: int) -> None:
    whole = rows_of(batches_of(samples, 5), 2)
    assert rows_of(batches_of(samples, 5), 2, first) == whole[first:]


def test_a_window_is_drawn_from_all_over(samples: Samples) -> None:
    found = batches_of(samples)
    assert found.plan[2] == (7 if isinstance(samples.features, FileRows) else 1)
    means = [np.mean(batch) for batch in rows_of(found, 0)]
    # Read in the file's order, they would spread over 290.
    assert np.std(means) < 150


def test_the_seed_decides(samples: Samples) -> None:
    first, same, other = (rows_of(batches_of(samples, seed), 0) for seed in (1, 1, 2))
    assert first == same != other


def test_a_window_is_all_that_is_in_memory(samples: Samples) -> None:
    found = batches_of(samples)
    most = max(len(found._window[0]) for _ in found.epoch(0, 0))
    assert 100 < most < 170 if isinstance(samples.features, FileRows) else most == ROWS
