"""Any order of requests, rounds, deaths, outages and restarts leaves every job where it belongs.

The store, the disk, the reconcilers and what an attempt does to them are the real ones; processes are entries
in a dictionary, and time passes when it is told to.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.errors import FailedPrecondition, ResourceExhausted
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.outbox_disk import disk_outboxes
from services.training.application import courier, reconcile, run_attempt
from services.training.application.attempt_loop import AttemptLoop, Signs
from services.training.application.courier import Courier
from services.training.application.jobs import Jobs
from services.training.application.limits import Limits
from services.training.application.losses import EXIT_ENVIRONMENT
from services.training.application.ports import Fenced, Learned, Page, Slot
from services.training.application.reconcile import Reconciler
from services.training.application.run_attempt import Pace, RunAttempt, insist, why
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Device, Job, JobState
from services.training.domain.pruning import Climb
from services.training.domain.usage import Usage
from tests.unit.training.samples import job, spec, sqlite_store
from tests.unit.training.stand_ins import Fullness, HandClock, Outage, Processes, Pupil

LIMITS = Limits(start=10, lease=15, progress=40, grace=3)
SLOTS = {Device.CPU: 2, Device.GPU: 2}
LEARNED = Learned(stopped=False, samples=1, arrays={"w": np.ones(1)})
STOPPED = Learned(stopped=True, samples=1)
GRACE = timedelta(seconds=LIMITS.grace)
MOSTLY = st.sampled_from([True, True, True, False])
FATES = ["finishes", "fails", "dies", "dies", "is stopped", "hangs", "is lost sight of"]
# What happens when nobody looks, and how often.
ORDINARY = {
    "round": 6,
    "train": 4,
    "fate": 3,
    "time": 2,
    "out of sight": 2,
    "cancel": 1,
    "resume": 1,
    "crash": 1,
    "answer is lost": 1,
    "memory": 1,
}
WHICH = st.integers(0, 1)  # of the two reconcilers
MOST_JOBS = 6
# A disk would take most of the time, and no part in this.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
ROUND = 2.4  # seconds; each reconciler has every other one, and would take more for a suspended machine


class Crash(BaseException):
    """The service is killed here."""


def crash(_: str) -> None:
    raise Crash


class Patient(Processes):
    """Processes that are asked to stop do so in their own time. No attempt is ever started twice."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[str, int]] = []

    def submit(self, job_id: str, attempt: int, slot: Slot) -> str:
        handle = super().submit(job_id, attempt, slot)
        self.started.append((job_id, attempt))
        return handle

    def cancel(self, handle: str, *, force: bool) -> None:
        if force:
            super().cancel(handle, force=True)
        elif handle in self.living:
            self.living[handle].asked = True


