"""What every `Store` promises. An adapter is one more line in STORES."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.database import Database
from services.chassis.errors import ResourceExhausted
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Page, Replay, Store
from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import Hyperparameters, Linear, Logistic, Mlp
from services.training.domain.job import Job, JobError, JobState, MetricPoint, Source, Task, Usage
from tests.unit.training.samples import LATER, NOW, column, content, dataset, job, model, spec, sqlite_store

STORES = {"sqlite": sqlite_store}
EVERYTHING = Page(1000)


@pytest.fixture(params=STORES.values(), ids=STORES.keys())
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with request.param(tmp_path) as opened:
        yield opened


def add(store: Store, *jobs: Job) -> None:
    with store.write() as tx:
        for one in jobs:
            tx.jobs.add(one)


def point(step: int, attempt: int = 1) -> MetricPoint:
    return MetricPoint(attempt, step, step / 10, {"train_loss": 1 / step}, NOW)


def test_what_is_not_there_is_none(store: Store) -> None:
    with store.read() as tx:
        assert tx.datasets.get("none") is tx.jobs.get("none") is tx.models.get("none") is None
        assert tx.requests.find("none") is None
        assert tx.jobs.points("none", 0, 10) == []
    with store.write() as tx:
        assert tx.jobs.lock("none") is None
        tx.datasets.delete("none")
        tx.jobs.delete("none")
        tx.models.delete("none")


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
        tx.datasets.delete("table")
    with store.read() as tx:
        assert tx.datasets.get("table") is None
        assert not tx.datasets.holds_content("a1")


@pytest.mark.parametrize("params", [Linear(l2=3), Logistic(tolerance=1e-9), Mlp(hidden_sizes=(7,)), Mlp()])
def test_a_job_reads_back_equal(store: Store, params: Hyperparameters) -> None:
    asked = spec(
        hyperparameters=params,
        target="größe ☃ " * 100,
        target_type=ColumnType.INTEGER,
        task=Task.REGRESSION,
        seed=2**32 - 1,
        validation_fraction=0.1 + 0.2,
        validation=Source("v", "b2"),
        test=Source("t", "b2"),
    )
    kept = Job(
        "job-1",
        "",
        asked,
        NOW,
        LATER,
        JobState.FAILED,
        progress=1 / 3,
        attempt=2,
        losses=1,
        handle="1:2.00",
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
        tx.datasets.delete("d4")
        tx.models.delete("m3")
        tx.jobs.delete("j3")
        before = [Page(2, items[-1][0]) for items in first]
        second = tx.datasets.page(before[0]), tx.models.page(before[1]), tx.jobs.page(before[2], None)
        failed = tx.jobs.page(EVERYTHING, JobState.FAILED)
    assert [item.dataset_id for _, item in (*first[0], *second[0])] == ["d5", "d4", "d3", "d2"]
    assert [item.model_id for _, item in (*first[1], *second[1])] == ["m5", "m4", "m2", "m1"]
    assert [item.job_id for _, item in (*first[2], *second[2])] == ["j5", "j4", "j2", "j1"]
    assert [item.job_id for _, item in failed] == ["j5", "j1"]


def test_a_position_is_never_given_twice(store: Store) -> None:
    """Or a page token, or a cursor, would skip what came later."""
    add(store, job("j1"), job("j2"))
    with store.write() as tx:
        tx.jobs.add_points("j2", [point(1)])
        last = tx.jobs.page(Page(1), None)[0][0], tx.jobs.points("j2", 0, 1)[0].position
        tx.jobs.delete("j2")
        tx.jobs.add(job("j3"))
        tx.jobs.add_points("j3", [point(1)])
        now = tx.jobs.page(Page(1), None)[0][0], tx.jobs.points("j3", 0, 1)[0].position
    assert now[0] > last[0]
    assert now[1] > last[1]


def test_an_exception_undoes_everything(store: Store) -> None:
    add(store, job())

    def change_and_fail() -> None:
        with store.write() as tx:
            tx.datasets.put(dataset())
            tx.jobs.update(replace(job(), progress=0.5))
            tx.jobs.add_points("job-1", [point(1)])
            tx.models.add(model())
            tx.requests.add("once", Replay("CreateJob", "f", "job-1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    with store.read() as tx:
        assert tx.jobs.get("job-1") == job()
        assert tx.jobs.points("job-1", 0, 10) == []
        assert tx.datasets.get("table") is tx.models.get("model-1") is tx.requests.find("once") is None


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


def test_a_content_is_read_until_its_job_has_ended(store: Store) -> None:
    both = replace(job("j1"), spec=spec("a1", validation=Source("v", "b2"), test=Source("t", "b2")))
    add(store, both)
    for state in JobState:
        with store.write() as tx:
            tx.jobs.update(replace(both, state=state))
            assert tx.jobs.reading("a1") is tx.jobs.reading("b2") is not state.ended
            assert not tx.jobs.reading("c3")


def test_points_are_read_on_from_any_position(store: Store) -> None:
    add(store, job("j1"), job("j2"))
    for part in (range(1, 4), range(4, 6)):
        with store.write() as tx:
            tx.jobs.add_points("j1", [point(step) for step in part])
            tx.jobs.add_points("j2", [point(9)])
            tx.jobs.add_points("j1", [])
    with store.read() as tx:
        points = tx.jobs.points("j1", 0, 100)
        assert [replace(one, position=0) for one in points] == [point(step) for step in range(1, 6)]
        assert sorted(one.position for one in points) == [one.position for one in points]
        assert tx.jobs.points("j1", points[1].position, 2) == points[2:4]
        assert tx.jobs.points("j1", points[-1].position, 2) == []


def test_a_deleted_job_takes_its_points_and_sources_along(store: Store) -> None:
    add(store, job("j1", "a1"), job("j2", "b2"))
    with store.write() as tx:
        for name in ("j1", "j2"):
            tx.jobs.add_points(name, [point(1)])
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


def test_requests_are_remembered(store: Store) -> None:
    with store.write() as tx:
        tx.requests.add("☃" * 128, Replay("CreateJob", "f", "job-1"))
    with store.read() as tx:
        assert tx.requests.find("☃" * 128) == Replay("CreateJob", "f", "job-1")


def test_eight_writers_lose_no_update(store: Store) -> None:
    add(store, job("shared"))

    def write(writer: int) -> None:
        for number in range(50):
            with store.write() as tx:
                now = tx.jobs.lock("shared")
                assert now is not None
                tx.jobs.update(replace(now, losses=now.losses + 1))
                tx.jobs.add_points("shared", [point(1 + number, writer)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with store.read() as tx:
        shared = tx.jobs.get("shared")
        assert shared is not None
        assert shared.losses == 400
        points = tx.jobs.points("shared", 0, 1000)
    for writer in range(8):
        assert [one.step for one in points if one.attempt == writer] == list(range(1, 51))


def test_a_full_disk_is_said_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    """SQLite only: it can be told how large the file may become."""
    database = Database(f"sqlite:///{tmp_path / 'training.db'}")
    with database.write() as connection:  # back in the pool, it is the one that is used next
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(ResourceExhausted) as caught:
        add(SqlStore(database), *(job(f"j{number}") for number in range(1000)))
    assert caught.value.reason == "STORAGE_FULL"
    with store.read() as tx:
        assert tx.jobs.page(EVERYTHING, None) == []
    database.close()
