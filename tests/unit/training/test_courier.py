"""What carries an attempt's outbox to the store: each record once, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from services.chassis.errors import ResourceExhausted
from services.training.adapters.outbox_disk import DiskOutbox
from services.training.adapters.store_sql import SqlStore
from services.training.application import courier as courier_module
from services.training.application.attempt_loop import Signs
from services.training.application.courier import Courier, held, store_records
from services.training.application.ports import Entry, Fenced, Record, Transaction
from services.training.domain.candidate import CandidateResult
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Job, JobState
from services.training.domain.usage import Usage
from tests.contract.waiting import until
from tests.unit.training.samples import NOW, checkpoint, event, job, point
from tests.unit.training.stand_ins import HandClock, Outage

LEASE = timedelta(seconds=0.1)  # renewed every 20 ms
RECORDS: list[Record] = [point(1), event("a"), checkpoint(1), point(2), checkpoint(2), point(3)]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "PACE_SECONDS", 0.005)


class Route:
    """A courier between a real outbox and a real store that can be away."""

    def __init__(self, outage: Outage, clock: HandClock, path: Path) -> None:
        self.outage = outage
        self.clock = clock
        self.job = job().started(clock(), clock() + timedelta(seconds=9)).running_as("1:1.00")
        with outage.store.write() as tx:
            tx.jobs.add(self.job)
        self.outbox = DiskOutbox(path / "outbox.jsonl")
        self.signs = Signs(Event(), ())
        self.courier = Courier(
            self.job,
            self.signs,
            self.outbox,
            store=outage,
            clock=clock,
            usage=lambda: Usage(1.5),
            lease=LEASE,
        )

    def say(self, *records: Record) -> None:
        for record in records:
            self.outbox.append(record)

    def now(self) -> Job:
        with self.outage.store.read() as tx:
            found = tx.jobs.get("job-1")
        assert found is not None
        return found

    def change(self, to: Callable[[Job], Job]) -> None:
        with self.outage.store.write() as tx:
            found = tx.jobs.lock("job-1")
            assert found is not None
            tx.jobs.update(to(found))

    def history(self) -> list[Entry]:
        with self.outage.store.read() as tx:
            return tx.jobs.history("job-1", 0, 10_000)

    def seqs(self) -> list[int]:
        return [entry.seq for entry in self.history()]

    def deadline(self) -> datetime:
        found = self.now().deadline
        assert found is not None
        return found


@pytest.fixture
def route(outage: Outage, clock: HandClock, tmp_path: Path) -> Route:
    return Route(outage, clock, tmp_path)


def delivered(route: Route) -> None:
    """That everything of RECORDS is in the store, once and in order."""
    assert route.seqs() == [1, 2, 4, 6]
    assert [entry.step for entry in route.history() if isinstance(entry, MetricPoint)] == [1, 2, 3]
    assert [entry.kind for entry in route.history() if isinstance(entry, JobEvent)] == ["a"]
    found = route.now()
    assert (found.step, found.progress, found.shipped) == (3, 0.3, 6)
    assert [one.name for one in found.checkpoints] == ["1-1", "1-2"]
    assert found.usage == Usage(1.5)


def test_everything_is_sent_while_training_goes_on(route: Route) -> None:
    with route.courier:
        route.say(*RECORDS)
        until(lambda: route.now().shipped == 6)
        delivered(route)
        until(lambda: [one.name for one in route.signs.stored] == ["1-1", "1-2"])


def test_what_is_said_last_is_sent_at_the_end(route: Route) -> None:
    with route.courier:
        pass
    route.say(*RECORDS)
    route.courier.deliver_all()
    delivered(route)


def test_more_than_fits_into_one_message_is_sent(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "MOST_RECORDS", 2)
    route.say(*RECORDS)
    route.courier.deliver_all()
    delivered(route)


@pytest.mark.parametrize("refusals", [1, 7])
def test_a_store_that_is_away_for_a_while_gets_everything_once(route: Route, refusals: int) -> None:
    with route.courier:
        route.say(*RECORDS[:3])
        until(lambda: route.now().shipped == 3)
        route.outage.refusals = refusals
        route.say(*RECORDS[3:])
        until(lambda: route.now().shipped == 6)
    assert route.outage.refused == refusals
    delivered(route)


def test_a_commit_whose_answer_is_lost_is_not_stored_again(route: Route) -> None:
    route.outage.answers_lost = 2
    route.say(*RECORDS)
    route.courier.deliver_all()
    assert not route.outage.answers_lost
    delivered(route)


def test_the_end_waits_for_the_store(route: Route) -> None:
    route.say(*RECORDS)
    route.outage.refusals = 20
    route.courier.deliver_all()
    delivered(route)


def test_a_lease_is_renewed_when_there_is_nothing_to_say(route: Route) -> None:
    with route.courier:
        for _ in "123":
            route.clock.advance(60)
            until(lambda: route.deadline() == route.clock() + LEASE)
    assert route.history() == []


def test_a_lease_is_renewed_when_there_is_room_for_no_more(
    route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(tx: Transaction, job: Job, records: Any, *rest: Any) -> Job:
        if records:
            raise ResourceExhausted("STORAGE_FULL", "The disk is too full to write this down.")
        return store_records(tx, job, records, *rest)

    route.say(*RECORDS)
    with route.courier, monkeypatch.context() as patch:
        patch.setattr(courier_module, "store_records", no_room)
        for _ in "123":
            route.clock.advance(60)
            until(lambda: route.deadline() == route.clock() + LEASE)
        assert route.history() == []
    route.courier.deliver_all()
    delivered(route)


def test_a_life_sign_is_not_a_step(route: Route) -> None:
    with route.courier:
        route.clock.advance(60)
        until(lambda: route.deadline() == route.clock() + LEASE)
        assert route.now().progress_time == NOW
        route.signs.work += 1
        until(lambda: route.now().progress_time == route.clock())
        route.clock.advance(60)
        until(lambda: route.deadline() == route.clock() + LEASE)
        assert route.now().progress_time == route.clock() - timedelta(seconds=60)


def test_a_job_that_is_cancelled_stops_training_and_is_not_renewed(route: Route) -> None:
    until_then = NOW + timedelta(seconds=3)
    with route.courier:
        route.change(lambda one: one.cancelled(NOW, until_then))
        assert route.signs.stop.wait(10)
        route.say(*RECORDS)
        until(lambda: route.now().shipped == 6)
    assert not route.signs.fenced
    assert (route.now().state, route.deadline()) == (JobState.CANCELLING, until_then)


@pytest.mark.parametrize("speaking", [True, False])
@pytest.mark.parametrize("gone", ["next attempt", "waits", "ended", "deleted"])
def test_an_attempt_that_does_not_hold_its_job_stops_and_stores_nothing(
    route: Route, gone: str, speaking: bool
) -> None:
    with route.outage.store.write() as tx:
        waiting = route.job.interrupted(NOW)
        match gone:
            case "next attempt":
                tx.jobs.update(waiting.started(NOW, NOW + LEASE))
            case "waits":
                tx.jobs.update(waiting)
            case "ended":
                tx.jobs.update(route.job.moved(JobState.FAILED, NOW))
            case _:
                tx.jobs.delete("job-1")
    if speaking:
        route.say(*RECORDS)
    with route.courier:
        assert route.signs.stop.wait(10)
    route.courier.deliver_all()
    assert route.signs.fenced
    assert route.history() == []
    if gone == "next attempt":
        assert (route.now().attempt, route.now().shipped, route.now().checkpoints) == (2, 0, ())


def test_what_the_job_has_already_is_left_out(route: Route) -> None:
    """The courier's own account of what it sent is lost with its process."""
    records = list(enumerate(RECORDS, 1))
    with route.outage.store.write() as tx:
        store_records(tx, held(tx, route.job), records[:4], Usage(1), NOW)
    with route.outage.store.write() as tx:
        stored = store_records(tx, held(tx, route.job), records, Usage(1.5), NOW)
    assert stored == route.now()
    assert [one.name for one in stored.checkpoints] == ["1-1", "1-2"]


def test_what_a_candidate_came_to_is_kept_with_the_job(route: Route) -> None:
    first = CandidateResult(3, {"log_loss": 0.25}, {"log_loss": 0.5}, 1.5)
    route.say(first, CandidateResult(4, problem="diverged"), replace(first, seconds=9.0))
    route.courier.deliver_all()
    assert route.now().results == (first, CandidateResult(4, problem="diverged"))
    assert route.history() == []


def test_points_without_numbers_move_the_progress_only(route: Route) -> None:
    route.say(MetricPoint(1, 7, 1.0, {}, NOW))
    route.courier.deliver_all()
    assert (route.history(), route.now().step, route.now().progress) == ([], 7, 1.0)


def test_nothing_is_stored_for_a_job_that_moved_on_in_the_meantime(route: Route, store: SqlStore) -> None:
    with store.write() as tx:
        mine = held(tx, route.job)
        tx.jobs.update(mine.interrupted(NOW))
        with pytest.raises(Fenced):
            store_records(tx, mine, [(1, point(1))], Usage(), NOW)
    assert (route.now().state, route.history()) == (JobState.QUEUED, [])