class Attempt:
    """What runs in one process, a stretch at a time.

    said: the seqs of the points that it recorded and that have to come into the history.
    frozen: does nothing for now. ended: its job's end is written, and it is only there still.
    """

    def __init__(self, lives: Lives, handle: str) -> None:
        self.lives = lives
        self.handle = handle
        process = lives.processes.living[handle]
        self.job_id, self.attempt = process.job_id, process.attempt
        self.process = process
        self.frozen = self.ended = False
        self.said: set[int] = set()
        self.run = RunAttempt(
            store=lives.outage,
            artifacts=lives.artifacts,
            outboxes=lives.outboxes,
            learner=Pupil(lambda *_: LEARNED),
            clock=lives.clock,
            used=lambda: Usage(1.0),
            pace=Pace(checkpoint=0.0),
        )
        self.job = self.run._claim(self.job_id, self.attempt)
        self.outbox = lives.outboxes(self.job_id, self.attempt)
        state = self.run._last_state(self.job, self.outbox)
        self.step = int(state["step"]) if state else 0
        self.signs = Signs(Event(), self.job.checkpoints)
        self.loop = AttemptLoop(
            self.job,
            self.signs,
            self.outbox,
            artifacts=lives.artifacts,
            clock=lives.clock,
            every=0.0,
            climb=Climb(),
        )
        self.courier = Courier(
            self.job,
            self.signs,
            self.outbox,
            store=lives.outage,
            clock=lives.clock,
            usage=lambda: self.run._usage(self.job),
            lease=self.run.pace.lease,
        )

    @property
    def alive(self) -> bool:
        return self.handle in self.lives.processes.living

    def holds(self) -> bool:
        """Whether its job is its own, and not at its end."""
        stored = self.lives.get(self.job_id)
        return stored.attempt == self.attempt and stored.state.live

    def train(self, checkpoint: bool) -> None:
        """One step, said to the outbox only."""
        mine = self.holds()
        self.step += 1
        self.loop.report(self.step, min(1.0, self.step / 20), {"train_loss": 1 / self.step})
        if checkpoint:
            self.loop.checkpoint(self.step, lambda: {"step": np.array(self.step)})
        points = [seq for seq, one in self.outbox.read(0, 10_000) if isinstance(one, MetricPoint)]
        if mine:
            self.said.update(points)

    def send(self) -> None:
        """What its courier does now and then."""
        mine, before = self.holds(), self.lives.get(self.job_id)
        self.courier._renewed = float("-inf")
        self.courier._deliver_or_fail()
        if not mine:
            assert self.lives.get(self.job_id) == before
            assert self.signs.fenced or self.lives.outage.down

    def leave(self) -> None:
        """As it was asked to: with a checkpoint, so that another can go on."""
        self.signs.stop.set()
        self.train(checkpoint=True)
        self._end(lambda: self.run._leave(self.job, STOPPED), {JobState.RUNNING, JobState.CANCELLING})
        self.lives.processes.living.pop(self.handle, None)

    def finish(self, succeeds: bool) -> None:
        if not succeeds:
            error = why(MemoryError())
            self._end(lambda: self.run._fail(self.job, error), {JobState.FAILED})
            return
        model_id = f"model-{self.job_id}-{self.attempt}"
        self.lives.artifacts.save_model(model_id, LEARNED.arrays, LEARNED.metadata)
        self._end(lambda: self.run._succeed(self.job, model_id, LEARNED), {JobState.SUCCEEDED})

    def _end(self, end: Callable[[], None], states: set[JobState]) -> None:
        mine, before = self.holds(), self.lives.get(self.job_id)
        self.courier.deliver_all()
        try:
            insist(end)
        except Fenced:
            assert not mine
            assert self.lives.get(self.job_id) == before
        else:
            assert mine
            assert self.lives.get(self.job_id).state in states
        self.ended = True


