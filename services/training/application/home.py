"""Which attempts are this machine's business.

Services on several machines share a store. A process can be looked at, and ended, only where it runs; so
each attempt is written down with its host, and only that host's services attend to it, until it has been
silent for so long that there can be no such services any more. From then on its writes are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.training.domain.job import Device, Job
from services.training.domain.schedule import Standing, next_to_start


@dataclass(frozen=True)
class Home:
    """host: this machine's name, the same for all services on it. patience: beyond a foreign deadline."""

    host: str
    patience: timedelta

    def ours(self, job: Job) -> bool:
        """Whether its attempt runs here; of releases that knew one machine only, all do."""
        return job.host in {"", self.host}

    def abandoned(self, job: Job, now: datetime, steady_since: datetime) -> bool:
        """Whether the services of its host would have acted by now, had they been there.

        steady_since: before that nobody could write.
        """
        if self.ours(job) or job.deadline is None:
            return False
        return now - max(job.deadline, steady_since + self.patience) > self.patience

    def full(self, live: Iterable[Job], here: Mapping[Device, int]) -> bool:
        """Whether every slot of this machine is taken. here: how many it has on each kind of device."""
        return _taken(job for job in live if self.ours(job)) >= sum(here.values())

    def next(
        self, live: Iterable[Job], here: Mapping[Device, int], standings: list[Standing]
    ) -> list[Standing]:
        """The jobs for which this machine has slots now."""
        foreign = [job for job in live if not self.ours(job)]
        elsewhere = {device: _taken(job for job in foreign if job.spec.device is device) for device in here}
        slots = {device: number + elsewhere[device] for device, number in here.items()}
        return next_to_start(standings, slots, here)

    def free_gpu(self, live: Iterable[Job], count: int) -> int:
        """A device that no attempt here holds."""
        taken = {job.gpu for job in live if self.ours(job)}
        return next(number for number in range(count) if number not in taken)


def _taken(live: Iterable[Job]) -> int:
    """The slots that they have."""
    return sum(job.spec.workers for job in live)
