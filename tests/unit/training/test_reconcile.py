"""What the reconciler does, above all when something happens at the worst moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import ResourceExhausted, Unavailable
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.application import reconcile
from services.training.application.courier import held, store_records
from services.training.application.jobs import Jobs
from services.training.application.limits import Limits
from services.training.application.losses import EXIT_ENVIRONMENT
from services.training.application.ports import Entry, Executor, Record, Slot
from services.training.application.reconcile import Reconciler
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Device, Job, JobError, JobState
from services.training.domain.usage import Usage
from tests.contract.waiting import until
from tests.unit.training.samples import NOW, checkpoint, event, job, point, spec
from tests.unit.training.stand_ins import Fullness, HandClock, Outage, Processes

LIMITS = Limits(start=10, lease=15, progress=600, grace=3)
CPU, GPU = Device.CPU, Device.GPU
QUEUED, RUNNING, CANCELLING = JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING
FAILED, CANCELLED, SUCCEEDED = JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED


class Crash(BaseException):
    """The service is killed here."""


def crash(_: str) -> None:
    raise Crash


class Scene:
    """A service with its processes, where time passes when it is told to."""

    def __init__(
        self, outage: Outage, artifacts: DiskArtifacts, processes: Processes, clock: HandClock
    ) -> None:
        self.outage = outage
        self.artifacts = artifacts
        self.processes = processes
        self.clock = clock
        self.slots = {CPU: 2}
        self.limits = LIMITS
        self.memory = Fullness()
        self.jobs = Jobs(
            outage.store, artifacts, processes, clock, lambda: None, self.slots, timedelta(seconds=3)
        )
        self.reconciler = self.another()

    def another(self, executor: Executor | None = None, host: str = "") -> Reconciler:
        """One more on the same store; or the same after a restart."""
        return Reconciler(
            store=self.outage,
            artifacts=self.artifacts,
            executor=executor or self.processes,
            outboxes=disk_outboxes(self.artifacts),
            clock=self.clock,
            slots=self.slots,
            limits=self.limits,
            host=host,
            memory=self.memory,
        )

    def add(self, *names: str, priority: int = 0, **asked: Any) -> None:
        with self.outage.store.write() as tx:
            for name in names:
                tx.jobs.add(replace(job(name, priority=priority), spec=spec(**asked)))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.reconciler.tick()

    def pass_time(self, seconds: float, alive: Iterable[str] = (), moving: bool = True) -> None:
        """In rounds, as time passes in life. The attempts of `alive` renew their leases meanwhile."""
        while seconds > 0:
            step = min(2.0, seconds)
            self.clock.advance(step)
            for job_id in alive:
                self.renew(job_id, moving)
            self.tick()
            seconds -= step

    def renew(self, job_id: str, moving: bool = True) -> None:
        until = self.clock() + timedelta(seconds=15)
        with self.outage.store.write() as tx:
            tx.jobs.update_held(held(tx, self.get(job_id)).renewed(self.clock(), until, moving=moving))

    def get(self, job_id: str = "job-1") -> Job:
        return self.jobs.get(job_id)

    def change(self, to: Callable[[Job], Job], job_id: str = "job-1") -> None:
        with self.outage.store.write() as tx:
            found = tx.jobs.lock(job_id)
            assert found is not None
            tx.jobs.update(to(found))

    def shown(self, job_id: str = "job-1") -> tuple[JobState, int, str]:
        found = self.get(job_id)
        return found.state, found.attempt, found.handle

    def history(self, job_id: str = "job-1") -> list[Entry]:
        return self.jobs.look(job_id, "")[1]

    def kinds(self, job_id: str = "job-1") -> list[str]:
        return [entry.kind for entry in self.history(job_id) if isinstance(entry, JobEvent)]

    def error(self, job_id: str = "job-1") -> JobError:
        found = self.get(job_id).error
        assert found is not None
        return found

    def handle(self, job_id: str = "job-1") -> str:
        return self.get(job_id).handle

    def succeed(self, job_id: str = "job-1") -> None:
        """As its attempt does, whose process lives on for a moment."""
        self.change(lambda one: one.moved(SUCCEEDED, self.clock()), job_id)


@pytest.fixture
def scene(outage: Outage, artifacts: DiskArtifacts, processes: Processes, clock: HandClock) -> Scene:
    return Scene(outage, artifacts, processes, clock)


# Starting


def test_a_job_that_waits_is_started_and_its_process_written_down(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    assert scene.shown() == (RUNNING, 1, "process-1")
    found = scene.get()
    assert (found.deadline, found.attempt_time) == (NOW + timedelta(seconds=25), NOW)
    assert scene.processes.living["process-1"].slot == Slot(CPU)
    assert scene.kinds() == ["attempt_started"]
    scene.tick(3)
    assert len(scene.processes.living) == 1


def test_it_is_written_down_before_it_exists(scene: Scene) -> None:
    seen: list[tuple[JobState, int, str]] = []
    scene.processes.before = lambda job_id: seen.append(scene.shown(job_id))
    scene.add("job-1")
    scene.tick()
    assert seen == [(RUNNING, 1, "")]


def test_slots_are_never_exceeded_and_filled_again(scene: Scene) -> None:
    scene.add(*(f"job-{number}" for number in range(1, 6)))
    scene.tick()
    assert len(scene.processes.living) == 2
    scene.processes.dies(scene.handle("job-1"))
    scene.succeed("job-1")
    scene.tick()
    assert sorted(one.job_id for one in scene.processes.living.values()) == ["job-2", "job-3"]


def test_gpus_are_slots_of_their_own_and_each_attempt_gets_another(scene: Scene) -> None:
    scene.slots.update({CPU: 1, GPU: 2})
    scene.add("gpu-1", "gpu-2", "gpu-3", device=GPU)
    scene.add("cpu-1", "cpu-2")
    scene.tick()
    slots = {one.job_id: one.slot for one in scene.processes.living.values()}
    assert slots == {"gpu-1": Slot(GPU, 0), "gpu-2": Slot(GPU, 1), "cpu-1": Slot(CPU)}
    assert [scene.get(name).gpu for name in slots] == [slots[name].gpu for name in slots]
    scene.processes.dies(scene.handle("gpu-1"))
    scene.succeed("gpu-1")
    scene.tick()
    [third] = scene.processes.of("gpu-3")
    assert third.slot == Slot(GPU, 0)


def test_jobs_start_in_the_order_of_the_schedule(scene: Scene) -> None:
    scene.slots[CPU] = 1
    scene.add("old")
    scene.add("urgent", priority=5)
    scene.tick()
    assert scene.shown("urgent")[0] is RUNNING
    assert scene.shown("old")[0] is QUEUED


def test_two_reconcilers_start_nothing_twice(scene: Scene) -> None:
    """Even when the other has its round in the middle of this one's."""
    other = scene.another()
    scene.add(*(f"job-{number}" for number in range(1, 6)))

    def meanwhile(_: str) -> None:
        scene.processes.before = lambda _: None
        other.tick()

    scene.processes.before = meanwhile
    scene.tick()
    other.tick()
    scene.tick()
    started = sorted(one.job_id for one in scene.processes.living.values())
    assert started == ["job-1", "job-2"]
    assert {scene.handle(name) for name in started} == set(scene.processes.living)


