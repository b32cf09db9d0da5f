"""Any order of results, cancels, resumes and crashes leads a sweep to the leaderboard it would have had.

The store, the disk, the drivers and the sampler are the real ones; a job ends when it is told to.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chassis.errors import FailedPrecondition, NotFound
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.sampler_optuna import OptunaSampler
from services.training.adapters.store_sql import SqlStore
from services.training.application.datasets import Datasets
from services.training.application.drive_sweeps import SweepDriver
from services.training.application.jobs import Jobs
from services.training.application.ports import Page, Transaction
from services.training.application.sweeps import Sweeps
from services.training.application.trials import packed
from services.training.domain.candidate import Candidate, CandidateResult
from services.training.domain.history import MetricPoint
from services.training.domain.hyperparameters import BoostedTrees
from services.training.domain.job import Device, Job, JobError, JobState, Source
from services.training.domain.pruning import Climb, PrunerKind
from services.training.domain.registry import RegisteredModel
from services.training.domain.search_space import Choice, Parameter, SearchSpace
from services.training.domain.sweep import Budget, Prices, Proposal, SamplerKind, Sweep, SweepState
from services.training.domain.trial import Trial, TrialState
from services.training.domain.usage import Usage
from services.training.domain.usual_space import usual_space
from services.training.rpc import mapping_sweeps
from tests.unit.training.samples import SPACE, content, dataset, model, spec, sqlite_store, sweep
from tests.unit.training.stand_ins import HandClock, Processes

LOST = JobError("ABORTED", "TRAINING_PROCESS_LOST", "gone")
GRACE = timedelta(seconds=3)
FEW = SearchSpace((Parameter("architecture", Choice(("plain", "real_mlp"))),))


class Scene:
    """A sweep of five trials, two at a time, with a proposal, and two drivers on its store."""

    def __init__(self, store: SqlStore, folder: Path, **changes: Any) -> None:
        self.store, self.clock, self.artifacts = store, HandClock(), DiskArtifacts(folder)
        self.drivers = [self._driver() for _ in range(2)]
        self.sweeps = Sweeps(store, self.artifacts, Processes(), self.clock, lambda: None)
        self.jobs = Jobs(store, self.artifacts, Processes(), self.clock, lambda: None, {Device.CPU: 2}, GRACE)
        usual = {"budget": Budget(5), "proposals": (Proposal({"learning_rate": 0.02}, "me"),)}
        with store.write() as tx:
            tx.datasets.put(dataset(held=content()))
            tx.sweeps.add(sweep(**{**usual, **changes}))

    def _driver(self) -> SweepDriver:
        return SweepDriver(
            store=self.store,
            artifacts=self.artifacts,
            sampler=OptunaSampler(),
            clock=self.clock,
            wake_jobs=lambda: None,
            grace=GRACE,
            prices=Prices(1.0),
            slots={Device.CPU: 2},
        )

    def tick(self, which: int = 0) -> None:
        self.drivers[which].tick()

    def now(self) -> Sweep:
        return self.sweeps.get("sweep-1")

    def queue(self) -> list[Job]:
        """Jobs that have not ended."""
        with self.store.read() as tx:
            return tx.jobs.in_states([JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING])

    def start(self, job: Job) -> None:
        with self.store.write() as tx:
            tx.jobs.update(job.started(self.clock(), self.clock()))

    def end(self, job: Job, cpu_seconds: float = 1.0) -> None:
        """As its attempt would: by a result that follows from its values; every third is lost."""
        number = int(job.job_id.rpartition("-")[2])
        with self.store.write() as tx:
            if job.state is JobState.QUEUED:
                job = job.started(self.clock(), self.clock())
            usage, climb = Usage(1.0, cpu_seconds), self._trained(tx, job)
            if job.spec.candidates and job.state is JobState.RUNNING:
                tx.jobs.update(self._told(tx, job, usage))
            elif job.state is JobState.CANCELLING:
                tx.jobs.update(job.moved(JobState.CANCELLED, self.clock(), usage=usage))
            elif climb.verdict:
                error = JobError("ABORTED", "TRIAL_PRUNED", climb.verdict)
                tx.jobs.update(job.moved(JobState.FAILED, self.clock(), usage=usage, error=error))
            elif number % 3 == 2:
                tx.jobs.update(job.moved(JobState.FAILED, self.clock(), usage=usage, error=LOST))
            else:
                model_id = f"model-{job.job_id}"
                tx.models.add(replace(model(model_id), job_id=job.job_id))
                metrics = {"log_loss": loss(job.spec.hyperparameters)}
                changes = {"validation_metrics": metrics, "model_id": model_id, "usage": usage}
                tx.jobs.update(job.moved(JobState.SUCCEEDED, self.clock(), **changes))

    def say(self, job: Job) -> None:
        """As an attempt that has the result of one more candidate."""
        done = [one.number for one in job.results]
        left = [one for one in job.spec.candidates if one.number not in done]
        if left and job.state is JobState.RUNNING:
            with self.store.write() as tx:
                tx.jobs.update(job.resulted(result(left[0])))

    def _told(self, tx: Transaction, job: Job, usage: Usage) -> Job:
        """A job that has ended with results of all its candidates."""
        for one in job.spec.candidates:
            job = job.resulted(result(one))
        best = min(job.results, key=lambda one: one.validation_metrics.get("log_loss", math.inf))
        model_id = f"model-{job.job_id}"
        tx.models.add(replace(model(model_id), job_id=job.job_id))
        changes = {"model_id": model_id, "chosen": best.number, "usage": usage}
        return job.moved(JobState.SUCCEEDED, self.clock(), **changes)

    def _trained(self, tx: Transaction, job: Job) -> Climb:
        """What it reported of six epochs until it was pruned; nothing if it was cancelled before."""
        climb = Climb(job.spec.prune_above)
        for epoch in range(1, 7):
            if job.state is not JobState.CANCELLING and not climb.verdict:
                values = {"validation_loss": loss(job.spec.hyperparameters) + 1 / epoch}
                tx.jobs.record(
                    job.job_id, [MetricPoint(1, epoch, epoch / 6, values, self.clock(), seq=epoch)]
                )
                climb.take(epoch, epoch / 6, values)
        return climb

    def to_the_end(self) -> Sweep:
        """Without any disturbance from here on."""
        for _ in range(60):
            self.tick()
            for job in self.queue():
                self.end(job)
            if self.now().state.ended:
                return self.now()
        raise AssertionError(self.now())

    def models(self) -> list[str]:
        with self.store.read() as tx:
            return [one.model_id for _, one in tx.models.page(Page(100))]


def result(one: Candidate) -> CandidateResult:
    if one.number % 3 == 2:
        return CandidateResult(one.number, seconds=1.0, problem="diverged")
    return CandidateResult(one.number, {"log_loss": loss(one.hyperparameters)}, seconds=1.0)


def loss(params: Any) -> float:
    return abs(math.log(params.learning_rate / 0.02)) + (0.1 if params.architecture == "plain" else 0.0)


@contextmanager
def scene(**changes: Any) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as name, sqlite_store(Path(name)) as store:
        yield Scene(store, Path(name), **changes)


def shown(it: Sweep) -> list[tuple[int, TrialState, Mapping[str, Any], Mapping[str, float]]]:
    return [(one.number, one.state, one.values, one.validation_metrics) for one in it.leaderboard]


UNDISTURBED: dict[Any, Any] = {}


def undisturbed(**changes: Any) -> Any:
    kinds = tuple(changes.values())
    if kinds not in UNDISTURBED:
        with scene(**changes) as it:
            UNDISTURBED[kinds] = shown(it.to_the_end())
    return UNDISTURBED[kinds]


MOVES = st.sampled_from(
    ["tick", "tick", "other", "start", "say", "end", "end last", "cancel", "resume", "restart"]
)


KINDS = [
    {"sampler": SamplerKind.RANDOM},
    {"sampler": SamplerKind.TPE},
    {"sampler": SamplerKind.TPE, "parallel": 4},  # two jobs for the four of a round
    {"sampler": SamplerKind.TPE, "pruner": PrunerKind.ASHA, "budget": Budget(9)},
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.lists(MOVES, max_size=40))
def test_any_order_leads_to_the_same_leaderboard(kind: dict[str, Any], moves: list[str]) -> None:
    wanted = undisturbed(**kind)
    with scene(**kind) as it:
        for move in moves:
            make(it, move)
            check(it)
        for _ in range(3):  # cancelled as it may have been
            it.to_the_end()
            if it.now().state is SweepState.CANCELLED:
                it.sweeps.resume("sweep-1", "")
        assert it.now().state is SweepState.SUCCEEDED
        assert shown(it.now()) == wanted
        assert it.models() == [it.now().model_id]


def make(it: Scene, move: str) -> None:
    queue, state = it.queue(), it.now().state
    match move:
        case "tick" | "other":
            it.tick(move == "other")
        case "start" if queue and queue[0].state is JobState.QUEUED:
            it.start(queue[0])
        case "say" if queue:
            it.say(queue[-1])
        case "end" | "end last" if queue:
            it.end(queue[0 if move == "end" else -1])
        case "cancel" if state not in {SweepState.SUCCEEDED, SweepState.FAILED}:
            it.sweeps.cancel("sweep-1", "")
        case "resume" if state is SweepState.CANCELLED:
            it.sweeps.resume("sweep-1", "")
        case "restart":
            it.drivers = [it._driver() for _ in range(2)]


def check(it: Scene) -> None:
    now = it.now()
    assert [one.number for one in now.trials] == list(range(len(now.trials)))
    assert len(now.running) <= now.parallel
    if now.state.ended:
        assert now.running == ()
        assert it.queue() == []
    assert len(now.trials) <= now.budget.max_trials


def test_rounds_begin_with_proposals_and_end_with_the_best_model(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path)
    it.tick()
    assert [job.job_id for job in it.queue()] == ["job-1-0", "job-1-1"]
    assert {job.sweep_id for job in it.queue()} == {"sweep-1"}
    it.end(it.queue()[0])
    it.tick()
    assert [one.state for one in it.now().trials] == [TrialState.SUCCEEDED, TrialState.RUNNING]
    it.tick()
    assert len(it.now().trials) == 2  # the next round waits for all of this one
    ended = it.to_the_end()
    assert (ended.state, len(ended.trials)) == (SweepState.SUCCEEDED, 5)
    assert [one.source for one in ended.trials] == ["me", "tpe", "tpe", "tpe", "tpe"]
    assert [one.number for one in ended.trials if one.state is TrialState.FAILED] == [2]
    assert it.models() == [ended.model_id] == [f"model-job-1-{ended.leaderboard[0].number}"]
    assert ended.usage.wall_seconds == 5.0


def test_every_model_stays_where_it_was_asked_to(tmp_path: Path, store: SqlStore) -> None:
    ended = Scene(store, tmp_path, keep_models=True).to_the_end()
    done = [one for one in ended.trials if one.state is TrialState.SUCCEEDED]
    with store.read() as tx:
        assert [bool(tx.models.get(one.model_id)) for one in done] == [True] * 4
    sent = mapping_sweeps.sweep(ended, Prices(3600.0))
    assert {one.number: one.model_id for one in sent.trials if one.model_id} == {
        one.number: one.model_id for one in done
    }
    assert (sent.keep_models, sent.cost_usd) == (True, ended.usage.cpu_seconds)


def test_a_model_that_was_registered_is_not_dropped(tmp_path: Path, store: SqlStore) -> None:
    scene = Scene(store, tmp_path)
    scene.tick()
    models = [f"model-{job.job_id}" for job in scene.queue()]
    for number, job in enumerate(scene.queue()):
        scene.end(job)
        named = RegisteredModel(f"name-{number}", scene.clock(), scene.clock())
        with store.write() as tx:
            tx.registry.put(named.registered(models[number], scene.clock()))
    scene.tick()
    with store.read() as tx:
        assert [bool(tx.models.get(one)) for one in models] == [True, True]
    assert len([one for one in scene.now().trials if one.model_id]) == 1


def test_a_round_with_more_trials_than_slots_is_packed(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path, parallel=5)
    it.tick()
    jobs = {job.job_id: job for job in it.queue()}
    packs = [[one.number for one in job.spec.candidates] for job in jobs.values()]
    assert sorted(packs[0] + packs[1]) == [0, 1, 2, 3, 4]
    assert {len(pack) for pack in packs} == {2, 3}
    assert list(jobs) == [f"job-1-{pack[0]}" for pack in packs]
    for trial in it.now().trials:
        spec, wanted = jobs[trial.job_id].spec, it.now().spec_of(trial.values)
        candidate = next(one for one in spec.candidates if one.number == trial.number)
        assert (candidate.hyperparameters, candidate.seed) == (wanted.hyperparameters, wanted.seed)
        bare = replace(spec, candidates=(), ranked_by="")
        assert bare == replace(wanted, hyperparameters=spec.hyperparameters)
    ended = it.to_the_end()
    assert ended.best
    assert it.models() == [ended.model_id] == [f"model-{ended.best.job_id}"]
    assert ended.usage.wall_seconds == pytest.approx(2.0)


def test_only_what_divides_the_rows_alike_is_packed(tmp_path: Path, store: SqlStore) -> None:
    seeds = tuple(Proposal({"seed": seed, "learning_rate": 0.02}) for seed in (1, 1, 2, 2, 2))
    it = Scene(store, tmp_path, parallel=5, proposals=seeds)
    it.tick()
    packs = [[one.number for one in job.spec.candidates] for job in it.queue()]
    assert packs == [[], [], [2, 4], []]
    others = {"validation": Source("b", "b1"), "test": Source("c", "c1")}
    apart = sweep(base=spec(**others), proposals=seeds, parallel=5)
    trials = [Trial(number, one.values, "", "") for number, one in enumerate(seeds)]
    assert [len(pack) for pack in packed(apart, trials, 2)] == [3, 2]


def test_a_job_that_is_lost_for_good_fails_the_trials_that_had_no_result(
    tmp_path: Path, store: SqlStore
) -> None:
    it = Scene(store, tmp_path, parallel=5, proposals=())
    it.tick()
    it.start(it.queue()[0])
    for _ in range(2):
        it.say(it.queue()[0])
    lost = it.queue()[0]
    with it.store.write() as tx:
        tx.jobs.update(lost.moved(JobState.FAILED, it.clock(), error=LOST, usage=Usage(4.0)))
    it.tick()
    trials = [one for one in it.now().trials if one.job_id == lost.job_id]
    known = [one.number for one in lost.results]
    assert len(known) == 2
    for trial in trials:
        if trial.number in known:
            assert trial.error != LOST
        else:
            assert (trial.state, trial.error) == (TrialState.FAILED, LOST)
    assert it.now().usage.wall_seconds == pytest.approx(4.0)
    assert it.to_the_end().state is SweepState.SUCCEEDED


def test_a_budget_that_is_used_up_keeps_the_results_that_a_job_had(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path, parallel=5, proposals=(), budget=Budget(5, max_seconds=10))
    it.tick()
    for job in it.queue():
        it.start(job)
    it.say(it.queue()[0])
    it.clock.advance(11)
    it.tick()
    for job in it.queue():
        it.end(job)
    it.tick()
    it.tick()
    ended = it.now()
    states = sorted(one.state for one in ended.trials)
    assert states == [TrialState.CANCELLED] * 4 + [TrialState.SUCCEEDED]
    assert (ended.state, ended.model_id, it.models()) == (SweepState.SUCCEEDED, "", [])


def test_trials_that_earlier_ones_were_better_than_are_pruned(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path, pruner=PrunerKind.ASHA, budget=Budget(9), sampler=SamplerKind.RANDOM)
    ended = it.to_the_end()
    assert {one.prune_above for one in ended.trials[:4]} == {()}  # of two rounds one was lost
    least = sorted(one.rungs[0] for one in ended.trials[:4] if one.state is TrialState.SUCCEEDED)[0]
    assert {one.prune_above[0] for one in ended.trials[4:6]} == {(1 / 9, least)}
    pruned = [one for one in ended.trials if one.state is TrialState.PRUNED]
    assert pruned
    for one in pruned:
        assert one.validation_metrics == {"validation_loss": one.rungs[-1]}
        assert one.rungs[-1] > one.prune_above[len(one.rungs) - 1][1]
        assert one.error
        assert (one.error.reason, one.model_id) == ("TRIAL_PRUNED", "")
    assert ended.best
    assert all(ended.loss(one) == math.inf for one in pruned)
    assert len(ended.measured()) == 9


def test_tpe_begins_with_the_defaults_and_a_small_space_is_used_up(tmp_path: Path, store: SqlStore) -> None:
    ended = Scene(store, tmp_path, proposals=(), space=FEW).to_the_end()
    assert [one.values for one in ended.trials] == [{"architecture": "real_mlp"}, {"architecture": "plain"}]
    assert ended.state is SweepState.SUCCEEDED


@pytest.mark.parametrize("budget", [Budget(5, max_seconds=10), Budget(5, max_cost_usd=1.5)])
def test_what_is_used_up_ends_it_with_what_there_is(tmp_path: Path, store: SqlStore, budget: Budget) -> None:
    it = Scene(store, tmp_path, budget=budget)
    it.tick()
    first, second = it.queue()
    it.start(second)
    it.end(first, cpu_seconds=2 * 3600)
    it.tick()
    it.clock.advance(11)
    it.tick()
    assert [job.state for job in it.queue()] == [JobState.CANCELLING]
    it.end(it.queue()[0])
    it.tick()
    it.tick()
    ended = it.now()
    assert (ended.state, ended.best and ended.best.number) == (SweepState.SUCCEEDED, 0)
    assert [one.state for one in ended.trials] == [TrialState.SUCCEEDED, TrialState.CANCELLED]


def test_values_that_go_together_with_nothing_are_a_failed_trial(tmp_path: Path, store: SqlStore) -> None:
    sizes = Parameter("hidden_sizes", Choice(((65_536, 65_536, 65_536),)))
    huge = SearchSpace((Parameter("architecture", Choice(("tab_m",))), sizes))
    ended = Scene(store, tmp_path, proposals=(), space=huge).to_the_end()
    assert ended.state is SweepState.FAILED
    assert ended.error
    assert ended.error.reason == "INVALID_FIELD"


def test_a_dataset_stays_while_a_sweep_may_need_it(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path)
    datasets = Datasets(store, it.artifacts, it.clock)
    with pytest.raises(FailedPrecondition) as refused:
        datasets.delete("table", "")
    assert refused.value.reason == "DATASET_IN_USE"
    with store.write() as tx:  # by another hand
        tx.datasets.delete(dataset())
    it.to_the_end()
    assert it.now().state is SweepState.SUCCEEDED  # its content was held


def test_deleting_takes_the_jobs_along(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path)
    it.tick()
    with pytest.raises(FailedPrecondition) as refused:
        it.sweeps.delete("sweep-1", "")
    assert refused.value.reason == "SWEEP_NOT_FINISHED"
    ended = it.to_the_end()
    for call in (it.sweeps.cancel, it.sweeps.resume):
        with pytest.raises(FailedPrecondition):
            call("sweep-1", "")
    it.sweeps.delete("sweep-1", "gone")
    it.sweeps.delete("sweep-1", "gone")
    with pytest.raises(NotFound):
        it.now()
    with pytest.raises(NotFound):
        it.jobs.get("job-1-0")
    assert it.models() == [ended.model_id]


def test_cancelling_is_answered_again(tmp_path: Path, store: SqlStore) -> None:
    it = Scene(store, tmp_path)
    it.tick()
    asked = it.sweeps.cancel("sweep-1", "stop")
    assert asked.state is SweepState.CANCELLING
    it.to_the_end()
    assert it.sweeps.cancel("sweep-1", "stop") == asked
    assert it.now().state is SweepState.CANCELLED
    assert it.sweeps.page(10, "")[0] == [it.now()]


def test_the_sampler_stays_in_the_space_and_says_the_same_again() -> None:
    draw: Callable[[Sweep], Any] = lambda one: OptunaSampler()(one, 20, [])  # noqa: E731
    for kind in SamplerKind:
        it = sweep(sampler=kind)
        drawn = draw(it)
        assert drawn == draw(it)
        assert drawn != draw(replace(it, base=replace(it.base, seed=1)))
        for values in drawn:
            params = it.spec_of(values).hyperparameters
            assert SPACE.located(params) == values
        assert {("ensemble_size" in one) == (one["architecture"] == "real_mlp") for one in drawn} == {True}


def test_tpe_comes_nearer_than_chance() -> None:
    """To where a made-up loss is least, on average over seeds; both are repeatable, and so is this."""
    best = {kind: sum(best_of(kind, seed) for seed in range(3)) for kind in SamplerKind}
    assert best[SamplerKind.TPE] < 0.7 * best[SamplerKind.RANDOM]


def best_of(kind: SamplerKind, seed: int) -> float:
    trees = BoostedTrees()
    it = sweep(
        base=spec(hyperparameters=trees, seed=seed),
        space=usual_space(trees, "classification"),
        sampler=kind,
        budget=Budget(30),
        parallel=3,
    )
    while it.left:
        chosen = OptunaSampler()(it, it.parallel, [one.values for one in it.trials])
        trials = [
            Trial(number, values, kind, "", TrialState.SUCCEEDED, {"log_loss": distance(it, values)})
            for number, values in enumerate(chosen, len(it.trials))
        ]
        it = it.begun(tuple(trials), it.update_time)
    return min(it.loss(one) for one in it.trials)


def distance(it: Sweep, values: Mapping[str, Any]) -> float:
    params: Any = it.spec_of(values).hyperparameters
    shares = (params.subsample - 0.6) ** 2 + (params.colsample_bytree - 0.7) ** 2
    return math.log(params.learning_rate / 0.03) ** 2 + ((params.max_depth - 4) / 3) ** 2 + 4 * shares
