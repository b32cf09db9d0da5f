"""Rows that are kept in files give the models that rows in memory give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.training.compute import table as tables
from services.training.compute.backend import open_backend
from services.training.compute.estimators import batches
from services.training.compute.model import weights_sha256
from services.training.compute.table import Categories, Column, take
from services.training.compute.trainer import Fitted, Problem, fit
from services.training.domain.hyperparameters import Hyperparameters, KMeans, Linear, Logistic, Mlp
from tests.unit.compute.tables import Interrupted, Recorder

NUMPY = open_backend("numpy")
MLP = Mlp(hidden_sizes=(16,), max_epochs=6, batch_size=32, ensemble_size=1)
# In two cases out of three, the dense form of `mixed` is too much, and the packed one too, or not.
BUDGETS = {"dense": 1 << 20, "packed in memory": 60_000, "in files": 1000}


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_BLOCK_ROWS", 100)


def mixed(rows: int = 1200) -> dict[str, Column]:
    """Sorted by its target, which depends on everything; numbers and categories with gaps."""
    random = np.random.default_rng(4)
    size, weight = random.gamma(2, 1, (2, rows))
    colour = random.integers(0, 12, rows)
    score = size - weight + (colour % 3)
    size[::11] = np.nan
    colour[::13] = -1
    names = tuple(f"colour {i}" for i in range(12))
    columns: dict[str, Column] = {
        "size": size,
        "weight": weight,
        "colour": Categories(colour.astype(np.int32), names),
        "value": score,
        "label": Categories((score > 1.5).astype(np.int32), ("no", "yes")),
    }
    return take(columns, np.argsort(score))


def problem(params: Hyperparameters) -> tuple[Problem, dict[str, Column]]:
    """The table without the target of the other task."""
    columns = mixed()
    if isinstance(params, Linear):
        del columns["label"]
        return Problem("regression", "value", params), columns
    del columns["value"]
    if isinstance(params, KMeans):
        return Problem("clustering", "", params), columns
    return Problem("classification", "label", params), columns


def run(params: Hyperparameters, folder: Path | None, budget: str, **more: object) -> Fitted:
    asked, columns = problem(params)
    loop = more.pop("loop", Recorder())
    size = BUDGETS[budget]
    return fit(asked, columns, None, None, loop, NUMPY, workspace=folder, memory_budget=size, **more)


def digest(fitted: Fitted) -> str:
    assert fitted.model
    return weights_sha256(fitted.model.arrays())


@pytest.mark.parametrize(
    "params", [MLP, Logistic(), Linear(), KMeans(clusters=5), KMeans(clusters=5, batch_size=90)]
)
@pytest.mark.parametrize("budget", ["packed in memory", "in files"])
def test_the_model_is_that_of_rows_in_memory(tmp_path: Path, params: Hyperparameters, budget: str) -> None:
    found, expected = run(params, tmp_path, budget), run(params, None, "dense")
    assert digest(found) == digest(expected)
    assert found.test_metrics == expected.test_metrics
    parts = ("train", "validation", "test")
    written = {f"{part}.{what}" for part in parts for what in ("features", "targets")}
    assert {path.name for path in tmp_path.iterdir()} == (written if budget == "in files" else set())


def test_without_a_folder_nothing_is_written() -> None:
    assert digest(run(Logistic(), None, "in files")) == digest(run(Logistic(), None, "dense"))


@pytest.fixture
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WINDOW_BYTES", 3000)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 120)


@pytest.mark.usefixtures("_small_windows")
def test_shuffling_by_windows_learns_as_well(tmp_path: Path) -> None:
    fitted = run(replace(MLP, max_epochs=20), tmp_path, "in files")
    whole = run(replace(MLP, max_epochs=20), None, "dense")
    assert digest(fitted) != digest(whole)
    assert fitted.test_metrics["accuracy"] > 0.85
    assert fitted.test_metrics["accuracy"] == pytest.approx(whole.test_metrics["accuracy"], abs=0.05)


@pytest.mark.usefixtures("_small_windows")
@pytest.mark.parametrize("last", [1, 5, 13, 26, 27, 28, 80])
def test_resumes_within_any_window(tmp_path: Path, last: int) -> None:
    loop = Interrupted(last=last)
    assert run(MLP, tmp_path, "in files", loop=loop).stopped
    resumed = run(MLP, tmp_path, "in files", resume=loop.states[-1])
    assert digest(resumed) == digest(run(MLP, tmp_path, "in files"))


@pytest.mark.parametrize("params", [replace(MLP, max_epochs=1), Logistic(max_iterations=2), Linear()])
def test_a_stop_is_obeyed_wherever_it_comes(tmp_path: Path, params: Hyperparameters) -> None:
    whole = Recorder()
    run(params, tmp_path, "in files", loop=whole)
    # Twelve blocks of the table, read three times at the least, and then come the steps.
    assert whole.asked > 36
    for stop_after in range(whole.asked):
        loop = Recorder(stop_after=stop_after)
        fitted = run(params, tmp_path, "in files", loop=loop)
        assert fitted.stopped
        assert loop.asked == stop_after + 1
