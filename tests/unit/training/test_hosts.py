"""Services on two machines with one store: each attends to its own attempts, until a machine is gone."""

from __future__ import annotations

import pytest

from services.training.application.ports import Slot
from services.training.application.reconcile import Reconciler
from services.training.domain.job import Device, JobState
from tests.unit.training.stand_ins import HandClock, Outage, Processes
from tests.unit.training.test_reconcile import LIMITS, RUNNING, DiskArtifacts, Scene

QUEUED, CANCELLED = JobState.QUEUED, JobState.CANCELLED


class Machines(Scene):
    """Machine A, whose reconciler `tick` drives, and B, with processes of its own."""

    def __init__(self, outage: Outage, artifacts: DiskArtifacts, clock: HandClock) -> None:
        super().__init__(outage, artifacts, Processes(), clock)
        self.others = Processes()
        self.others._count = 100
        self.slots = {Device.CPU: 1}
        self.reconciler, self.there = self.another(host="a"), self.another(self.others, "b")


@pytest.fixture
def machines(outage: Outage, artifacts: DiskArtifacts, clock: HandClock) -> Machines:
    return Machines(outage, artifacts, clock)


def rounds(*reconcilers: Reconciler) -> None:
    for _ in range(3):
        for one in reconcilers:
            one.tick()


def test_each_machine_fills_its_own_slots_and_leaves_the_others_attempts_alone(machines: Machines) -> None:
    machines.add("job-1", "job-2", "job-3")
    rounds(machines.reconciler, machines.there)
    assert machines.shown("job-1") == (RUNNING, 1, "process-1")
    assert machines.shown("job-2") == (RUNNING, 1, "process-101")
    assert (machines.get("job-1").host, machines.get("job-2").host) == ("a", "b")
    assert machines.shown("job-3") == (QUEUED, 0, "")
    machines.others.dies("process-101", 1)
    rounds(machines.reconciler)
    assert machines.shown("job-2") == (RUNNING, 1, "process-101")  # none of A's business
    rounds(machines.there)
    assert machines.get("job-2").attempt == 2


def test_a_job_of_several_processes_runs_where_it_has_room_and_takes_none_elsewhere(
    machines: Machines,
) -> None:
    machines.slots = {Device.CPU: 2}
    there = machines.another(machines.others, "b")
    machines.add("job-1", workers=2)
    machines.add("job-2", "job-3")
    rounds(machines.reconciler)
    assert machines.shown("job-1") == (QUEUED, 0, "")  # A has one slot
    assert machines.shown("job-2") == (RUNNING, 1, "process-1")
    rounds(there, machines.reconciler)
    assert machines.shown("job-1") == (RUNNING, 1, "process-101")
    assert machines.others.living["process-101"].slot == Slot(Device.CPU, cores=2)
    assert machines.shown("job-3") == (QUEUED, 0, "")
    machines.jobs.cancel("job-2", "")
    rounds(machines.reconciler)
    assert machines.get("job-3").host == "a"


def test_one_without_a_handle_is_its_own_machines_to_look_for(machines: Machines) -> None:
    machines.add("job-1", "job-2")
    machines.reconciler.tick()

    def crash(_: str) -> None:
        raise RuntimeError

    machines.others.after = crash
    with pytest.raises(RuntimeError):
        machines.there.tick()
    assert machines.shown("job-2") == (RUNNING, 1, "")
    machines.pass_time(LIMITS.start + 2, ["job-1"])
    assert machines.shown("job-2") == (RUNNING, 1, "")
    machines.there.tick()
    assert machines.shown("job-2") == (RUNNING, 1, "process-101")


def test_a_cancelled_job_is_ended_by_its_own_machine(machines: Machines) -> None:
    machines.add("job-1", "job-2")
    rounds(machines.reconciler, machines.there)
    machines.jobs.cancel("job-2", "")
    rounds(machines.reconciler)
    assert machines.get("job-2").state is JobState.CANCELLING
    assert not machines.others.living["process-101"].asked
    rounds(machines.there)
    assert machines.get("job-2").state is CANCELLED


def test_a_cancelled_job_of_a_lost_machine_is_cancelled_in_the_end(machines: Machines) -> None:
    machines.add("job-1")
    machines.there.tick()
    machines.jobs.cancel("job-1", "")
    machines.pass_time(LIMITS.lease)
    assert machines.get().state is JobState.CANCELLING
    machines.pass_time(2 * (LIMITS.lease + LIMITS.start))
    assert machines.get().state is CANCELLED


def test_the_attempt_of_a_lost_machine_is_a_loss_in_time(machines: Machines) -> None:
    machines.add("job-1")
    machines.there.tick()
    assert machines.get().host == "b"
    lease_of_the_start = LIMITS.lease + LIMITS.start
    machines.pass_time(lease_of_the_start + LIMITS.lease)
    assert machines.shown() == (RUNNING, 1, "process-101")
    machines.pass_time(LIMITS.start + 4)
    assert machines.shown() == (RUNNING, 2, "process-1")
    assert (machines.get().host, machines.get().losses) == ("a", 1)
    machines.there.tick()  # B comes back, finds that the job is another's, and ends what it has
    machines.clock.advance(LIMITS.grace + 1)
    machines.there.tick()
    assert machines.others.killed == ["process-101"]
    assert machines.shown() == (RUNNING, 2, "process-1")


def test_a_service_that_ends_takes_its_own_attempts_along_only(machines: Machines) -> None:
    machines.add("job-1", "job-2")
    rounds(machines.reconciler, machines.there)
    machines.there.start()
    machines.there.stop()
    assert machines.shown("job-1") == (RUNNING, 1, "process-1")
    assert machines.get("job-2").state is QUEUED