class Lives(RuleBasedStateMachine):
    """Jobs from creation to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        folder = Path(self.resources.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY)))
        for module, name in (
            (courier, "PACE_SECONDS"),
            (run_attempt, "RETRY_SECONDS"),
            (reconcile, "DYING_SECONDS"),
        ):
            self.resources.enter_context(patch.object(module, name, 0.001))
        self.outage = Outage(self.resources.enter_context(sqlite_store(folder)))
        self.artifacts = DiskArtifacts(folder)
        self.outboxes = disk_outboxes(self.artifacts)
        self.clock = HandClock()
        self.memory = Fullness()
        self.processes = Patient()
        self.jobs = Jobs(
            self.outage.store, self.artifacts, self.processes, self.clock, lambda: None, SLOTS, GRACE
        )
        self.turn = 0
        self.ended: dict[str, Job] = {}
        self.attempts_of: dict[str, int] = {}
        self.attempts: dict[str, Attempt] = {}
        self.unseen: dict[str, Attempt] = {}  # that the executor takes for dead
        self.reconcilers = [self.new_reconciler(), self.new_reconciler()]

    # Looking

    def new_reconciler(self, limits: Limits = LIMITS) -> Reconciler:
        return Reconciler(
            store=self.outage,
            artifacts=self.artifacts,
            executor=self.processes,
            outboxes=self.outboxes,
            clock=self.clock,
            slots=SLOTS,
            limits=limits,
            memory=self.memory,
        )

    def all(self) -> list[Job]:
        with self.outage.store.read() as tx:
            return [item for _, item in tx.jobs.page(Page(1000), None)]

    def get(self, job_id: str) -> Job:
        return self.jobs.get(job_id)

    def pick(self, data: st.DataObject, names: Iterable[str]) -> str:
        return data.draw(st.sampled_from(sorted(names)))

    def at_work(self) -> dict[str, Attempt]:
        """Those that can do something now."""
        return {name: one for name, one in self.attempts.items() if one.alive and not one.frozen | one.ended}

    def tick(self, which: int) -> None:
        with suppress(ResourceExhausted):
            self.reconcilers[which].tick()

    def pass_time(self, seconds: float, renewing: bool) -> None:
        while seconds > 0:
            self.clock.advance(min(ROUND, seconds))
            seconds -= ROUND
            if renewing:
                for attempt in list(self.at_work().values()):
                    attempt.loop.should_stop()
                    attempt.send()
            self.turn = 1 - self.turn
            self.tick(self.turn)

    # What callers do

    @initialize(
        devices=st.lists(st.sampled_from(Device), min_size=2, max_size=5),
        seed=st.integers(0, 2**32 - 1),
        length=st.integers(0, 40),
    )
    def begin_with_some(self, devices: list[Device], seed: int, length: int) -> None:
        for device in devices:
            self.create(device, most=2, priority=0, tenant="a", limit=0)
        self.round(0, begin=True)
        self.life_goes_on(seed, length)

    @precondition(lambda self: len(self.all()) < MOST_JOBS)
    @rule(
        device=st.sampled_from(Device),
        most=st.integers(1, 3),
        priority=st.integers(0, 1),
        tenant=st.sampled_from("ab"),
        limit=st.sampled_from([0, 0, 30]),
    )
    def create(self, device: Device, most: int, priority: int, tenant: str, limit: float) -> None:
        made = job(f"job-{len(self.all())}", priority=priority, tenant=tenant)
        with self.outage.store.write() as tx:
            tx.jobs.add(replace(made, spec=spec(device=device, max_attempts=most, time_limit=limit)))

    @precondition(lambda self: self.all())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.cancel_if_possible(self.pick(data, (one.job_id for one in self.all())))

    def cancel_if_possible(self, job_id: str) -> None:
        with suppress(FailedPrecondition):
            self.jobs.cancel(job_id, "")

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self.resume_if_possible(self.pick(data, self.ended))

    def resume_if_possible(self, job_id: str) -> None:
        with suppress(FailedPrecondition):
            self.jobs.resume(job_id, 0, "")
            del self.ended[job_id]

    # What the service does, and what becomes of it

    @rule(which=WHICH, begin=MOSTLY)
    def round(self, which: int, begin: bool) -> None:
        """begin: and what it started gets to its work at once."""
        self.tick(which)
        for handle in self.unbegun() if begin else []:
            self.begin(handle)

    @rule(begin=MOSTLY)
    def another_round(self, begin: bool) -> None:
        self.round(0, begin)

    @precondition(lambda self: self.processes.living)
    @rule(data=st.data(), which=WHICH, what=st.sampled_from(["cancel", "finish", "other", "send"]))
    def round_with_something_in_its_middle(self, data: st.DataObject, which: int, what: str) -> None:
        job_id = self.pick(data, (one.job_id for one in self.all()))
        mine = next((one for one in self.at_work().values() if one.job_id == job_id), None)

        def meanwhile() -> None:
            self.processes.at_look = lambda: None
            if what == "cancel":
                self.cancel_if_possible(job_id)
            elif what == "other":
                self.tick(1 - which)
            elif mine and what == "send":
                mine.send()
            elif mine:
                mine.finish(succeeds=True)
                self.processes.living.pop(mine.handle)

        self.processes.at_look = meanwhile
        self.tick(which)
        self.processes.at_look = lambda: None

    @rule(which=WHICH)
    def service_is_killed_and_restarted(self, which: int) -> None:
        self.reconcilers[which] = self.new_reconciler()

    @rule(which=WHICH, when=st.sampled_from(["before", "after"]))
    def service_is_killed_around_a_start(self, which: int, when: str) -> None:
        """Between the job's row and its process, or between the process and its handle's row."""
        setattr(self.processes, when, crash)
        with suppress(Crash):
            self.tick(which)
            which = -1  # nothing was to be started
        setattr(self.processes, when, lambda _: None)
        if which >= 0:
            self.reconcilers[which] = self.new_reconciler()

    @rule()
    def service_is_asked_to_end_and_restarted(self) -> None:
        for which in (0, 1):
            self.tick(which)  # so that what was lost before is counted before
        losses = {one.job_id: one.losses for one in self.all()}
        one = self.new_reconciler(replace(LIMITS, grace=0.0))
        one.start()
        one.stop()
        assert losses == {one.job_id: one.losses for one in self.all()}
        assert not [one for one in self.all() if one.state.live and one.handle]
        self.reconcilers = [self.new_reconciler(), self.new_reconciler()]

    # What processes do, and what becomes of them

    def begin(self, handle: str) -> None:
        """The process has started, and claims its attempt."""
        job_id = self.processes.living[handle].job_id
        before = self.get(job_id)
        try:
            self.attempts[handle] = Attempt(self, handle)
        except Fenced:
            assert before.attempt != self.processes.living[handle].attempt or not before.state.live
            assert self.get(job_id) == before
            self.processes.dies(handle, 0)
        except ResourceExhausted:
            self.processes.dies(handle, 1, "the store is away")

    def unbegun(self) -> list[str]:
        return [handle for handle in self.processes.living if handle not in self.attempts]

    @precondition(lambda self: self.at_work())
    @rule(steps=st.integers(1, 3), checkpoint=st.booleans(), sent=MOSTLY)
    def processes_train(self, steps: int, checkpoint: bool, sent: bool) -> None:
        for attempt in self.at_work().values():
            for step in range(steps):
                attempt.train(checkpoint and not step)
            if sent:
                attempt.send()
            if attempt.signs.stop.is_set() or attempt.process.asked:
                attempt.leave()

    @precondition(lambda self: self.at_work())
    @rule(
        data=st.data(),
        fate=st.sampled_from(FATES),
        steps=st.integers(0, 2),
        exits=st.booleans(),
        lost=st.integers(0, 1),
    )
    def process_meets_its_fate(
        self, data: st.DataObject, fate: str, steps: int, exits: bool, lost: int
    ) -> None:
        self.befall(self.at_work()[self.pick(data, self.at_work())], fate, steps, exits, lost)

    def befall(self, attempt: Attempt, fate: str, steps: int, exits: bool, lost: int) -> None:
        """steps: that it makes before, and has told nobody of.

        exits: at once when its job has ended; else it lingers. lost: answers of the store to that end.
        """
        for step in range(steps):
            attempt.train(checkpoint=not step)
        match fate:
            case "finishes" | "fails":
                self.outage.answers_lost = lost
                attempt.finish(succeeds=fate == "finishes")
                self.outage.answers_lost = 0
                if exits:
                    self.processes.living.pop(attempt.handle)
            case "is stopped" | "hangs":  # the system can tell the first
                attempt.frozen, attempt.process.frozen = True, fate == "is stopped"
            case "is lost sight of":
                # The executor takes it for dead; it goes on, and only the fence holds it off.
                self.unseen[attempt.handle] = attempt
                self.processes.dies(attempt.handle, -9)
            case _:
                self.processes.dies(attempt.handle, EXIT_ENVIRONMENT if lost else 1)

    @precondition(lambda self: self.unbegun())
    @rule(data=st.data())
    def process_dies_at_its_start(self, data: st.DataObject) -> None:
        self.processes.dies(self.pick(data, self.unbegun()))

    @precondition(lambda self: any(one.frozen for one in self.attempts.values()))
    @rule()
    def processes_thaw(self) -> None:
        for attempt in self.attempts.values():
            if attempt.frozen and attempt.alive:
                attempt.frozen = attempt.process.frozen = False
                attempt.send()

    @precondition(lambda self: self.unseen)
    @rule(data=st.data(), ends=st.booleans())
    def one_out_of_sight_goes_on(self, data: st.DataObject, ends: bool) -> None:
        self.goes_on_out_of_sight(self.pick(data, self.unseen), ends)

    def goes_on_out_of_sight(self, handle: str, ends: bool) -> None:
        attempt = self.unseen[handle]
        if attempt.holds():
            return  # nobody has noticed yet: it is as good as any
        attempt.train(checkpoint=False)
        attempt.send()
        if ends:
            attempt.finish(succeeds=True)
            del self.unseen[attempt.handle]

    # What happens to all of them

    @rule(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 20))
    def life_goes_on(self, seed: int, length: int) -> None:
        """Many things, most of them ordinary; rules of their own would take Hypothesis much longer."""
        chance = Random(seed)
        for _ in range(length):
            [what] = chance.choices(list(ORDINARY), list(ORDINARY.values()))
            at_work = list(self.at_work().values())
            match what:
                case "round":
                    self.round(chance.randrange(2), begin=chance.random() < 0.9)
                case "train":
                    self.processes_train(chance.randint(1, 3), chance.random() < 0.5, chance.random() < 0.7)
                case "time":
                    self.pass_time(chance.choice([2.4, 12.0, 24.0]), renewing=chance.random() < 0.9)
                case "cancel":
                    self.cancel_if_possible(chance.choice(self.all()).job_id)
                case "resume" if self.ended:
                    self.resume_if_possible(chance.choice(sorted(self.ended)))
                case "crash":
                    self.service_is_killed_around_a_start(
                        chance.randrange(2), chance.choice(["before", "after"])
                    )
                case "answer is lost":
                    self.outage.answers_lost = 1
                    for attempt in at_work[:1]:
                        attempt.train(checkpoint=True)
                        attempt.send()
                    self.round_whose_answer_is_lost(chance.randrange(2))
                case "memory":
                    self.memory_fills_or_empties(chance.randrange(3))
                case "out of sight" if self.unseen:
                    self.goes_on_out_of_sight(chance.choice(sorted(self.unseen)), chance.random() < 0.3)
                case "fate" if at_work:
                    lost = int(chance.random() < 0.2)
                    one, fate = chance.choice(at_work), chance.choice(FATES)
                    self.befall(one, fate, chance.randrange(3), chance.random() < 0.5, lost)
            self.all_is_well()

    @rule(seconds=st.sampled_from([1.0, 4.0, 12.0, 24.0]), renewing=st.booleans())
    def time_passes(self, seconds: float, renewing: bool) -> None:
        self.pass_time(seconds, renewing)

    @rule(fullness=st.integers(0, 2))
    def memory_fills_or_empties(self, fullness: int) -> None:
        """Of one who is alone nobody is asked to make room."""
        self.memory.is_short, self.memory.is_critical = fullness > 0, fullness > 1
        before = {one.job_id: one.evictions for one in self.all()}
        live = [one for one in self.all() if one.state.live]
        for _ in range(3):
            self.clock.advance(0.3)
            for which in (0, 1):
                self.tick(which)
        if len(live) < 2:
            assert {one.job_id: one.evictions for one in self.all()} == before

    @rule()
    def machine_sleeps(self) -> None:
        well = {one.job_id: one.handle for one in self.all() if one.state is JobState.RUNNING}
        well = {job_id: handle for job_id, handle in well.items() if handle in self.at_work()}
        asked = {one.job_id for one in self.all() if one.stopping or one.dismissed}
        well = {job_id: handle for job_id, handle in well.items() if job_id not in asked}
        overdue = set(self.processes.killed)
        self.clock.advance(3600)
        for which in (0, 1):
            self.tick(which)
        assert not set(well.values()) & (set(self.processes.killed) - overdue)

    @rule(
        rounds=st.integers(1, 4),
        steps=st.integers(0, 2),
        seconds=st.sampled_from([0.0, 4.0, 20.0]),
        meanwhile=st.sampled_from(["", "", "death", "start"]),
        data=st.data(),
    )
    def store_goes_and_comes_back(
        self, rounds: int, steps: int, seconds: float, meanwhile: str, data: st.DataObject
    ) -> None:
        """Training goes on meanwhile."""
        self.outage.down = True
        for attempt in self.at_work().values():
            for _ in range(steps):
                attempt.train(checkpoint=True)
            attempt.send()
        if meanwhile == "death" and self.processes.living:
            self.processes.dies(self.pick(data, self.processes.living))
        if meanwhile == "start":
            for handle in self.unbegun():
                self.begin(handle)
        self.pass_time(seconds, renewing=True)
        for number in range(rounds):
            self.tick(number % 2)
        self.outage.down = False

    @rule(which=WHICH)
    def round_whose_answer_is_lost(self, which: int) -> None:
        self.outage.answers_lost = 1
        self.tick(which)
        self.outage.answers_lost = 0

    # What always holds

    @invariant()
    def all_is_well(self) -> None:
        jobs = self.all()
        self.no_attempt_has_a_twin()
        self.slots_are_respected(jobs)
        self.cancelled_means_that_no_process_lives(jobs)
        self.what_has_ended_stays_as_it_is_and_attempts_only_grow(jobs)
        self.whatever_has_not_ended_has_an_owner_and_a_deadline(jobs)
        self.checkpoints_are_there_once(jobs)
        self.every_model_has_its_job(jobs)

    def no_attempt_has_a_twin(self) -> None:
        assert max(Counter(self.processes.started).values(), default=1) == 1
        working = [
            (one.job_id, one.slot.device)
            for handle, one in self.processes.living.items()
            if not (handle in self.attempts and self.attempts[handle].ended)
        ]
        assert max(Counter(job_id for job_id, _ in working).values(), default=1) == 1
        for device, number in SLOTS.items():
            assert sum(one is device for _, one in working) <= number

    def slots_are_respected(self, jobs: list[Job]) -> None:
        live = [one for one in jobs if one.state.live]
        for device, number in SLOTS.items():
            assert sum(one.spec.device is device for one in live) <= number
        gpus = [one.gpu for one in live if one.spec.device is Device.GPU]
        assert len(set(gpus)) == len(gpus)
        assert all(gpu in range(SLOTS[Device.GPU]) for gpu in gpus)

    def cancelled_means_that_no_process_lives(self, jobs: list[Job]) -> None:
        living = {one.job_id: name for name, one in self.processes.living.items()}
        for one in jobs:
            if one.state is JobState.CANCELLED and one.job_id in living:
                # It had ended the job before somebody resumed it.
                assert self.attempts[living[one.job_id]].ended

    def what_has_ended_stays_as_it_is_and_attempts_only_grow(self, jobs: list[Job]) -> None:
        for one in jobs:
            assert self.ended.get(one.job_id, one) == one
            assert one.attempt >= self.attempts_of.get(one.job_id, 0)
            assert one.losses <= one.spec.max_attempts
            self.attempts_of[one.job_id] = one.attempt
            if one.state.ended:
                self.ended[one.job_id] = one

    def whatever_has_not_ended_has_an_owner_and_a_deadline(self, jobs: list[Job]) -> None:
        for one in jobs:
            assert (one.owner is None) is one.state.ended
            assert (one.deadline is not None) is one.state.live

    def checkpoints_are_there_once(self, jobs: list[Job]) -> None:
        for one in jobs:
            names = [checkpoint.name for checkpoint in one.checkpoints]
            assert len(set(names)) == len(names)

    def every_model_has_its_job(self, jobs: list[Job]) -> None:
        with self.outage.store.read() as tx:
            models = {model.job_id: model.model_id for _, model in tx.models.page(Page(1000))}
        succeeded = {one.job_id: one.model_id for one in jobs if one.state is JobState.SUCCEEDED}
        assert models == succeeded
        assert sorted(self.artifacts.models(0)) == sorted(models.values())

    # At the end

    def teardown(self) -> None:
        """With time, and processes that do their work, every job comes to an end and all it said is there."""
        self.memory.is_short = self.memory.is_critical = False
        try:
            for _ in range(150):
                if all(one.state.ended for one in self.all()):
                    break
                for handle in self.unbegun():
                    self.begin(handle)
                for attempt in self.at_work().values():
                    self.do_its_work(attempt)
                self.pass_time(ROUND, renewing=False)
            assert [one for one in self.all() if not one.state.ended] == []
            self.everything_said_is_there_once()
        finally:
            self.resources.close()

    def do_its_work(self, attempt: Attempt) -> None:
        """To the end; or out of the way, when it is told to."""
        if attempt.process.asked:
            attempt.leave()
        elif not self.get(attempt.job_id).stopping:
            attempt.train(checkpoint=True)
            attempt.finish(succeeds=True)
            self.processes.living.pop(attempt.handle)

    def everything_said_is_there_once(self) -> None:
        for one in self.all():
            with self.outage.store.read() as tx:
                history = tx.jobs.history(one.job_id, 0, 100_000)
            seqs = Counter((entry.attempt, entry.seq) for entry in history if entry.seq)
            assert max(seqs.values(), default=1) == 1
            mine = [attempt for attempt in self.attempts.values() if attempt.job_id == one.job_id]
            assert {(attempt.attempt, seq) for attempt in mine for seq in attempt.said} <= set(seqs)
            steps = [entry.step for entry in history if isinstance(entry, MetricPoint)]
            assert steps == sorted(set(steps))
            kinds = [entry.kind for entry in history if isinstance(entry, JobEvent)]
            assert "checkpoint_damaged" not in kinds


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
