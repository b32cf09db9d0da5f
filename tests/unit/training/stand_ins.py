"""What cannot be had at will: time, death, an outage, and training that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from services.chassis.database import unavailable
from services.training.adapters.store_sql import SqlStore
from services.training.application.ports import Exit, Learned, Loop, Slot, Told, TrainedModel, Transaction
from services.training.domain.job import JobSpec
from tests.unit.training.samples import NOW


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Outage:
    """A real store that can be away.

    down: to all. full: to writers. refusals: to as many calls as this from now on.
    answers_lost: so many commits from now on are made, and then reported as failures.
    refused: calls that were.
    """

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.down = False
        self.full = False
        self.refusals = 0
        self.answers_lost = 0
        self.refused = 0

    @property
    def quick(self) -> bool:
        return self.store.quick

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        self._refuse(self.down)
        with self.store.read() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self._refuse(self.down or self.full)
        with self.store.write() as tx:
            yield tx
        if self.answers_lost:
            self.answers_lost -= 1
            raise unavailable()

    def _refuse(self, refused: bool) -> None:
        if self.refusals:
            self.refusals -= 1
            refused = True
        if refused:
            self.refused += 1
            raise unavailable()


@dataclass
class Fullness:
    """A machine's memory, see `Memory`."""

    is_short: bool = False
    is_critical: bool = False

    def short(self) -> bool:
        return self.is_short or self.is_critical

    def critical(self) -> bool:
        return self.is_critical


@dataclass
class Process:
    """An attempt's. stubborn: takes no polite signal. asked: it got one."""

    job_id: str
    attempt: int
    slot: Slot
    stubborn: bool = False
    asked: bool = False
    frozen: bool = False


class Processes:
    """An executor whose processes are entries in `living`: handle → process.

    before, after: happen as a process is started; what they raise reaches the one who starts it.
    killed: the handles that were ended by force. exits: how those that are gone ended, told once.
    """

    def __init__(self) -> None:
        self.living: dict[str, Process] = {}
        self.killed: list[str] = []
        self.exits: dict[str, Exit] = {}
        self.before: Callable[[str], object] = lambda _: None
        self.after: Callable[[str], object] = lambda _: None
        self.at_look: Callable[[], object] = lambda: None
        self._count = 0

    def submit(self, job_id: str, attempt: int, slot: Slot) -> str:
        self.before(job_id)
        self._count += 1
        handle = f"process-{self._count}"
        self.living[handle] = Process(job_id, attempt, slot)
        self.after(job_id)
        return handle

    def find(self, job_id: str, attempt: int) -> str:
        return self.handle_of(job_id, attempt)

    def alive(self, handle: str) -> bool:
        self.at_look()
        return handle in self.living

    def frozen(self, handle: str) -> bool:
        return handle in self.living and self.living[handle].frozen

    def cancel(self, handle: str, *, force: bool) -> None:
        process = self.living.get(handle)
        if process is None:
            return
        process.asked = True
        if force:
            self.killed.append(handle)
            self.dies(handle, -9)
        elif not process.stubborn:
            self.dies(handle, 0)

    def exit(self, handle: str, job_id: str, attempt: int) -> Exit:
        return self.exits.pop(handle, Exit(last_words="the last line"))

    def forget(self, job_id: str) -> None:
        pass

    def dies(self, handle: str, code: int = 1, words: str = "") -> None:
        """It ends, in its own way."""
        del self.living[handle]
        self.exits[handle] = Exit(code, last_words=words)

    def handle_of(self, job_id: str, attempt: int) -> str:
        mine = [name for name, one in self.living.items() if (one.job_id, one.attempt) == (job_id, attempt)]
        return mine[0] if mine else ""

    def of(self, job_id: str) -> list[Process]:
        return [one for one in self.living.values() if one.job_id == job_id]


Warn: TypeAlias = Callable[[str], None]
Lesson: TypeAlias = Callable[[Loop, Mapping[str, Any] | None], Learned]


@dataclass(frozen=True)
class Pupil:
    """A learner that runs `lesson` with its loop and the state to go on from.

    doubts: what it says of the data first.
    """

    lesson: Lesson
    doubts: tuple[str, ...] = ()

    def fit(
        self,
        spec: JobSpec,
        loop: Loop,
        *,
        resume: Mapping[str, Any] | None = None,
        workspace: Path | None = None,
        warn: Warn = lambda _text: None,
        told: Told | None = None,
    ) -> Learned:
        for text in self.doubts:
            warn(text)
        return self.lesson(loop, resume)

    def restore(self, model_id: str) -> TrainedModel:
        raise NotImplementedError
