"""Attempts as jobs of a Ray cluster, each on whichever machine has room for it."""

from __future__ import annotations

import logging
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from services.chassis.errors import AppError
from services.training.adapters.ray_jobs import RayJob, RayJobs
from services.training.application.losses import EXIT_MEMORY
from services.training.application.ports import Exit, Slot

log = logging.getLogger("ray")
# The reconciler looks five times a second; that an attempt still lives may be news of so many seconds ago.
FRESH_SECONDS = 0.5
# Ray remembers what has ended until it is told not to. Seconds that its records are kept, and between looks.
KEPT, TIDIED_EVERY = 86_400.0, 600.0
_KILLED_FOR_MEMORY = "OutOfMemory"


class RayExecutor:
    """See `Executor`. A handle is the job's name in Ray, which follows from job and attempt: what is
    submitted twice runs once.

    command: what starts an attempt there; job id and attempt follow it. environment: beside the machine's
    own; whoever may look at the cluster sees it. grace: seconds from a polite cancel to a forced one, which
    Ray counts itself.
    """

    def __init__(
        self, jobs: RayJobs, command: Sequence[str], environment: Mapping[str, str], grace: float
    ) -> None:
        self._jobs = jobs
        self._command = list(command)
        self._environment = {**environment, "RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(grace))}
        # Handle → what was seen there, and when.
        self._seen: dict[str, tuple[float, RayJob]] = {}
        self._tidied = time.monotonic()

    def submit(self, job_id: str, attempt: int, slot: Slot) -> str:
        name = _name(job_id, attempt)
        command = f"exec {shlex.join([*self._command, job_id, str(attempt)])}"
        gpus = 0 if slot.gpu is None else 1
        self._jobs.submit(name, job_id, command, self._environment, cpus=slot.cores, gpus=gpus)
        self._tidy()
        return name

    def find(self, job_id: str, attempt: int) -> str:
        found = self._jobs.get(_name(job_id, attempt))
        return found.name if found and found.goes_on else ""

    def alive(self, handle: str) -> bool:
        found = self._look(handle)
        return found is not None and found.goes_on

    def frozen(self, handle: str) -> bool:
        """Never, as far as can be seen from here: its warden ends one that stands still."""
        return False

    def cancel(self, handle: str, *, force: bool) -> None:
        if self.alive(handle):
            self._seen.pop(handle, None)
            self._jobs.stop(handle)

    def exit(self, handle: str, job_id: str, attempt: int) -> Exit:
        self._seen.pop(handle, None)
        found = self._jobs.get(handle or _name(job_id, attempt))
        if found is None:
            return Exit()
        lines = found.message.strip().splitlines()
        log.info("attempt ended", extra={"fields": {"handle": found.name, "message": " ".join(lines[:2])}})
        if found.code == EXIT_MEMORY or (found.code is None and _KILLED_FOR_MEMORY in found.message):
            return Exit(-9, out_of_memory=True)
        return Exit(found.code, last_words=lines[-1].strip() if lines and found.code is not None else "")

    def forget(self, job_id: str) -> None:
        try:
            self._forget(lambda one: one.owner == job_id)
        except AppError as error:  # the job is gone for its owner; what is left here goes with time
            log.warning("%s", error)

    def _look(self, handle: str) -> RayJob | None:
        when, known = self._seen.get(handle, (0.0, None))
        now = time.monotonic()
        if known and (not known.goes_on or now - when < FRESH_SECONDS):
            return known
        found = self._jobs.get(handle) if handle else None
        if found:
            self._seen[handle] = now, found
        return found

    def _tidy(self) -> None:
        now = time.monotonic()
        if now - self._tidied > TIDIED_EVERY:
            self._tidied = now
            self._seen = {name: seen for name, seen in self._seen.items() if now - seen[0] < TIDIED_EVERY}
            old = time.time() - KEPT
            self._forget(lambda one: bool(one.owner) and one.end is not None and one.end < old)

    def _forget(self, chosen: Callable[[RayJob], bool]) -> None:
        for one in self._jobs.all():
            if chosen(one) and not one.goes_on:
                self._jobs.forget(one.name)


def _name(job_id: str, attempt: int) -> str:
    return f"{job_id}-{attempt}"
