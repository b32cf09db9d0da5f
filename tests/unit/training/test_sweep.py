"""Sweeps: their moves, how trials are ranked, and what a sampler learns from."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.training.domain.collecting import collected
from services.training.domain.job import IllegalMove, JobError, JobState
from services.training.domain.ranking import LOWER_IS_BETTER, METRICS
from services.training.domain.sweep import TRANSITIONS, Budget, Prices, Sweep, SweepState
from services.training.domain.trial import Measured, Trial, TrialState
from services.training.domain.usage import Usage
from tests.unit.training.samples import LATER, NOW, job, sweep

LOST = JobError("ABORTED", "TRAINING_PROCESS_LOST", "gone")
VALUES = {"learning_rate": 0.01}


def ended(number: int, value: float, state: TrialState = TrialState.SUCCEEDED) -> Trial:
    metrics = {"log_loss": value, "accuracy": value}
    return Trial(number, VALUES, "tpe", f"job-1-{number}", state, metrics, model_id=f"model-{number}")


@pytest.mark.parametrize("before", SweepState)
@pytest.mark.parametrize("after", SweepState)
def test_only_moves_of_the_table_are_made(before: SweepState, after: SweepState) -> None:
    one = sweep(state=before)
    if after in TRANSITIONS[before]:
        moved = one.moved(after, LATER)
        assert (moved.state, moved.end_time is not None) == (after, after.ended)
    else:
        with pytest.raises(IllegalMove):
            one.moved(after, LATER)


def test_every_metric_has_a_direction() -> None:
    known = {name for names in METRICS.values() for name in names}
    assert known >= LOWER_IS_BETTER
    assert known - LOWER_IS_BETTER == {"accuracy", "roc_auc", "f1", "r2", "silhouette"}


RESULTS = st.lists(st.tuples(st.sampled_from(TrialState), st.floats(-5, 5) | st.just(math.nan)), max_size=8)


@given(RESULTS, st.sampled_from(["log_loss", "accuracy"]))
def test_the_leaderboard_has_the_best_first_and_those_without_a_result_last(
    results: list[tuple[TrialState, float]], metric: str
) -> None:
    trials = tuple(ended(number, value, state) for number, (state, value) in enumerate(results))
    it = sweep(trials=trials, metric=metric)
    assert sorted(it.leaderboard, key=lambda one: one.number) == list(trials)
    finite = [
        one for one in trials if one.state is TrialState.SUCCEEDED and not math.isnan(it_value(one, metric))
    ]
    values = [it_value(one, metric) for one in it.leaderboard[: len(finite)]]
    assert values == sorted(values, reverse=metric == "accuracy")
    rest = [one.number for one in it.leaderboard[len(finite) :]]
    assert rest == sorted(rest)
    kept, dropped = it.dropping()
    assert sorted([one.model_id for one in kept.trials if one.model_id] + list(dropped)) == sorted(
        one.model_id for one in trials
    )
    if finite:
        assert kept.best
        assert [one for one in kept.trials if one.model_id] == [kept.best]


def it_value(trial: Trial, metric: str) -> float:
    return trial.validation_metrics[metric]


def test_a_trial_without_a_result_counts_as_the_worst() -> None:
    failed = replace(ended(1, 0.1, TrialState.FAILED), values={"learning_rate": 0.02})
    it = sweep(trials=(ended(0, 0.5), failed, ended(2, 0.9)))
    assert [one.loss for one in it.measured()] == [0.5, 0.9, 0.9]
    assert it.measured()[1].values["learning_rate"] == 0.02
    assert sweep(trials=(failed,)).measured() == []
    learned = Measured({"learning_rate": 0.03}, 2.0)
    assert [one.loss for one in sweep(trials=(failed,), learned=(learned,)).measured()] == [2.0, 2.0]


def test_a_trial_is_what_became_of_its_job() -> None:
    it = sweep(trials=tuple(Trial(number, VALUES, "tpe", f"job-1-{number}") for number in range(5)))
    won = {"state": JobState.SUCCEEDED, "model_id": "m", "usage": Usage(1.0, 2.0)}
    jobs = {
        "job-1-0": job("job-1-0", **won, validation_metrics={"log_loss": 0.5}, test_metrics={"f1": 1.0}),
        "job-1-1": job("job-1-1", **won, validation_metrics={"accuracy": 0.5}),
        "job-1-2": job("job-1-2", state=JobState.FAILED, error=LOST),
        "job-1-3": None,
        "job-1-4": job("job-1-4", state=JobState.RUNNING),
    }
    trials = collected(it, jobs, LATER).trials
    assert [one.state.value for one in trials] == ["SUCCEEDED", "FAILED", "FAILED", "FAILED", "RUNNING"]
    assert (trials[0].model_id, trials[0].test_metrics, trials[0].usage) == ("m", {"f1": 1.0}, won["usage"])
    assert [one.error.reason for one in trials[1:4] if one.error] == [
        "TRAINING_FAILED",
        "TRAINING_PROCESS_LOST",
        "JOB_NOT_FOUND",
    ]


def test_the_time_for_which_it_was_cancelled_does_not_count() -> None:
    it = sweep(budget=Budget(4, max_seconds=2.5))
    stopped = it.cancelled(LATER).stopped(LATER)  # after a second
    assert stopped.earlier_seconds == 1.0
    later = NOW.replace(year=2027)
    resumed = stopped.resumed(later)
    assert resumed.seconds(later) == 1.0
    assert not resumed.used_up(later, 0)
    assert resumed.used_up(later + 2 * (LATER - NOW), 0)


def test_a_budget_of_money_counts_what_devices_cost() -> None:
    usage = Usage(cpu_seconds=3600, gpu_seconds=1800)
    assert Prices(0.05, 2.0).cost(usage) == pytest.approx(1.05)
    it = sweep(budget=Budget(4, max_cost_usd=1.0))
    assert it.used_up(NOW, 1.05)
    assert not it.used_up(NOW, 0.95)
    assert not sweep().used_up(LATER, 1e9)


def test_it_fails_only_without_any_result() -> None:
    one = sweep(trials=(ended(0, 0.5), replace(ended(1, 0.1, TrialState.FAILED), error=LOST)))
    won = one.finished(LATER)
    assert (won.state, won.model_id, won.error) == (SweepState.SUCCEEDED, "model-0", None)
    lost: Sweep = replace(one, trials=one.trials[1:]).finished(LATER)
    assert (lost.state, lost.model_id, lost.error) == (SweepState.FAILED, "", LOST)


def test_the_first_values_are_the_bases_own_where_they_lie_in_the_space() -> None:
    assert sweep().first_values() == {
        "learning_rate": 0.04,  # as it is settled
        "architecture": "real_mlp",
        "ensemble_size": 4,
        "hidden_sizes": (256, 256, 256),
    }
    params = replace(sweep().base.hyperparameters, learning_rate=5.0)
    assert sweep(base=replace(sweep().base, hyperparameters=params)).first_values() is None
