"""Any order of requests, rounds, deaths and restarts leaves every job where it belongs.

The store, the attempt's writes and the reconciler are the real ones; processes are entries in a dictionary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.chassis.clock import now
from services.chassis.errors import FailedPrecondition
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.application.jobs import Jobs
from services.training.application.ports import Learned, Loop, Page, TrainedModel, UntrainableData
from services.training.application.reconcile import Reconciler
from services.training.application.run_attempt import Fenced, RunAttempt
from services.training.domain.job import MAX_LOSSES, Job, JobSpec, JobState, Usage
from tests.unit.training.samples import job, sqlite_store

SLOTS = 2


class Crash(BaseException):
    """The service is killed here."""


class Processes:
    """An executor whose processes live in `alive`: handle → (job id, attempt).

    meanwhile: happens once, in the middle of the round that next asks for anything.
    lost: those of which a killed service wrote down nothing but their attempt; the fence holds them off.
    """

    def __init__(self) -> None:
        self.alive_ones: dict[str, tuple[str, int]] = {}
        self.lost: set[str] = set()
        self.stubborn: set[str] = set()
        self.crash_next = False
        self.meanwhile: Callable[[], None] | None = None
        self._count = 0

    def _let_it_happen(self) -> None:
        happening, self.meanwhile = self.meanwhile, None
        if happening:
            happening()

    def submit(self, job_id: str, attempt: int) -> str:
        self._count += 1
        handle = f"process-{self._count}"
        self.alive_ones[handle] = (job_id, attempt)
        if self.crash_next:
            self.crash_next = False
            self.lost.add(handle)
            raise Crash
        self._let_it_happen()
        return handle

    def alive(self, handle: str) -> bool:
        self._let_it_happen()
        return handle in self.alive_ones

    def cancel(self, handle: str, *, force: bool) -> None:
        if force or handle not in self.stubborn:
            self.alive_ones.pop(handle, None)

    def known(self) -> list[tuple[str, int]]:
        return [whose for handle, whose in self.alive_ones.items() if handle not in self.lost]


class Scripted:
    """A learner that succeeds or fails at once."""

    def __init__(self, succeeds: bool) -> None:
        self._succeeds = succeeds

    def fit(self, spec: JobSpec, loop: Loop) -> Learned:
        if not self._succeeds:
            raise UntrainableData("so it is")
        return Learned(stopped=False, samples=1)

    def restore(self, model_id: str) -> TrainedModel:
        raise NotImplementedError


class Lives(RuleBasedStateMachine):
    """Jobs from creation to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        folder = Path(self.resources.enter_context(tempfile.TemporaryDirectory()))
        self.store = self.resources.enter_context(sqlite_store(folder))
        self.artifacts = DiskArtifacts(folder)
        self.processes = Processes()
        self.jobs = Jobs(self.store, self.artifacts, now, lambda: None)
        self.ended: dict[str, Job] = {}
        self.attempts: dict[str, int] = {}
        self.reconciler = self.new_reconciler()

    def new_reconciler(self) -> Reconciler:
        return Reconciler(self.store, self.artifacts, self.processes, now, SLOTS, grace=0.0)

    def all(self) -> list[Job]:
        with self.store.read() as tx:
            return [item for _, item in tx.jobs.page(Page(1000), None)]

    def training(self) -> list[str]:
        """The job of each known process, but for those that linger after they have ended their job."""
        return [job_id for job_id, _ in self.processes.known() if not self.jobs.get(job_id).state.ended]

    def pick(self, data: st.DataObject, handles: Iterable[str]) -> str:
        return data.draw(st.sampled_from(sorted(handles)))

    @rule()
    def create(self) -> None:
        with self.store.write() as tx:
            tx.jobs.add(job(f"job-{len(self.attempts) + len(self.all())}"))

    @precondition(lambda self: self.all())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.cancel_if_possible(self.pick(data, (one.job_id for one in self.all())))

    @rule()
    def round(self) -> None:
        self.reconciler.tick()

    @precondition(lambda self: self.all())
    @rule(data=st.data())
    def round_with_a_cancellation_in_its_middle(self, data: st.DataObject) -> None:
        job_id = self.pick(data, (one.job_id for one in self.all()))
        self.processes.meanwhile = lambda: self.cancel_if_possible(job_id)
        self.reconciler.tick()
        self.processes.meanwhile = None

    @precondition(lambda self: self.processes.alive_ones)
    @rule(data=st.data())
    def round_with_an_end_in_its_middle(self, data: st.DataObject) -> None:
        handle = self.pick(data, self.processes.alive_ones)
        self.processes.meanwhile = lambda: self.finish(handle, succeeds=True, exits=True)
        self.reconciler.tick()
        self.processes.meanwhile = None

    @rule()
    def service_is_killed_and_restarted(self) -> None:
        self.reconciler = self.new_reconciler()

    @rule()
    def service_is_killed_between_start_and_note(self) -> None:
        self.processes.crash_next = True
        with suppress(Crash):
            self.reconciler.tick()
        self.processes.crash_next = False
        self.reconciler = self.new_reconciler()

    @rule()
    def service_is_asked_to_end_and_restarted(self) -> None:
        self.reconciler.tick()  # so that what was lost before is counted before
        losses = {one.job_id: one.losses for one in self.all()}
        self.reconciler = Reconciler(self.store, self.artifacts, self.processes, now, SLOTS, grace=0.02)
        self.reconciler.start()
        self.reconciler.stop()
        assert self.training() == []
        assert losses == {one.job_id: one.losses for one in self.all()}
        assert not [one for one in self.all() if one.state in {JobState.RUNNING, JobState.CANCELLING}]
        self.reconciler = self.new_reconciler()

    @precondition(lambda self: self.processes.alive_ones)
    @rule(data=st.data())
    def process_dies(self, data: st.DataObject) -> None:
        del self.processes.alive_ones[self.pick(data, self.processes.alive_ones)]

    @precondition(lambda self: self.processes.alive_ones)
    @rule(data=st.data())
    def process_grows_stubborn(self, data: st.DataObject) -> None:
        self.processes.stubborn.add(self.pick(data, self.processes.alive_ones))

    @precondition(lambda self: self.processes.alive_ones)
    @rule(data=st.data(), succeeds=st.booleans(), exits=st.booleans())
    def process_finishes(self, data: st.DataObject, succeeds: bool, exits: bool) -> None:
        """exits: at once; else it lingers, which an ended job does not mind."""
        self.finish(self.pick(data, self.processes.alive_ones), succeeds, exits)

    def cancel_if_possible(self, job_id: str) -> None:
        with suppress(FailedPrecondition):
            self.jobs.cancel(job_id, "")

    def finish(self, handle: str, succeeds: bool, exits: bool) -> None:
        job_id, attempt = self.processes.alive_ones[handle]
        before = self.jobs.get(job_id)
        run = RunAttempt(self.store, self.artifacts, Scripted(succeeds), now, Usage)
        try:
            run(job_id, attempt, Event())
        except Fenced:
            assert before.attempt != attempt or before.state.ended or before.state is JobState.QUEUED
            assert self.jobs.get(job_id) == before
        else:
            assert before.attempt == attempt
            assert self.jobs.get(job_id).state is (JobState.SUCCEEDED if succeeds else JobState.FAILED)
        if exits:
            del self.processes.alive_ones[handle]

    @invariant()
    def no_attempt_has_a_twin(self) -> None:
        assert len(set(self.training())) == len(self.training()) <= SLOTS

    @invariant()
    def cancelled_means_that_no_process_lives(self) -> None:
        living = {job_id for job_id, _ in self.processes.known()}
        assert not [one for one in self.all() if one.state is JobState.CANCELLED and one.job_id in living]

    @invariant()
    def what_has_ended_stays_as_it_is_and_attempts_only_grow(self) -> None:
        for one in self.all():
            assert self.ended.get(one.job_id, one) == one
            assert one.attempt >= self.attempts.get(one.job_id, 0)
            assert one.losses <= MAX_LOSSES
            self.attempts[one.job_id] = one.attempt
            if one.state.ended:
                self.ended[one.job_id] = one

    @invariant()
    def every_model_has_its_job(self) -> None:
        with self.store.read() as tx:
            models = {model.job_id: model.model_id for _, model in tx.models.page(Page(1000))}
        succeeded = {one.job_id: one.model_id for one in self.all() if one.state is JobState.SUCCEEDED}
        assert models == succeeded
        assert sorted(self.artifacts.models(0)) == sorted(models.values())

    def teardown(self) -> None:
        """When every process dies as soon as it is started, every job comes to an end."""
        for _ in range(MAX_LOSSES * len(self.all()) + 2):
            self.processes.alive_ones.clear()
            self.reconciler.tick()
        try:
            assert all(one.state.ended for one in self.all())
        finally:
            self.resources.close()


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
