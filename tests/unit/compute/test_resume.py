"""A fit that was interrupted goes on from its last checkpoint as if nothing had been."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save, save_file

from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators import boosted_trees, kmeans, linear, logistic
from services.training.compute.loop import Loop, Snapshot
from services.training.compute.model import weights_sha256
from services.training.compute.table import Table, take
from services.training.compute.trainer import Fitted, Problem, fit
from services.training.domain.hyperparameters import Blend, BoostedTrees, KMeans, Linear, Logistic, Mlp
from tests.unit.compute.tables import Interrupted, Recorder, bundled

NUMPY = open_backend("numpy")
PLAIN = Mlp(hidden_sizes=(6,), max_epochs=3, batch_size=16, ensemble_size=1, dropout=0)
HASTY = Mlp(
    hidden_sizes=(8, 4),
    max_epochs=9,
    batch_size=32,
    ensemble_size=3,
    learning_rate=0.1,
    early_stopping_patience=1,
)
# Too tight for the sixty rows of a class to be reached at once.
TAB_M = replace(HASTY, architecture="tab_m", learning_rate=0.01)
LOGISTIC, SHARP = Logistic(tolerance=1e-9), Logistic(l2=0.01, tolerance=1e-9)
LINEAR = Linear(l2=0.01, tolerance=1e-12)
TREES = BoostedTrees(
    n_estimators=14, learning_rate=0.5, subsample=0.6, colsample_bytree=0.5, early_stopping_rounds=9
)
CASES = {
    "mlp": Problem("classification", "y", PLAIN, seed=3),
    "mlp, dropout and early stopping": Problem("classification", "y", HASTY, seed=2**64 - 1),
    "mlp, values": Problem("regression", "y", HASTY, seed=1),
    "mlp, no validation": Problem("classification", "y", HASTY, 5, validation_fraction=0),
    "tab_m": Problem("classification", "y", TAB_M, seed=4),
    "tab_m, values": Problem("regression", "y", TAB_M, seed=6),
    "logistic": Problem("classification", "y", LOGISTIC),
    "logistic, from some rows": Problem("classification", "y", SHARP),
    "linear": Problem("regression", "y", LINEAR),
    "trees": Problem("classification", "y", TREES, seed=4),
    "trees, values": Problem("regression", "y", TREES, seed=2**40),
    "trees, no validation": Problem("classification", "y", TREES, 5, validation_fraction=0),
    "blend": Problem("classification", "y", Blend(HASTY, TREES), seed=4),
    "blend, values": Problem("regression", "y", Blend(PLAIN, TREES), seed=4),
    "kmeans": Problem("clustering", "", KMeans(clusters=6, restarts=3), seed=2),
    "kmeans, batches": Problem("clustering", "", KMeans(9, batch_size=20, max_iterations=5, restarts=2), 1),
}


@pytest.fixture(autouse=True)
def _iterations_and_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "WIDEST_DIRECT", 1)
    monkeypatch.setattr(linear, "_BLOCK_ROWS", 50)
    monkeypatch.setattr(kmeans, "_BLOCK_ROWS", 50)
    monkeypatch.setattr(logistic, "_BLOCK_ROWS", 50)


def run(problem: Problem, loop: Loop, resume: Mapping[str, np.ndarray] | None = None) -> Fitted:
    return fit(problem, table(problem), None, None, loop, NUMPY, resume=resume)


def table(problem: Problem) -> Table:
    name = "diabetes" if problem.task == "regression" else "iris"
    return take(bundled(name), np.arange(150))


def digest(fitted: Fitted) -> str:
    assert fitted.model
    return weights_sha256(fitted.model.arrays())


@pytest.mark.parametrize("name", CASES)
def test_after_any_step_the_end_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "logistic, from some rows":
        monkeypatch.setattr(logistic, "_FIRST_ROWS", 25)
    monkeypatch.setattr(boosted_trees, "_STRETCH", 5)
    problem, whole = CASES[name], Recorder()
    expected = run(problem, whole)
    assert len(whole.states) == len(whole.steps) > 8
    for last in range(1, len(whole.states) + 1):
        before, after = Interrupted(last=last), Recorder()
        stopped = run(problem, before)
        resumed = run(problem, after, load(save(before.states[-1])))
        assert digest(resumed) == digest(expected)
        assert before.reports + after.reports == whole.reports
        assert before.steps + after.steps == whole.steps
        assert resumed.test_metrics == expected.test_metrics
        repeated = resumed.samples + stopped.samples - expected.samples
        # Before its first iteration, linear reads the rows once in any case.
        assert (repeated > 0) == (name == "linear")


def test_twice_interrupted() -> None:
    problem = CASES["mlp, dropout and early stopping"]
    first, second = Interrupted(last=2), Interrupted(last=3)
    run(problem, first)
    run(problem, second, first.states[-1])
    assert second.steps == [3, 4, 5]
    assert digest(run(problem, Recorder(), second.states[-1])) == digest(run(problem, Recorder()))


def test_in_a_new_process(tmp_path: Path) -> None:
    loop, problem = Interrupted(last=7), CASES["mlp, dropout and early stopping"]
    run(problem, loop)
    save_file(loop.states[-1], tmp_path / "state")
    command = [sys.executable, "-m", "tests.unit.compute.test_resume", str(tmp_path / "state")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == digest(run(problem, Recorder()))


def test_a_stop_within_a_pass_offers_the_last_state_again() -> None:
    whole = Recorder()
    run(CASES["logistic"], whole)
    for stop_after in range(whole.asked - 12, whole.asked):
        loop = Recorder(stop_after=stop_after)
        assert run(CASES["logistic"], loop).stopped
        assert loop.asked == stop_after + 1
        taken = loop.steps.index(loop.steps[-1])
        for state in loop.states[taken:]:
            assert {name: array.tolist() for name, array in state.items()} == {
                name: array.tolist() for name, array in loop.states[-1].items()
            }
    assert len(loop.steps) == loop.steps[-1] + 1


def test_a_stop_after_the_last_step_loses_nothing() -> None:
    problem, whole = CASES["mlp"], Recorder()
    expected = run(problem, whole)
    loop, after = Recorder(stop_after=whole.asked - 1), Recorder()
    assert run(problem, loop).stopped
    assert digest(run(problem, after, loop.states[-1])) == digest(expected)
    assert loop.reports + after.reports == whole.reports


@pytest.mark.parametrize(
    ("name", "other"),
    list(permutations(["mlp", "mlp, values", "logistic", "linear", "kmeans", "blend"], 2)),
)
def test_a_checkpoint_of_another_fit_is_refused(name: str, other: str) -> None:
    loop = Interrupted(last=3)
    run(CASES[other], loop)
    with pytest.raises(ComputeError) as caught:
        run(CASES[name], Recorder(), loop.states[-1])
    assert caught.value.field == "resume"


@pytest.mark.parametrize(
    "change",
    [
        {"batch": np.array(99)},
        {"epoch": np.array(-1)},
        {"plan": np.array([1, 2, 3])},
        {"step": np.array(1.5)},
        {"first": np.zeros((1, 2), np.float32)},
    ],
)
def test_a_checkpoint_that_cannot_be_is_refused(change: dict[str, np.ndarray]) -> None:
    loop = Interrupted(last=3)
    run(CASES["mlp"], loop)
    with pytest.raises(ComputeError, match="resume"):
        run(CASES["mlp"], Recorder(), loop.states[-1] | change)


def test_offers_cost_nothing_until_a_snapshot_is_taken() -> None:
    class Deaf(Recorder):
        def checkpoint(self, step: int, snapshot: Snapshot) -> None:
            self.steps.append(step)

    loop = Deaf()
    assert digest(run(CASES["mlp"], loop)) == digest(run(CASES["mlp"], Recorder()))
    assert loop.steps == list(range(1, len(loop.steps) + 1))


if __name__ == "__main__":
    problem = CASES["mlp, dropout and early stopping"]
    print(digest(run(problem, Recorder(), load_file(sys.argv[1]))))
