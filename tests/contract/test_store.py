"""What every `Store` promises, on each database that there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from services.chassis.database import Database
from services.training.application.ports import Fenced, Page, Replay, Resource, Store, Transaction
from services.training.domain.candidate import Candidate, CandidateResult
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.dataset import ColumnType
from services.training.domain.history import MetricPoint
from services.training.domain.hyperparameters import Hyperparameters, Linear, Logistic, Mlp
from services.training.domain.job import Device, Job, JobError, JobState, Source, Task
from services.training.domain.registry import RegisteredModel
from services.training.domain.schedule import Standing
from services.training.domain.sweep import Budget, Proposal, Rejection, SweepState
from services.training.domain.transforms import FeatureTransform, TransformKind
from services.training.domain.trial import Measured, Trial, TrialState
from services.training.domain.usage import Usage
from services.training.domain.values import ColumnNames, Value
from tests.unit.training.samples import (
    LATER,
    NOW,
    column,
    content,
    dataset,
    event,
    job,
    model,
    point,
    spec,
    sweep,
    upload,
    version,
)

EVERYTHING = Page(1000)
SECOND = timedelta(seconds=1)


def add(store: Store, *jobs: Job) -> None:
    with store.write() as tx:
        for one in jobs:
            tx.jobs.add(one)


@pytest.mark.parametrize("name", ["none", "", "☃", "a\0b"])
def test_what_is_not_there_is_none(store: Store, name: str) -> None:
    with store.read() as tx:
        assert tx.datasets.get(name) is tx.jobs.get(name) is tx.models.get(name) is None
        assert tx.uploads.get(name) is tx.requests.find(name) is tx.datasets.version(dataset(name), 1) is None
        assert (
            tx.jobs.points(name, 0, 10) == tx.jobs.events(name, 0, 10) == tx.jobs.history(name, 0, 10) == []
        )
        assert tx.datasets.versions(dataset(name), EVERYTHING) == []
    with store.write() as tx:
        assert tx.jobs.lock(name) is tx.datasets.lock(name, "default") is tx.uploads.lock(name) is None
        tx.datasets.delete(dataset(name))
        tx.jobs.delete(name)
        tx.models.delete(name)
        tx.uploads.delete(name)
        tx.jobs.update(job(name))
        tx.datasets.drop_versions(name)


def test_a_dataset_is_put_replaced_and_deleted(store: Store) -> None:
    empty, full = dataset(), dataset(held=content("a1"))
    for kept, held in ((empty, False), (full, True)):
        with store.write() as tx:
            tx.datasets.put(kept)
        with store.read() as tx:
            assert tx.datasets.get("table") == kept
            assert [item for _, item in tx.datasets.page(EVERYTHING)] == [kept]
            assert tx.datasets.holds_content("a1") is held
    with store.write() as tx:
        tx.datasets.delete(full)
    with store.read() as tx:
        assert tx.datasets.get("table") is None
        assert not tx.datasets.holds_content("a1")


def test_names_are_kept_in_the_order_of_their_codes_with_what_they_point_to(store: Store) -> None:
    named = {name: RegisteredModel(name, NOW, LATER) for name in ("b", "B", "a-1", "a.1", "a")}
    named["b"] = named["b"].registered("m1", NOW, ["champion"], comment="☃").registered("m2", LATER)
    named["a"] = named["a"].registered("m2", NOW, enhancement_id="e")
    with store.write() as tx:
        for one in named.values():
            tx.registry.put(one)
    with store.write() as tx:
        assert tx.registry.get("b") == named["b"]
        assert tx.registry.get("c") is None
        assert [one.name for one in tx.registry.page("", 9)] == ["B", "a", "a-1", "a.1", "b"]
        assert [one.name for one in tx.registry.page("a", 2)] == ["a-1", "a.1"]
        versions = [(name, one.version) for name, one in tx.registry.pointing_to("m2")]
        assert versions == [("a", 1), ("b", 2)]
        tx.registry.put(named["b"].without(2, LATER))
        tx.registry.delete(named["a"])
    with store.read() as tx:
        assert tx.registry.pointing_to("m2") == []
        assert tx.registry.get("a") is None
        assert tx.registry.get("b") == named["b"].without(2, LATER)


@pytest.mark.parametrize("params", [Linear(l2=3), Logistic(tolerance=1e-9), Mlp(hidden_sizes=(7,)), Mlp()])
def test_a_job_reads_back_equal(store: Store, params: Hyperparameters) -> None:
    asked = spec(
        hyperparameters=params,
        target="größe ☃ " * 100,
        target_type=ColumnType.INTEGER,
        task=Task.REGRESSION,
        seed=2**32 - 1,
        validation_fraction=0.1 + 0.2,
        validation=Source("v", "b2", 3, "c0ffee"),
        test=Source("t", "b2"),
        warm_start_model_id="model-0",
        device=Device.GPU,
        max_attempts=9,
        time_limit=0.25,
    )
    saved = Checkpoint("step-7", 2, 7, 0.7, NOW, "f00d", 2**40, 5e-324)
    kept = Job(
        "job-1",
        "",
        asked,
        NOW,
        LATER,
        JobState.FAILED,
        tenant="größe",
        priority=-3,
        progress=1 / 3,
        step=2**40,
        attempt=2,
        losses=1,
        handle="1:2.00",
        deadline=LATER,
        ending=JobError("DEADLINE_EXCEEDED", "TIME_LIMIT_EXCEEDED", "too long"),
        progress_time=NOW,
        attempt_time=NOW,
        attempt_progress=0.1,
        checkpoints=(replace(saved, name="step-6", score=None), saved),
        validation_metrics={"rmse": 5e-324},
        test_metrics={"mae": 1.7e308},
        model_id="model-1",
        usage=Usage(0.1, 0.2, 0.3, 2**62),
        error=JobError("ABORTED", "TRAINING_PROCESS_LOST", "gone"),
        start_time=NOW,
        end_time=LATER,
    )
    add(store, kept)
    with store.read() as tx:
        assert tx.jobs.get("job-1") == kept
        assert type(kept.spec.hyperparameters) is type(params)
        assert [item for _, item in tx.jobs.page(EVERYTHING, None)] == [kept]


# A name that reads as a number stays a name.
OF_A_JOB: dict[str, Value] = {
    "l2": 2,
    "seed": 7,
    "class_weight": "none",
    "excluded_columns": ColumnNames(("5", "größe")),
    "transforms": (FeatureTransform(TransformKind.BINS, ("5",), 4),),
}


def test_a_sweep_reads_back_equal_and_its_jobs_are_not_listed(store: Store) -> None:
    trial = Trial(
        0,
        {"hidden_sizes": (16, 8), "learning_rate": 1e-300, "batch_size": 2, "architecture": "plain"},
        "größe ☃",
        "job-1-0",
        TrialState.FAILED,
        {"log_loss": 5e-324},
        {"accuracy": 1.0},
        "model-1",
        Usage(0.1, 0.2, 0.3, 2**62),
        JobError("ABORTED", "TRAINING_PROCESS_LOST", "gone"),
    )
    kept = sweep(
        base=spec(
            hyperparameters=Logistic(l2=0.5),
            excluded_columns=("z",),
            transforms=(FeatureTransform(TransformKind.LOG, ("x",)),),
        ),
        budget=Budget(9, 1.5, 0.25),
        tenant="größe",
        priority=-3,
        proposals=(Proposal(OF_A_JOB),),
        rejections=(Rejection(0, "me", "values.x: unknown"),),
        warm_start_sweep_ids=("sweep-0",),
        learned=(Measured({"l2": 0.1}, -1.5),),
        trials=(trial,),
        earlier_seconds=0.1,
        state=SweepState.FAILED,
        error=trial.error,
        end_time=LATER,
    )
    with store.write() as tx:
        tx.sweeps.add(sweep())
        tx.sweeps.add(sweep("sweep-2"))
        assert tx.sweeps.lock("sweep-1") == sweep()
        tx.sweeps.update(kept)
        tx.jobs.add(job("job-1-0", sweep_id="sweep-1"))
        tx.jobs.add(job("job-1"))
    with store.read() as tx:
        assert tx.sweeps.get("sweep-1") == kept
        assert tx.sweeps.get("sweep-0") is None
        assert tx.sweeps.page(Page(1)) == [(2, sweep("sweep-2"))]
        assert tx.sweeps.page(Page(9, before=2)) == [(1, kept)]
        assert tx.sweeps.in_states({SweepState.RUNNING, SweepState.FAILED}) == [kept, sweep("sweep-2")]
        assert tx.sweeps.in_states({SweepState.CANCELLED}) == []
        assert tx.sweeps.standings() == {"sweep-2": SweepState.RUNNING}
        assert [one.job_id for _, one in tx.jobs.page(EVERYTHING, None)] == ["job-1"]
        assert tx.jobs.get("job-1-0") == job("job-1-0", sweep_id="sweep-1")
    with store.write() as tx:
        tx.requests.add("again", Replay("CreateSweep", "f", kept), NOW)
        tx.sweeps.delete("sweep-1")
    with store.read() as tx:
        assert tx.sweeps.get("sweep-1") is None
        assert tx.requests.find("again") == Replay("CreateSweep", "f", kept)


def test_a_dataset_and_a_model_read_back_equal(store: Store) -> None:
    odd = content(
        "c3", *(column(f"column {kind}", kind, nulls=3) for kind in ColumnType), column("\0 ☃" * 999)
    )
    with store.write() as tx:
        tx.datasets.put(dataset("odd", odd))
        tx.models.add(model())
    with store.read() as tx:
        assert tx.datasets.get("odd") == dataset("odd", odd)
        assert tx.models.get("model-1") == model()


def test_lists_come_newest_first_and_survive_deletions_between_pages(store: Store) -> None:
    with store.write() as tx:
        for number in range(6):
            tx.datasets.put(dataset(f"d{number}"))
            tx.models.add(model(f"m{number}"))
            tx.jobs.add(job(f"j{number}", state=JobState.FAILED if number % 2 else JobState.QUEUED))
        tx.datasets.put(replace(dataset("d0"), display_name="put again, and no newer for it"))
    with store.write() as tx:
        first = tx.datasets.page(Page(2)), tx.models.page(Page(2)), tx.jobs.page(Page(2), None)
        tx.datasets.delete(dataset("d4"))
        tx.models.delete("m3")
        tx.jobs.delete("j3")
        before = [Page(2, items[-1][0]) for items in first]
        second = tx.datasets.page(before[0]), tx.models.page(before[1]), tx.jobs.page(before[2], None)
        failed = tx.jobs.page(EVERYTHING, JobState.FAILED)
    assert [item.dataset_id for _, item in (*first[0], *second[0])] == ["d5", "d4", "d3", "d2"]
    assert [item.model_id for _, item in (*first[1], *second[1])] == ["m5", "m4", "m2", "m1"]
    assert [item.job_id for _, item in (*first[2], *second[2])] == ["j5", "j4", "j2", "j1"]
    assert [item.job_id for _, item in failed] == ["j5", "j1"]


def test_candidates_and_their_results_are_kept(store: Store) -> None:
    """Those of two algorithms that have the same hyperparameters, too."""
    candidates = tuple(Candidate(number, one, 2**63) for number, one in enumerate([Linear(), Logistic()]))
    results = (CandidateResult(1, {"log_loss": 0.1 + 0.2}, {}, 1.5), CandidateResult(0, problem="größe"))
    one = job(results=results, chosen=1)
    one = replace(one, spec=replace(one.spec, candidates=candidates, ranked_by="log_loss"))
    add(store, one)
    with store.read() as tx:
        assert tx.jobs.get("job-1") == one


def test_a_position_is_never_given_twice(store: Store) -> None:
    """Or a page token, or a cursor, would skip what came later."""
    add(store, job("j1"), job("j2"))
    with store.write() as tx:
        tx.jobs.record("j2", [point(1)])
        last = tx.jobs.page(Page(1), None)[0][0], tx.jobs.points("j2", 0, 1)[0].position
        tx.jobs.delete("j2")
        tx.jobs.add(job("j3"))
        tx.jobs.record("j3", [point(1)])
        now = tx.jobs.page(Page(1), None)[0][0], tx.jobs.points("j3", 0, 1)[0].position
    assert now[0] > last[0]
    assert now[1] > last[1]


def test_an_exception_undoes_everything(store: Store) -> None:
    add(store, job())

    def change_and_fail() -> None:
        with store.write() as tx:
            tx.datasets.put(dataset())
            tx.jobs.update(replace(job(), progress=0.5))
            tx.jobs.record("job-1", [point(1)])
            tx.models.add(model())
            tx.uploads.put(upload())
            tx.requests.add("once", Replay("CreateJob", "f", job()), NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    with store.read() as tx:
        assert tx.jobs.get("job-1") == job()
        assert tx.jobs.points("job-1", 0, 10) == []
        assert tx.datasets.get("table") is tx.models.get("model-1") is tx.requests.find("once") is None
        assert tx.uploads.get("upload-1") is None


def test_readers_see_only_what_is_kept(store: Store) -> None:
    add(store, job())
    with store.write() as tx:
        tx.jobs.update(replace(job(), progress=0.5))
        with store.read() as other:
            assert other.jobs.get("job-1") == job()
    with store.read() as other:
        assert other.jobs.get("job-1") == replace(job(), progress=0.5)


def test_jobs_in_states_come_oldest_first(store: Store) -> None:
    states = [JobState.RUNNING, JobState.QUEUED, JobState.CANCELLING, JobState.QUEUED, JobState.SUCCEEDED]
    add(store, *(job(f"j{number}", state=state) for number, state in enumerate(states)))
    with store.read() as tx:
        assert [j.job_id for j in tx.jobs.in_states([JobState.QUEUED, JobState.RUNNING])] == [
            "j0",
            "j1",
            "j3",
        ]
        assert [j.job_id for j in tx.jobs.in_states(iter([JobState.QUEUED]), 1)] == ["j1"]
        assert tx.jobs.in_states([]) == []


def test_standings_are_of_the_jobs_that_have_not_ended(store: Store) -> None:
    add(store, *(job(f"j{number}", state=state) for number, state in enumerate(JobState)))
    other = job("other", state=JobState.RUNNING, tenant="b", priority=7)
    add(store, replace(other, spec=spec(device=Device.GPU, workers=3)))
    with store.read() as tx:
        positions = {item.job_id: position for position, item in tx.jobs.page(EVERYTHING, None)}
        standings = tx.jobs.standings()
    usual = ("default", 0, Device.CPU)
    assert standings == [
        Standing("j0", positions["j0"], JobState.QUEUED, *usual),
        Standing("j1", positions["j1"], JobState.RUNNING, *usual),
        Standing("j2", positions["j2"], JobState.CANCELLING, *usual),
        Standing("other", positions["other"], JobState.RUNNING, "b", 7, Device.GPU, 3),
    ]
    with store.write() as tx:
        tx.jobs.update(replace(job("j0"), priority=5, tenant="c", state=JobState.RUNNING))
        assert tx.jobs.standings()[0] == Standing("j0", positions["j0"], JobState.RUNNING, "c", 5, Device.CPU)


@pytest.mark.parametrize("state", JobState)
def test_an_attempt_changes_its_own_live_job_only(store: Store, state: JobState) -> None:
    kept = job(state=state, attempt=2)
    add(store, kept, job("job-2", state=state, attempt=2))
    for attempt in (1, 3, 2):
        change = replace(kept, attempt=attempt, progress=0.5)
        if state.live and attempt == 2:
            with store.write() as tx:
                tx.jobs.update_held(change)
            kept = change
        else:
            with pytest.raises(Fenced), store.write() as tx:
                tx.jobs.update_held(change)
        with store.read() as tx:
            assert tx.jobs.get("job-1") == kept
            assert tx.jobs.get("job-2") == job("job-2", state=state, attempt=2)


def test_what_an_attempt_that_is_fenced_wrote_before_is_undone(store: Store) -> None:
    add(store, job(state=JobState.RUNNING, attempt=2))

    def late() -> None:
        with store.write() as tx:
            tx.models.add(model())
            tx.jobs.update_held(job(state=JobState.SUCCEEDED, attempt=1))

    with pytest.raises(Fenced):
        late()
    with pytest.raises(Fenced), store.write() as tx:
        tx.jobs.update_held(job("none", state=JobState.RUNNING))
    with store.read() as tx:
        assert tx.models.get("model-1") is None


def test_an_attempt_may_end_its_job_and_then_changes_it_no_more(store: Store) -> None:
    add(store, job(state=JobState.RUNNING, attempt=1))
    done = job(state=JobState.SUCCEEDED, attempt=1)
    with store.write() as tx:
        tx.jobs.update_held(done)
    with pytest.raises(Fenced), store.write() as tx:
        tx.jobs.update_held(replace(done, state=JobState.FAILED))
    with store.read() as tx:
        assert tx.jobs.get("job-1") == done
        assert tx.jobs.in_states([JobState.SUCCEEDED]) == [done]


def test_it_is_known_which_content_a_job_reads(store: Store) -> None:
    both = replace(
        job("j1"), spec=spec("a1", validation=Source("v", "b2", 2, "c0ffee"), test=Source("t", "c0ffee"))
    )
    add(store, both)
    for state in JobState:
        with store.write() as tx:
            tx.jobs.update(replace(both, state=state))
            for unended in (True, False):
                expected = not (unended and state.ended)
                assert tx.jobs.reading("a1", unended=unended) is expected
                assert tx.jobs.reading("c0ffee", unended=unended) is expected
                assert not tx.jobs.reading("b2", unended=unended)  # its name is c0ffee
    with store.write() as tx:
        tx.jobs.delete("j1")
        assert not tx.jobs.reading("a1")


def test_it_is_known_which_content_a_model_was_trained_on(store: Store) -> None:
    read_otherwise = replace(model("m2"), source=Source("table", "a1", 2, "c0ffee"))
    with store.write() as tx:
        tx.models.add(read_otherwise)
        assert tx.models.trained_on("c0ffee")
        assert not tx.models.trained_on("a1")
        tx.models.add(model("m1"))
        assert tx.models.trained_on("a1")
        tx.models.delete("m1")
        assert not tx.models.trained_on("a1")
        assert tx.models.get("m2") == read_otherwise


def test_a_history_is_read_on_from_any_position(store: Store) -> None:
    add(store, job("j1"), job("j2"))
    parts = [
        [point(1, seq=1), event("warmed up", seq=2), point(2, seq=3)],
        [event("lost"), event("lost"), point(3, attempt=2, seq=1), point(4, attempt=2, seq=2)],
    ]
    for part in parts:
        with store.write() as tx:
            tx.jobs.record("j1", part)
            tx.jobs.record("j2", [point(9), event("other")])
            tx.jobs.record("j1", [])
    with store.read() as tx:
        entries = tx.jobs.history("j1", 0, 100)
        points, events = tx.jobs.points("j1", 0, 100), tx.jobs.events("j1", 0, 100)
        assert [replace(one, position=0) for one in entries] == [*parts[0], *parts[1]]
        assert points == [one for one in entries if isinstance(one, MetricPoint)]
        assert events == [one for one in entries if not isinstance(one, MetricPoint)]
        positions = [one.position for one in entries]
        assert positions == sorted(set(positions))
        assert tx.jobs.history("j1", positions[1], 3) == entries[2:5]
        assert tx.jobs.points("j1", positions[0], 2) == points[1:3]
        assert tx.jobs.events("j1", positions[1], 1) == events[1:2]
        assert tx.jobs.history("j1", positions[-1], 9) == []


def test_what_an_attempt_records_twice_is_stored_once(store: Store) -> None:
    add(store, job("j1"), job("j2"))
    with store.write() as tx:
        tx.jobs.record("j1", [point(1, seq=1), event(seq=2)])
    again = [replace(point(1, seq=1), values={"train_loss": 9.0}), event("other", seq=2), point(3, seq=3)]
    with store.write() as tx:
        tx.jobs.record("j1", [*again, *again])
        tx.jobs.record("j1", [point(1, attempt=2, seq=1), event(), event()])
        tx.jobs.record("j2", [point(1, seq=1)])
    with store.read() as tx:
        kept = [replace(one, position=0) for one in tx.jobs.history("j1", 0, 100)]
        assert kept == [
            point(1, seq=1),
            event(seq=2),
            point(3, seq=3),
            point(1, attempt=2, seq=1),
            event(),
            event(),
        ]
        assert len(tx.jobs.history("j2", 0, 100)) == 1


def test_numbers_need_not_be_finite(store: Store) -> None:
    odd = replace(point(), values={"a": math.inf, "b": -math.inf, "c": 5e-324, "d": 1.7e308})
    diverged = replace(job(), validation_metrics={"rmse": math.inf})
    add(store, diverged)
    with store.write() as tx:
        tx.jobs.record("job-1", [odd, replace(point(), values={"train_loss": math.nan})])
    with store.read() as tx:
        first, second = tx.jobs.points("job-1", 0, 9)
        assert first.values == odd.values
        assert math.isnan(second.values["train_loss"])
        assert tx.jobs.get("job-1") == diverged


def test_nothing_is_recorded_for_a_job_that_is_not_there(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as tx:
        tx.jobs.record("none", [point()])


def test_a_deleted_job_takes_its_points_and_sources_along(store: Store) -> None:
    add(store, job("j1", "a1"), job("j2", "b2"))
    with store.write() as tx:
        for name in ("j1", "j2"):
            tx.jobs.record(name, [point(1)])
        tx.jobs.delete("j1")
    with store.read() as tx:
        assert tx.jobs.get("j1") is None
        assert tx.jobs.points("j1", 0, 10) == []
        assert not tx.jobs.reading("a1")
        assert tx.jobs.reading("b2")
        assert len(tx.jobs.points("j2", 0, 10)) == 1
    add(store, job("j1"))  # and the name is free again
    with store.read() as tx:
        assert tx.jobs.points("j1", 0, 10) == []


def test_versions_are_kept_beside_the_newest(store: Store) -> None:
    contents = [replace(content("a1"), content_id=name) for name in ("c1", "c2", "c3")]
    for number, held in enumerate(contents, 1):
        with store.write() as tx:
            tx.datasets.put(replace(dataset(held=held), version=number))
            tx.datasets.add_version(dataset(), version(number, held))
    with store.write() as tx:
        tx.datasets.put(replace(dataset("other", contents[0]), version=1))
        tx.datasets.add_version(dataset("other"), version(1, contents[0], "other"))
    with store.read() as tx:
        assert tx.datasets.get("table") == replace(dataset(held=contents[2]), version=3)
        for number, held in enumerate(contents, 1):
            assert tx.datasets.version(dataset(), number) == version(number, held)
        assert tx.datasets.version(dataset(), 4) is tx.datasets.version(dataset(), 2**62) is None
        expected = [(number, version(number, contents[number - 1])) for number in (3, 2, 1)]
        assert tx.datasets.versions(dataset(), EVERYTHING) == expected
        assert tx.datasets.versions(dataset(), Page(1)) == expected[:1]
        assert tx.datasets.versions(dataset(), Page(1, 3)) == expected[1:2]
        assert [tx.datasets.holds_content(name) for name in ("c1", "c2", "c3", "a1")] == [
            True,
            False,
            True,
            False,
        ]


def test_old_versions_of_a_content_are_dropped_and_the_newest_kept(store: Store) -> None:
    old, new = (replace(content(), content_id=name) for name in ("old", "new"))
    with store.write() as tx:
        for name, held in {"again": (old, new, old), "over": (old, new), "only": (old,)}.items():
            tx.datasets.put(replace(dataset(name, held[-1]), version=len(held)))
            for number, one in enumerate(held, 1):
                tx.datasets.add_version(dataset(name), version(number, one, name))
        tx.datasets.drop_versions("old")
    with store.read() as tx:
        left = {
            name: [number for number, _ in tx.datasets.versions(dataset(name), EVERYTHING)]
            for name in ("again", "over", "only")
        }
    assert left == {"again": [3, 2], "over": [2], "only": [1]}


def test_a_deleted_dataset_takes_its_versions_along(store: Store) -> None:
    with store.write() as tx:
        for name in ("a", "b"):
            tx.datasets.put(dataset(name, content()))
            tx.datasets.add_version(dataset(name), version(1, content(), name))
        tx.datasets.delete(dataset("a"))
    with store.write() as tx:
        assert tx.datasets.version(dataset("a"), 1) is None
        assert tx.datasets.version(dataset("b"), 1) is not None
        tx.datasets.put(dataset("a"))
        assert tx.datasets.versions(dataset("a"), EVERYTHING) == []


def test_uploads_are_put_replaced_listed_and_expire(store: Store) -> None:
    with store.write() as tx:
        for number in range(3):
            tx.uploads.put(upload(f"u{number}", expire_time=NOW + number * SECOND, byte_count=2**40))
    with store.write() as tx:
        first = tx.uploads.lock("u0")
        assert first == upload("u0", expire_time=NOW, byte_count=2**40)
        tx.uploads.put(replace(first, committed=7, expire_time=NOW + 9 * SECOND))
    with store.read() as tx:
        assert tx.uploads.get("u0") == replace(first, committed=7, expire_time=NOW + 9 * SECOND)
        pages = tx.uploads.page(Page(2))
        pages += tx.uploads.page(Page(2, pages[-1][0]))
        assert [item.upload_id for _, item in pages] == ["u2", "u1", "u0"]
        for seconds, over in ((0.999, []), (1, ["u1"]), (2, ["u1", "u2"]), (9, ["u0", "u1", "u2"])):
            assert [one.upload_id for one in tx.uploads.expired(NOW + seconds * SECOND)] == over
    with store.write() as tx:
        tx.uploads.delete("u1")
    with store.read() as tx:
        assert tx.uploads.get("u1") is None
        assert len(tx.uploads.page(EVERYTHING)) == 2


@pytest.mark.parametrize("answer", [None, job(), dataset(held=content()), upload()], ids=repr)
def test_requests_are_remembered_with_their_answers(store: Store, answer: Resource | None) -> None:
    for request_id in ("☃" * 128, "a\0b"):
        with store.write() as tx:
            tx.requests.add(request_id, Replay("CreateJob", "f", answer), NOW)
        for look in (store.read, store.write):
            with look() as tx:
                assert tx.requests.find(request_id) == Replay("CreateJob", "f", answer)


def test_old_requests_are_forgotten(store: Store) -> None:
    with store.write() as tx:
        for number in range(4):
            tx.requests.add(f"r{number}", Replay("DeleteJob", "f", None), NOW + number * SECOND)
    with store.write() as tx:
        assert tx.requests.forget(NOW + 2 * SECOND) == 2
    with store.write() as tx:
        assert [tx.requests.find(f"r{number}") is None for number in range(4)] == [True, True, False, False]
        assert tx.requests.forget(NOW) == 0


def test_one_of_two_that_look_up_a_request_waits_for_the_other(store: Store) -> None:
    replay = Replay("CreateJob", "f", job())

    def look() -> Replay | None:
        with store.write() as tx:
            return tx.requests.find("once")

    with ThreadPoolExecutor(1) as pool:
        with store.write() as tx:
            assert tx.requests.find("once") is None
            other = pool.submit(look)
            with pytest.raises(NotYet):
                other.result(0.1)
            tx.requests.add("once", replay, NOW)
        assert other.result(10) == replay


def test_who_is_alone_keeps_others_of_that_name_out(store: Store) -> None:
    def enter(name: str) -> Job | None:
        with store.write() as tx:
            tx.alone(name)
            return tx.jobs.get("job-1")

    with ThreadPoolExecutor(2) as pool:
        with store.write() as tx:
            tx.alone("room")
            if not store.quick:  # where writers do not wait for each other anyway
                assert pool.submit(enter, "other room").result(10) is None
            other = pool.submit(enter, "room")
            with pytest.raises(NotYet):
                other.result(0.1)
            tx.jobs.add(job())
        assert other.result(10) == job()


LOCKS: dict[str, Callable[[Transaction], object]] = {
    "datasets": lambda tx: tx.datasets.lock("table", "default"),
    "jobs": lambda tx: tx.jobs.lock("job-1"),
    "uploads": lambda tx: tx.uploads.lock("upload-1"),
}
CHANGED: dict[str, Any] = {
    "datasets": replace(dataset(), version=9),
    "jobs": job(step=9),
    "uploads": upload(committed=9),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_what_is_locked_is_seen_by_the_next_as_it_was_left(store: Store, kind: str) -> None:
    add(store, job())
    with store.write() as tx:
        tx.datasets.put(dataset())
        tx.uploads.put(upload())

    def look() -> object:
        with store.write() as tx:
            return LOCKS[kind](tx)

    with ThreadPoolExecutor(1) as pool:
        with store.write() as tx:
            LOCKS[kind](tx)
            other = pool.submit(look)
            with pytest.raises(NotYet):
                other.result(0.1)
            tx.datasets.put(CHANGED["datasets"])
            tx.uploads.put(CHANGED["uploads"])
            tx.jobs.update(CHANGED["jobs"])
        assert other.result(10) == CHANGED[kind]


def test_positions_have_64_bits(store: Store, url: str) -> None:
    tables = ("jobs", "job_history", "datasets", "models", "uploads")
    database = Database(url)
    with database.write() as connection:
        for table in tables:
            if store.quick:
                set_last = f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {2**40})"
            else:
                set_last = f"SELECT setval('{table}_position_seq', {2**40})"
            connection.exec_driver_sql(set_last)
    database.close()
    with store.write() as tx:
        tx.jobs.add(job())
        tx.jobs.record("job-1", [point(seq=2**40)])
        tx.datasets.put(dataset())
        tx.models.add(model())
        tx.uploads.put(upload())
    with store.read() as tx:
        pages = (tx.datasets.page(Page(1)), tx.models.page(Page(1)), tx.uploads.page(Page(1)))
        found = [page[0][0] for page in (*pages, tx.jobs.page(Page(1), None))]
        assert [*found, tx.jobs.points("job-1", 0, 1)[0].position] == [2**40 + 1] * 5
        assert tx.jobs.points("job-1", 2**62, 1) == []


def test_eight_writers_lose_no_update(store: Store) -> None:
    add(store, job("shared"))

    def write(writer: int) -> None:
        for number in range(50):
            with store.write() as tx:
                now = tx.jobs.lock("shared")
                assert now is not None
                tx.jobs.update(replace(now, losses=now.losses + 1))
                tx.jobs.record("shared", [point(1 + number, writer, seq=1 + number)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with store.read() as tx:
        shared = tx.jobs.get("shared")
        assert shared is not None
        assert shared.losses == 400
        points = tx.jobs.points("shared", 0, 1000)
    for writer in range(8):
        assert [one.step for one in points if one.attempt == writer] == list(range(1, 51))