def test_what_another_has_settled_meanwhile_is_left_alone(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    other = scene.another()

    def meanwhile() -> None:
        scene.processes.at_look = lambda: None
        other.tick()

    scene.processes.dies("process-1")
    scene.processes.at_look = meanwhile
    scene.tick()
    assert (scene.shown(), scene.get().losses) == ((RUNNING, 2, "process-2"), 1)
    assert scene.kinds() == ["attempt_started", "attempt_lost", "attempt_started"]


def test_a_cancellation_while_the_process_is_started_is_not_lost(scene: Scene) -> None:
    """And the job that was about to be started next is not."""
    scene.add("job-1", "job-2")

    def cancel_both(_: str) -> None:
        for name in ("job-1", "job-2"):
            scene.jobs.cancel(name, "")

    scene.processes.after = cancel_both
    scene.tick()
    assert scene.shown("job-1") == (CANCELLING, 1, "process-1")
    assert scene.shown("job-2") == (CANCELLED, 0, "")


# A handle that was never written down


def test_a_process_whose_handle_was_never_written_down_is_found(scene: Scene) -> None:
    scene.add("job-1")
    scene.processes.after = crash
    with pytest.raises(Crash):
        scene.tick()
    assert scene.shown() == (RUNNING, 1, "")
    scene.processes.after = lambda _: None
    scene.reconciler = scene.another()
    scene.tick()
    assert scene.shown() == (RUNNING, 1, "process-1")
    assert len(scene.processes.living) == 1


def test_one_that_was_cancelled_meanwhile_is_found_and_ended(scene: Scene) -> None:
    scene.add("job-1")
    scene.processes.after = crash
    with pytest.raises(Crash):
        scene.tick()
    scene.jobs.cancel("job-1", "")
    scene.reconciler = scene.another()
    scene.tick(3)
    assert (scene.get().state, scene.processes.living) == (CANCELLED, {})


def test_a_process_that_never_came_to_be_is_a_loss_in_time(scene: Scene) -> None:
    scene.add("job-1")
    scene.processes.before = crash
    with pytest.raises(Crash):
        scene.tick()
    scene.processes.before = lambda _: None
    scene.reconciler = scene.another()
    scene.pass_time(LIMITS.start)
    assert scene.shown() == (RUNNING, 1, "")
    scene.pass_time(1)
    assert scene.shown() == (RUNNING, 2, "process-1")
    assert scene.get().losses == 1
    assert scene.kinds() == ["attempt_started", "attempt_lost", "attempt_started"]


def test_a_job_of_a_release_without_these_times_is_settled(scene: Scene) -> None:
    scene.add("job-1")
    scene.change(lambda one: replace(one, state=RUNNING, attempt=1))
    scene.tick()
    assert scene.shown() == (RUNNING, 2, "process-1")


def test_a_store_that_is_full_after_the_start_leaves_no_twin(scene: Scene) -> None:
    scene.add("job-1")
    scene.processes.after = lambda _: setattr(scene.outage, "full", True)
    with pytest.raises(Unavailable):
        scene.tick()
    with pytest.raises(Unavailable):  # it is found, and cannot be written down
        scene.tick()
    assert (len(scene.processes.living), scene.processes.killed) == (1, [])
    scene.outage.full = False
    scene.tick()
    assert scene.shown() == (RUNNING, 1, "process-1")


# Leases


def test_an_attempt_that_renews_its_lease_is_left_alone(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.pass_time(300, alive=["job-1"])
    assert scene.shown() == (RUNNING, 1, "process-1")
    assert scene.processes.killed == []


def test_an_attempt_that_falls_silent_is_ended_and_its_job_tried_again(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.pass_time(10, alive=["job-1"])
    scene.pass_time(LIMITS.lease)
    assert scene.shown() == (RUNNING, 1, "process-1")
    scene.pass_time(4)
    assert scene.processes.killed == ["process-1"]
    scene.tick()
    assert scene.shown() == (RUNNING, 2, "process-2")
    assert scene.get().losses == 1
    assert scene.kinds() == ["attempt_started", "attempt_ended", "attempt_lost", "attempt_started"]
    assert "said nothing for 15 s" in next(
        entry.message
        for entry in scene.history()
        if isinstance(entry, JobEvent) and entry.kind == "attempt_lost"
    )


def test_its_job_moves_on_only_when_the_process_is_gone(scene: Scene) -> None:
    """A signal takes its time to a process that waits for its disk."""
    scene.add("job-1")
    scene.tick()
    dies, scene.processes.dies = scene.processes.dies, lambda *_: None  # type: ignore[method-assign]
    scene.pass_time(60)
    assert set(scene.processes.killed) == {"process-1"}
    assert scene.shown() == (RUNNING, 1, "process-1")
    assert scene.kinds() == ["attempt_started", "attempt_ended"]
    dies("process-1", -9)
    scene.tick()
    assert scene.shown()[:2] == (RUNNING, 2)


def test_one_that_renews_while_its_end_is_decided_lives(scene: Scene) -> None:
    """The reconciler may wait for its turn to write; what was written before it counts."""
    scene.add("job-1")
    scene.tick()
    scene.pass_time(24)
    scene.clock.advance(2)
    write = scene.outage.write

    def after_a_renewal() -> object:
        scene.outage.write = write  # type: ignore[method-assign]
        scene.renew("job-1")
        return write()

    scene.outage.write = after_a_renewal  # type: ignore[method-assign, assignment]
    scene.tick()
    assert (scene.processes.killed, scene.kinds()) == ([], ["attempt_started"])
    assert scene.shown() == (RUNNING, 1, "process-1")


def test_nobody_is_ended_before_they_could_have_renewed(scene: Scene) -> None:
    """They may have been waiting for the same store as we, whatever kept it."""
    scene.add("job-1")
    scene.tick()
    scene.pass_time(24)
    for _ in range(3):
        scene.clock.advance(2)
        scene.tick()  # we could write again, and so can they
        scene.clock.advance(reconcile.CONFIRMATION_SECONDS / 2)
        scene.tick()
        assert scene.processes.killed == []
        scene.renew("job-1")
        scene.pass_time(LIMITS.lease)
    scene.clock.advance(2)
    scene.tick()
    scene.clock.advance(reconcile.CONFIRMATION_SECONDS)
    scene.tick()
    assert scene.processes.killed == ["process-1"]


def test_one_that_stands_still_is_ended_though_nothing_can_be_written(scene: Scene) -> None:
    """It may be what holds the lock."""
    scene.add("job-1")
    scene.tick()
    scene.outage.full = True
    scene.processes.living["process-1"].frozen = True
    scene.pass_time(24)
    assert scene.processes.killed == []
    scene.clock.advance(2)
    with suppress(ResourceExhausted):
        scene.tick()
    assert scene.processes.killed == ["process-1"]
    scene.outage.full = False
    scene.tick()
    assert (scene.shown()[:2], scene.get().losses) == ((RUNNING, 2), 1)
    assert "said nothing" in str(scene.history())


def test_the_time_of_an_outage_counts_against_nobody(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.outage.down = True
    for _ in range(100):
        scene.clock.advance(2)
        with pytest.raises(Unavailable):
            scene.tick()
    scene.outage.down = False
    scene.pass_time(LIMITS.lease)
    assert (scene.shown(), scene.processes.killed) == ((RUNNING, 1, "process-1"), [])
    scene.pass_time(4)  # but it does not come back
    assert scene.processes.killed == ["process-1"]


def test_who_could_not_write_for_want_of_room_has_time_to_renew(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.outage.full = True
    for _ in range(100):
        scene.clock.advance(2)
        with suppress(ResourceExhausted):
            scene.tick()
    scene.outage.full = False
    scene.pass_time(2)
    assert (scene.shown(), scene.processes.killed) == ((RUNNING, 1, "process-1"), [])
    scene.pass_time(4)  # but it says nothing
    assert scene.processes.killed == ["process-1"]


@pytest.mark.parametrize("hours", [0.01, 10])
def test_a_sleep_of_the_machine_counts_against_nobody(scene: Scene, hours: float) -> None:
    scene.add("job-1", time_limit=600)
    scene.tick()
    scene.pass_time(4, alive=["job-1"])
    scene.clock.advance(hours * 3600)
    scene.tick()
    scene.pass_time(LIMITS.lease - 2)
    assert (scene.shown(), scene.processes.killed) == ((RUNNING, 1, "process-1"), [])
    scene.pass_time(60, alive=["job-1"])
    assert scene.shown() == (RUNNING, 1, "process-1")


def test_after_a_restart_every_attempt_has_its_whole_lease(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.clock.advance(3600)
    scene.reconciler = scene.another()
    scene.pass_time(LIMITS.lease)
    assert (scene.shown(), scene.processes.killed) == ((RUNNING, 1, "process-1"), [])


def test_training_that_makes_no_step_is_ended(scene: Scene) -> None:
    """Its courier lives, its training does not."""
    scene.add("job-1", max_attempts=1)
    scene.tick()
    scene.pass_time(LIMITS.progress, alive=["job-1"], moving=False)
    assert scene.shown() == (RUNNING, 1, "process-1")
    scene.pass_time(4, alive=["job-1"], moving=False)
    assert scene.processes.killed == ["process-1"]
    scene.tick()
    assert (scene.get().state, scene.error().reason) == (FAILED, "TRAINING_STALLED")


# How attempts are lost


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_job_is_tried_as_often_as_it_may(scene: Scene, most: int) -> None:
    scene.add("job-1", max_attempts=most)
    for _ in range(most):
        scene.tick()
        scene.processes.dies(scene.handle(), 3, "ValueError: so it is")
    scene.tick(3)
    assert (scene.get().state, scene.get().attempt) == (FAILED, most)
    assert (scene.error().reason, scene.processes.living) == ("TRAINING_PROCESS_LOST", {})
    assert "exit status 3: ValueError: so it is" in scene.error().message
    assert scene.kinds() == ["attempt_started", "attempt_lost"] * most + ["job_failed"]


def test_where_nothing_can_run_the_job_fails_at_once(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.processes.dies(scene.handle(), EXIT_ENVIRONMENT, "No module named 'cupy'")
    scene.tick()
    assert (scene.get().state, scene.get().attempt) == (FAILED, 1)
    assert (scene.error().code, scene.error().reason) == (
        "FAILED_PRECONDITION",
        "TRAINING_ENVIRONMENT_BROKEN",
    )


def test_an_outage_just_then_does_not_forget_how_it_ended(scene: Scene) -> None:
    """The executor says it once."""
    scene.add("job-1")
    scene.tick()
    scene.processes.dies(scene.handle(), EXIT_ENVIRONMENT, "No module named 'cupy'")
    scene.outage.full = True
    for _ in "12":
        with pytest.raises(Unavailable):
            scene.tick()
    scene.outage.full = False
    scene.tick()
    assert (scene.get().state, scene.error().reason) == (FAILED, "TRAINING_ENVIRONMENT_BROKEN")


def test_a_result_that_came_just_before_the_end_counts(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()

    def finish() -> None:
        scene.processes.at_look = lambda: None
        scene.succeed()
        scene.processes.dies("process-1", 0)

    scene.processes.at_look = finish
    scene.tick()
    assert (scene.get().state, scene.kinds()) == (SUCCEEDED, ["attempt_started"])


# What a dead attempt left to be said

LEFT: list[Record] = [point(1), event("a"), checkpoint(1), point(2), checkpoint(2)]


def leave(scene: Scene, shipped: int, records: Iterable[Record] = LEFT) -> None:
    """An attempt says LEFT, sends the first `shipped` of it, and dies."""
    outbox = disk_outboxes(scene.artifacts)("job-1", 1)
    for record in records:
        outbox.append(record)
    with scene.outage.store.write() as tx:
        store_records(tx, held(tx, scene.get()), outbox.read(0, shipped), Usage(7), scene.clock())
    scene.processes.dies(scene.handle(), -11)


def collected(scene: Scene) -> None:
    points = [entry for entry in scene.history() if isinstance(entry, MetricPoint)]
    assert [(one.attempt, one.seq, one.step) for one in points] == [(1, 1, 1), (1, 4, 2)]
    assert scene.kinds().count("a") == 1
    found = scene.get()
    assert [one.name for one in found.checkpoints] == ["1-1", "1-2"]
    assert (found.step, found.usage) == (2, Usage(7))


@pytest.mark.parametrize("shipped", range(len(LEFT) + 1))
def test_what_a_dead_attempt_could_not_send_is_collected_once(scene: Scene, shipped: int) -> None:
    scene.add("job-1")
    scene.tick()
    leave(scene, shipped)
    scene.tick()
    assert scene.shown() == (RUNNING, 2, "process-2")
    collected(scene)
    assert (scene.get().progress, scene.get().shipped) == (0.2, 0)  # from the last checkpoint on
    scene.pass_time(20, alive=["job-1"])
    collected(scene)


def test_it_is_collected_once_by_however_many_and_in_spite_of_lost_answers(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    leave(scene, 2)
    scene.slots[CPU] = 0
    other = scene.another()
    scene.outage.answers_lost = 1
    with pytest.raises(Unavailable):
        scene.tick()
    other.tick()
    scene.tick()
    assert scene.get().state is QUEUED
    collected(scene)
    assert scene.kinds().count("attempt_lost") == 1


def test_what_a_cancelled_attempt_said_last_is_collected_too(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.jobs.cancel("job-1", "")
    leave(scene, 1)
    scene.tick()
    assert scene.get().state is CANCELLED
    collected(scene)
    assert scene.kinds()[-1] == "job_cancelled"


def test_a_damaged_outbox_holds_up_nobody(scene: Scene) -> None:
    scene.add("job-1", "job-2", "job-3")
    scene.tick()
    path = scene.artifacts.workspace("job-1", 1) / "outbox.jsonl"
    leave(scene, 0)
    path.write_bytes(b"\0\0\0\n" + path.read_bytes())
    scene.tick()
    assert (scene.get().losses, scene.get().checkpoints[-1].name) == (0, "1-2")
    assert len(scene.processes.living) == 2


def test_settling_leaves_the_next_attempts_files_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another reconciler may have started it by then."""
    scene.add("job-1")
    scene.tick()
    other, clear = scene.another(), scene.artifacts.clear_workspaces

    def after_the_other(job_id: str, attempt: int) -> None:
        monkeypatch.undo()
        other.tick()
        assert scene.shown() == (RUNNING, 2, "process-2")
        disk_outboxes(scene.artifacts)("job-1", 2).append(point(1, attempt=2))
        clear(job_id, attempt)

    monkeypatch.setattr(scene.artifacts, "clear_workspaces", after_the_other)
    scene.processes.dies(scene.handle())
    scene.tick()
    assert len(disk_outboxes(scene.artifacts)("job-1", 2).read(0, 9)) == 1


# Stopping


def test_a_cancelled_job_is_asked_to_stop_and_is_cancelled_when_it_is_gone(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.jobs.cancel("job-1", "")
    scene.tick()
    assert (scene.get().state, scene.processes.killed) == (CANCELLING, [])
    scene.tick()
    assert (scene.get().state, scene.get().error) == (CANCELLED, None)
    assert scene.kinds() == ["attempt_started", "cancel_requested", "job_cancelled"]


def test_one_that_does_not_listen_is_ended_by_force_after_its_time(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    process = scene.processes.living[scene.handle()]
    process.stubborn = True
    scene.jobs.cancel("job-1", "")
    scene.tick()
    assert process.asked
    scene.pass_time(3, alive=["job-1"])  # a renewal is no way out
    scene.jobs.cancel("job-1", "")  # nor is another request
    assert (scene.get().state, scene.processes.killed) == (CANCELLING, [])
    scene.pass_time(0.5)
    assert scene.processes.killed == ["process-1"]
    assert scene.get().state is CANCELLING
    scene.tick()
    assert scene.get().state is CANCELLED


def test_the_time_limit_is_over_all_attempts_and_asks_before_it_ends(scene: Scene) -> None:
    scene.add("job-1", time_limit=60)
    scene.change(lambda one: replace(one, usage=Usage(wall_seconds=50)))
    scene.tick()
    scene.processes.living["process-1"].stubborn = True
    scene.pass_time(10)
    assert not scene.get().stopping
    scene.pass_time(2)
    assert scene.get().stopping
    assert scene.get().deadline == scene.clock() + timedelta(seconds=3)
    scene.tick()
    assert (scene.processes.living["process-1"].asked, scene.processes.killed) == (True, [])
    scene.pass_time(4)
    scene.tick()
    assert (scene.get().state, scene.get().losses, scene.processes.living) == (FAILED, 0, {})
    assert (scene.error().code, scene.error().reason) == ("DEADLINE_EXCEEDED", "TIME_LIMIT_EXCEEDED")
    assert scene.kinds()[-1] == "job_failed"


def test_one_that_ended_its_job_and_stays_is_ended(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    scene.succeed()
    scene.pass_time(4)  # it may be going just now
    assert scene.processes.killed == []
    scene.pass_time(2)
    assert (scene.processes.killed, scene.processes.living) == (["process-1"], {})
    assert scene.get().state is SUCCEEDED


def test_so_is_one_that_another_service_started(scene: Scene) -> None:
    scene.add("job-1")
    scene.another().tick()
    scene.reconciler = scene.another()
    scene.tick()
    scene.succeed()
    scene.pass_time(6)
    assert scene.processes.killed == ["process-1"]


def test_a_service_that_ends_puts_its_jobs_back_without_a_loss(scene: Scene) -> None:
    scene.add("job-1", "job-2", "job-3")
    scene.tick()
    scene.jobs.cancel("job-2", "")
    leave(scene, 0)
    scene.reconciler.start()
    scene.reconciler.stop()
    assert scene.processes.living == {}
    assert (scene.get("job-2").state, scene.get("job-3").state) == (CANCELLED, QUEUED)
    assert scene.get("job-3").losses == scene.get("job-2").losses == 0


def test_it_is_no_loss_whichever_service_sees_them_gone_first(scene: Scene) -> None:
    scene.add("job-1")
    scene.tick()
    other = scene.another()
    cancel = scene.processes.cancel

    def cancel_and_be_seen(handle: str, *, force: bool) -> None:
        cancel(handle, force=force)
        other.tick()

    scene.processes.cancel = cancel_and_be_seen  # type: ignore[method-assign]
    leave(scene, 0)
    scene.reconciler.start()
    scene.reconciler.stop()
    assert (scene.get().attempt, scene.get().losses) == (2, 0)  # and the other has started it again
    assert "attempt_lost" not in scene.kinds()


@pytest.mark.parametrize("grace", [0.0, 0.05])
def test_it_ends_by_force_who_does_not_listen(scene: Scene, grace: float) -> None:
    scene.limits = replace(LIMITS, grace=grace)
    scene.reconciler = scene.another()
    scene.add("job-1")
    scene.tick()
    scene.processes.living["process-1"].stubborn = True
    scene.reconciler.start()
    scene.reconciler.stop()
    assert scene.processes.killed == ["process-1"]
    assert (scene.shown(), scene.get().losses) == ((QUEUED, 1, ""), 0)


def test_a_process_that_outlives_its_end_keeps_its_job(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queued, it would have a twin; cancelled would be a lie. The next service finds it by its handle."""
    monkeypatch.setattr(reconcile, "DYING_SECONDS", 0.05)
    scene.limits = replace(LIMITS, grace=0.05)
    scene.reconciler = scene.another()
    scene.add("job-1", "job-2")
    scene.tick()
    scene.processes.dies = lambda *_: None  # type: ignore[method-assign]
    scene.jobs.cancel("job-2", "")
    scene.reconciler.start()
    scene.reconciler.stop()
    assert set(scene.processes.killed) == {"process-1", "process-2"}
    assert scene.shown("job-1") == (RUNNING, 1, "process-1")
    assert scene.shown("job-2") == (CANCELLING, 1, "process-2")


def test_the_thread_goes_on_after_a_round_that_failed(scene: Scene) -> None:
    scene.outage.refusals = 1
    scene.add("job-1")
    scene.reconciler.wake()
    scene.reconciler.start()
    try:
        until(lambda: scene.outage.refused)
        scene.reconciler.wake()
        until(lambda: scene.shown() == (RUNNING, 1, "process-1"))
    finally:
        scene.reconciler.stop()
