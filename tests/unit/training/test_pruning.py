"""Which trials are ended early: those that others were better than, and the same ones whatever crashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.compute.backend import open_backend
from services.training.compute.loop import NullLoop
from services.training.compute.trainer import Problem, fit
from services.training.domain.hyperparameters import (
    ALGORITHMS,
    Blend,
    BoostedTrees,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from services.training.domain.pruning import PRUNABLE, RUNGS, VALIDATION_LOSS, Climb, rungs_of, thresholds
from tests.unit.training.samples import point

FIRST, SECOND = RUNGS


def test_a_third_of_those_that_came_to_a_rung_set_its_threshold() -> None:
    came = [(0.9, 0.8), (0.5, 0.4), (0.7, 0.6), (1.0,), (1.1,), (), (0.6,)]
    assert thresholds(came) == ((FIRST, 0.6), (SECOND, 0.4))
    assert thresholds(came[:3]) == ((FIRST, 0.5), (SECOND, 0.4))
    assert thresholds(came[:2]) == ()
    assert thresholds(came[3:]) == ((FIRST, 0.6),)


def climbed(losses: list[float], prune_above: tuple[tuple[float, float], ...], of: int = 18) -> Climb:
    climb = Climb(prune_above)
    for step, loss in enumerate(losses, 1):
        climb.take(step, step / of, {VALIDATION_LOSS: loss})
    return climb


def test_the_best_so_far_is_compared_at_the_first_point_of_a_rung() -> None:
    above = ((FIRST, 0.5), (SECOND, 0.3))
    assert climbed([0.4], above).verdict == ""
    kept = climbed([0.4, 0.6], above)
    assert (kept.rungs, kept.verdict) == ((0.4,), "")
    ended = climbed([0.8, 0.6], above)
    assert ended.verdict == (
        "After 1/9 of its epochs its validation loss, 0.6, was not among the best third (at most 0.5) "
        "of the trials before."
    )
    later = climbed([0.5, 0.4, 0.4, 0.4, 0.4, 0.35], above)
    assert (later.rungs, later.verdict[:9]) == ((0.4, 0.35), "After 1/3")
    assert climbed([0.5, 0.4, 0.4, 0.4, 0.4, 0.3], above).verdict == ""


def test_one_that_stopped_early_has_come_to_every_rung_and_is_not_pruned() -> None:
    climb = climbed([0.8], ((FIRST, 0.5),))
    climb.take(1, 1.0, {})
    assert (climb.rungs, climb.verdict) == ((0.8, 0.8), "")
    assert rungs_of([replace(point(1), values={}, progress=1.0)]) == ()  # no validation loss was reported


LOSSES = st.lists(st.floats(0, 1), min_size=1, max_size=18)


@given(LOSSES, st.floats(0, 1), st.data())
def test_a_resumed_trial_comes_to_the_same_verdict(
    losses: list[float], most: float, data: st.DataObject
) -> None:
    above = ((FIRST, most), (SECOND, most / 2))
    wanted = climbed(losses, above)
    said = data.draw(st.integers(0, len(losses)))  # in the history when it crashed
    checkpoint = data.draw(st.integers(0, said))
    again = climbed(losses[:said], above)
    for step in range(checkpoint + 1, len(losses) + 1):
        again.take(step, step / 18, {VALIDATION_LOSS: losses[step - 1]})
    assert (again.verdict, again.rungs) == (wanted.verdict, wanted.rungs)


@dataclass
class Listening(NullLoop):
    judged: bool = False

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        self.judged |= VALIDATION_LOSS in metrics


QUICK = {
    "linear": Linear(),
    "logistic": Logistic(),
    "kmeans": KMeans(),
    "mlp": Mlp(max_epochs=1),
    "boosted_trees": BoostedTrees(n_estimators=1),
    "blend": Blend(mlp=Mlp(max_epochs=1), boosted_trees=BoostedTrees(n_estimators=1)),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_can_be_pruned_reports_a_validation_loss(name: str) -> None:
    random, params = np.random.default_rng(0), QUICK[name]
    task = params.tasks[0]
    columns = {"x": random.normal(size=60), "y": random.normal(size=60)}
    if task != "clustering":
        columns["t"] = (columns["x"] > 0).astype(np.float64)
    problem = Problem(task, "t" if "t" in columns else "", params.settled(task, 60))  # type: ignore[arg-type]
    loop = Listening()
    fit(problem, columns, None, None, loop, open_backend("numpy"))
    assert loop.judged == (name in PRUNABLE)
