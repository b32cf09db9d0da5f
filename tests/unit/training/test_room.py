"""What the reconciler does when memory is short, and that no job is ended again and again for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.application import room
from services.training.application.ports import Exit
from services.training.application.room import MOST_EVICTIONS
from services.training.domain.job import DEFAULT_MAX_ATTEMPTS, Job, JobState
from tests.unit.training.samples import checkpoint
from tests.unit.training.stand_ins import HandClock, Outage, Processes
from tests.unit.training.test_reconcile import CPU, LIMITS, Scene

QUEUED, RUNNING, FAILED = JobState.QUEUED, JobState.RUNNING, JobState.FAILED
WHILE = 12.0  # of five minutes
NAMES = ("job-1", "job-2", "job-3")


class Machine(Scene):
    """With three slots. Attempts renew their leases as time passes."""

    def alive(self) -> list[str]:
        with self.outage.store.read() as tx:
            return sorted(job.job_id for job in tx.jobs.in_states([RUNNING]))

    def after(self, seconds: float) -> list[str]:
        """The jobs that run then, where all that run now go on."""
        self.pass_time(seconds, self.alive())
        return self.alive()

    def becomes_critical(self) -> list[str]:
        """The jobs that still run when one has been ended and there is room again."""
        self.memory.is_critical = True
        for _ in range(5):
            self.clock.advance(0.2)
            self.tick()
        self.memory.is_critical = False
        self.tick()
        return self.alive()


@pytest.fixture
def machine(
    outage: Outage,
    artifacts: DiskArtifacts,
    processes: Processes,
    clock: HandClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    monkeypatch.setattr(room, "RAISE_AFTER", timedelta(seconds=WHILE))
    made = Machine(outage, artifacts, processes, clock)
    made.slots[CPU] = 3
    return made


def begun(machine: Machine) -> None:
    """Three jobs run, the last of them the youngest."""
    for name in NAMES:
        machine.add(name)
        machine.tick()
        machine.clock.advance(1)


def ended_again(machine: Machine, name: str = "job-3") -> Job:
    """The job as it is when its attempt, the youngest, was ended for want of memory."""
    machine.pass_time(WHILE + 2, machine.alive())
    assert machine.get(name).state is RUNNING
    machine.becomes_critical()
    return machine.get(name)


def test_none_begins_while_memory_is_short(machine: Machine) -> None:
    machine.memory.is_short = True
    machine.add("job-1")
    machine.tick(3)
    assert machine.get().state is QUEUED
    assert machine.reconciler.held() == "Memory is short here; it starts when there is room."
    machine.memory.is_short = False
    machine.tick()
    assert machine.get().state is RUNNING
    assert machine.reconciler.held() == ""


def test_the_youngest_goes_back_to_the_queue_and_it_is_no_loss(machine: Machine) -> None:
    begun(machine)
    assert machine.becomes_critical() == ["job-1", "job-2"]
    job = machine.get("job-3")
    assert (job.state, job.losses, job.evictions, job.error) == (QUEUED, 0, 1, None)
    assert machine.kinds("job-3") == ["attempt_started", "attempt_evicted"]
    assert machine.processes.killed == []  # it was asked


def test_one_goes_at_a_time_and_never_the_only_one(machine: Machine) -> None:
    begun(machine)
    machine.memory.is_critical = True
    seen = []
    for _ in range(30):
        machine.clock.advance(0.2)
        machine.tick()
        if (alive := machine.alive()) not in seen:
            seen.append(alive)
    assert seen == [["job-1", "job-2", "job-3"], ["job-1", "job-2"], ["job-1"]]


def test_a_peak_of_a_moment_ends_nobody(machine: Machine) -> None:
    begun(machine)
    for _ in range(10):
        machine.clock.advance(0.3)
        machine.memory.is_critical = not machine.memory.is_critical
        machine.tick()
    assert len(machine.alive()) == 3


def test_one_that_does_not_listen_is_ended_by_force(machine: Machine) -> None:
    begun(machine)
    handle = machine.handle("job-3")
    machine.processes.living[handle].stubborn = True
    machine.becomes_critical()
    assert machine.get("job-3").state is RUNNING  # another is not taken in its place
    machine.pass_time(LIMITS.grace + 4, ["job-1", "job-2"])
    assert machine.alive() == ["job-1", "job-2"]
    assert machine.processes.killed == [handle]
    assert machine.get("job-3").losses == 0


def test_one_that_does_not_listen_has_no_time_while_memory_is_critical(machine: Machine) -> None:
    begun(machine)
    machine.processes.living[machine.handle("job-3")].stubborn = True
    machine.memory.is_critical = True
    for _ in range(8):
        machine.clock.advance(0.2)
        machine.tick()
    assert "job-3" not in machine.alive()


def test_it_is_asked_once_also_where_it_counts_as_a_loss(machine: Machine) -> None:
    begun(machine)
    machine.change(lambda job: replace(job, evictions=MOST_EVICTIONS), "job-3")
    machine.processes.living[machine.handle("job-3")].stubborn = True
    machine.memory.is_critical = True
    for _ in range(8):
        machine.clock.advance(0.2)
        machine.tick()
    job = machine.get("job-3")
    assert (job.state, job.losses, job.evictions) == (QUEUED, 1, MOST_EVICTIONS + 1)
    assert machine.kinds("job-3") == ["attempt_started", "attempt_evicted", "attempt_lost"]


def test_no_more_run_than_stayed_until_a_while_has_passed(machine: Machine) -> None:
    begun(machine)
    machine.becomes_critical()
    assert machine.after(4) == ["job-1", "job-2"]
    assert machine.reconciler.held() == "There was no memory here for more than 2 at once."
    machine.succeed("job-1")
    assert machine.after(4) == ["job-2", "job-3"]  # it had kept its place
    machine.add("job-1b")
    machine.tick(2)
    assert machine.get("job-1b").state is QUEUED
    machine.pass_time(WHILE, ["job-2", "job-3"])
    assert machine.get("job-1b").state is RUNNING


def test_what_began_after_it_goes_before_it(machine: Machine) -> None:
    begun(machine)
    machine.becomes_critical()
    machine.succeed("job-1")
    machine.after(4)
    machine.add("job-4")
    machine.pass_time(WHILE + 2, ["job-2", "job-3"])
    assert machine.get("job-4").state is RUNNING
    machine.becomes_critical()
    assert machine.get("job-4").state is QUEUED
    assert machine.get("job-3").state is RUNNING


def test_a_job_that_never_comes_further_fails_in_the_end(machine: Machine) -> None:
    begun(machine)
    machine.becomes_critical()
    for count in range(2, MOST_EVICTIONS + 1):
        job = ended_again(machine)
        assert (job.state, job.evictions, job.losses) == (QUEUED, count, 0)
    for count in range(1, DEFAULT_MAX_ATTEMPTS):
        job = ended_again(machine)
        assert (job.state, job.losses) == (QUEUED, count)
    job = ended_again(machine)
    assert (job.state, job.losses) == (FAILED, DEFAULT_MAX_ATTEMPTS)
    assert machine.error("job-3").reason == "OUT_OF_MEMORY"
    assert machine.alive() == ["job-1", "job-2"]


def test_a_job_that_comes_further_each_time_goes_on(machine: Machine) -> None:
    begun(machine)
    machine.becomes_critical()
    for step in range(1, 3 * MOST_EVICTIONS):
        machine.pass_time(WHILE + 2, machine.alive())
        attempt = machine.get("job-3").attempt
        made = checkpoint(step, attempt)
        machine.change(lambda job, made=made: job.checkpointed(made), "job-3")  # type: ignore[misc]
        machine.becomes_critical()
        job = machine.get("job-3")
        assert (job.state, job.evictions, job.losses) == (QUEUED, 1, 0)


def test_when_the_kernel_was_faster_no_more_run_than_it_left(machine: Machine) -> None:
    begun(machine)
    handle = machine.handle("job-3")
    machine.processes.dies(handle, -9)
    machine.processes.exits[handle] = Exit(-9, out_of_memory=True)
    machine.tick()
    assert machine.after(4) == ["job-1", "job-2"]
    assert machine.get("job-3").losses == 1
    assert machine.after(WHILE) == list(NAMES)


def test_one_that_did_not_fit_alone_holds_nobody_back(machine: Machine) -> None:
    machine.add("job-1")
    machine.tick()
    handle = machine.handle()
    machine.processes.dies(handle, -9)
    machine.processes.exits[handle] = Exit(-9, out_of_memory=True)
    machine.add("job-2")
    machine.tick()
    assert machine.alive() == ["job-1", "job-2"]


def test_another_service_of_the_machine_holds_back_as_well(machine: Machine) -> None:
    """It has seen the attempt go, and would begin it at once."""
    begun(machine)
    beside = machine.another()
    machine.processes.living[machine.handle("job-3")].stubborn = True
    machine.becomes_critical()
    beside.tick()
    machine.processes.dies(machine.handle("job-3"), 0)
    for _ in range(3):
        beside.tick()
    assert machine.alive() == ["job-1", "job-2"]


def test_a_service_beside_it_that_drains_holds_nobody_back(machine: Machine) -> None:
    begun(machine)
    machine.change(lambda job: replace(job, dismissed=True), "job-3")
    machine.tick()
    machine.processes.dies(machine.handle("job-3"), 0)
    machine.tick(2)
    assert machine.shown("job-3")[:2] == (RUNNING, 2)
