"""The training loop's verbs, as an attempt has them. None of them ever waits for the store."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from threading import Event

from services.chassis.clock import Clock
from services.training.application import events
from services.training.application.ports import Artifacts, Outbox, Snapshot
from services.training.domain.checkpoint import Checkpoint, worth_keeping
from services.training.domain.history import MetricPoint
from services.training.domain.job import Job
from services.training.domain.pruning import Climb

log = logging.getLogger("attempt")


class Signs:
    """What the training thread shows of itself to the thread that speaks to the store.

    stop: training is to end at its next step. fenced: and nothing that it does counts any more.
    work: grows while training does anything at all.
    stored: the checkpoints that the store knows of.
    """

    def __init__(self, stop: Event, stored: tuple[Checkpoint, ...]) -> None:
        self.stop = stop
        self.fenced = False
        self.work = 0
        self.stored = stored


class AttemptLoop:
    """See `Loop`.

    every: seconds between checkpoints. climb: has taken what earlier attempts reported; training ends with
    its verdict.
    Points of a step that an earlier attempt reported are left out: each step is in the history once.
    """

    def __init__(
        self,
        job: Job,
        signs: Signs,
        outbox: Outbox,
        *,
        artifacts: Artifacts,
        clock: Clock,
        every: float,
        climb: Climb,
    ) -> None:
        self._job = job
        self._signs = signs
        self._outbox = outbox
        self._artifacts = artifacts
        self._clock = clock
        self._every = every
        self._climb = climb
        self._taken = job.checkpoints
        self._next = time.monotonic() + every
        self._progress = job.progress
        self._score: float | None = None

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None:
        """Keeps one point, to be sent soon."""
        self._signs.work += 1
        self._progress = progress
        numbers = finite(metrics)
        self._climb.take(step, progress, numbers)
        self._score = numbers.get("validation_loss", numbers.get("train_loss", self._score))
        if step > self._job.step or (step == self._job.step and not numbers):
            self._outbox.append(MetricPoint(self._job.attempt, step, progress, numbers, self._clock()))

    def checkpoint(self, step: int, snapshot: Snapshot) -> None:
        """Writes one when it is time to, and when training is about to stop."""
        stopping = self._signs.stop.is_set()
        if (time.monotonic() >= self._next or stopping) and not self._signs.fenced:
            self._save(step, snapshot)
            # Counted from the end: a disk that takes long may not eat up the time for training.
            self._next = time.monotonic() + self._every

    def should_stop(self) -> bool:
        """Whether the job is to stop, was pruned, or is no longer this attempt's."""
        self._signs.work += 1
        return self._signs.stop.is_set() or bool(self._climb.verdict)

    def _save(self, step: int, snapshot: Snapshot) -> None:
        name = f"{self._job.attempt}-{step}"
        if self._taken and self._taken[-1].name == name:
            return
        now = self._clock()
        facts = {"job_id": self._job.job_id, "attempt": self._job.attempt, "step": step, "time": str(now)}
        try:
            saved = self._artifacts.save_checkpoint(self._job.job_id, name, snapshot(), facts)
        except OSError as error:
            self._say_that_it_failed(error)
            return
        checkpoint = Checkpoint(
            name,
            self._job.attempt,
            step,
            self._progress,
            now,
            saved.manifest_sha256,
            saved.byte_count,
            self._score,
        )
        self._taken = worth_keeping((*self._taken, checkpoint))
        self._outbox.append(checkpoint)
        self._drop_old_ones()

    def _drop_old_ones(self) -> None:
        """What the store points to stays, however far behind it is."""
        kept = {one.name for one in (*self._taken, *worth_keeping(self._signs.stored))}
        self._artifacts.keep_checkpoints(self._job.job_id, self._job.attempt, kept)

    def _say_that_it_failed(self, error: OSError) -> None:
        log.warning("a checkpoint could not be written", exc_info=True)
        message = f"A checkpoint could not be written: {error.strerror}. Training goes on."
        event = events.warning(self._job, self._clock(), "checkpoint_failed", message)
        self._outbox.append(replace(event, attempt=self._job.attempt))


def finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Without NaN and infinities, which are no JSON: training that goes astray reports them."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
