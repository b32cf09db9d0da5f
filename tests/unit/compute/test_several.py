"""Several candidates in one fit come to what each would have come to alone, after whatever interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from services.training.compute import several
from services.training.compute.backend import open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.loop import Loop, NullLoop, State
from services.training.compute.model import weights_sha256
from services.training.compute.resume import Misfit
from services.training.compute.several import Candidate, Chosen, Contest, Result, fit_several
from services.training.compute.table import as_table, take
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import BoostedTrees, Hyperparameters, Logistic, Mlp
from tests.unit.compute.tables import Interrupted, Recorder, bundled

NUMPY = open_backend("numpy")
PROBLEM = Problem("classification", "y", Mlp(), seed=3)
TABLES = (as_table(take(bundled("iris"), np.arange(150))), None, None)
NETWORK = Mlp(hidden_sizes=(6,), max_epochs=4, batch_size=16, ensemble_size=2, early_stopping_patience=2)
# Three of one shape, two that train alone, one that comes to nothing.
PARAMS: list[Hyperparameters] = [
    replace(NETWORK, learning_rate=0.01),
    Logistic(),
    replace(NETWORK, learning_rate=0.1, dropout=0.3),
    replace(NETWORK, learning_rate=10.0, weight_decay=100.0),
    BoostedTrees(n_estimators=4),
]


def candidates(params: list[Hyperparameters]) -> list[Candidate]:
    return [Candidate(7 + index, one, PROBLEM.seed) for index, one in enumerate(params)]


def run(
    params: list[Hyperparameters],
    loop: Loop | None = None,
    resume: State | None = None,
    folder: Path | None = None,
) -> tuple[Chosen, dict[int, Result]]:
    told: dict[int, Result] = {}
    contest = Contest(
        candidates(params), lambda metrics: metrics["log_loss"], lambda one: told.update({one.number: one})
    )
    where = {"workspace": folder, "memory_budget": 1} if folder else {}
    with np.errstate(all="ignore"):
        chosen = fit_several(PROBLEM, contest, TABLES, loop or NullLoop(), NUMPY, resume=resume, **where)  # type: ignore[arg-type]
    return chosen, told


def digest(chosen: Chosen) -> str:
    assert chosen.fitted.model
    return weights_sha256(chosen.fitted.model.arrays())


def test_each_is_as_alone_and_the_best_has_a_model(tmp_path: Path) -> None:
    (chosen, told), alone = run(PARAMS, folder=tmp_path), {}
    assert sorted(told) == [7, 8, 9, 10, 11]
    for one in candidates(PARAMS):
        problem = replace(PROBLEM, hyperparameters=one.hyperparameters)
        if one.number == 10:
            assert "learning_rate: training diverged" in told[10].problem
            continue
        alone[one.number] = fitted = fit(problem, TABLES[0], None, None, NullLoop(), NUMPY)
        assert told[one.number].validation_metrics == pytest.approx(dict(fitted.validation_metrics), rel=1e-4)
        assert told[one.number].test_metrics == pytest.approx(dict(fitted.test_metrics), rel=1e-4)
        assert told[one.number].seconds > 0
    best = min(alone, key=lambda number: alone[number].validation_metrics["log_loss"])
    assert chosen.number == best
    assert chosen.fitted.model
    assert chosen.fitted.model.explanation == alone[best].model.explanation  # type: ignore[union-attr]
    assert (chosen.fitted.test_confusion == alone[best].test_confusion).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("side_by_side", [several.SIDE_BY_SIDE, 1])
def test_after_any_step_the_end_is_the_same(side_by_side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "SIDE_BY_SIDE", side_by_side)
    whole = Recorder()
    expected, wanted = run(PARAMS, whole)
    assert [step for step, _, _ in whole.reports] == sorted(step for step, _, _ in whole.reports)
    assert [one for _, one, _ in whole.reports] == sorted(one for _, one, _ in whole.reports)
    for last in range(1, len(whole.states) + 1, 5):
        before, after = Interrupted(last=last), Recorder()
        stopped, first = run(PARAMS, before)
        assert stopped.fitted.stopped
        resumed, then = run(PARAMS, after, load(save(before.states[-1])))
        assert digest(resumed) == digest(expected)
        assert before.reports + after.reports == whole.reports
        told = {**first, **then}
        assert {number: replace(one, seconds=0) for number, one in told.items()} == {
            number: replace(one, seconds=0) for number, one in wanted.items()
        }


def test_a_checkpoint_of_another_fit_is_refused() -> None:
    loop = Recorder()
    run(PARAMS, loop)
    for state in (loop.states[-1], {"step": np.array(1)}):
        with pytest.raises(Misfit):
            run(PARAMS[3:4], resume=state)


def test_nothing_but_failures_is_an_error_that_says_why() -> None:
    with pytest.raises(ComputeError, match="diverged"):
        run(PARAMS[3:4])
