"""Which of the waiting jobs runs next, and where in the queue each stands.

A higher priority goes first. Among equals, the tenant with the fewest jobs running goes first, so that a
tenant who queues a thousand jobs holds nobody up; then the older job.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.training.domain.job import Device, JobState

HIGHEST_PRIORITY = 100


@dataclass(frozen=True)
class Standing:
    """A job that waits or runs, as the scheduler sees it. position: in the order of creation."""

    job_id: str
    position: int
    state: JobState
    tenant: str
    priority: int
    device: Device


@dataclass(frozen=True)
class Place:
    """Where a job waits, from 1, and why, for a person."""

    position: int
    reason: str


def in_turn(standings: Iterable[Standing], device: Device) -> Iterator[Standing]:
    """The jobs that wait for a slot on `device`, in the order in which they get one."""
    of_device = [one for one in standings if one.device is device]
    served = Counter(one.tenant for one in of_device if one.state.live)
    for _, waiting in sorted(_by_priority(of_device).items(), reverse=True):
        while waiting:
            tenant = min(waiting, key=lambda name: (served[name], waiting[name][0].position))
            served[tenant] += 1
            yield waiting[tenant].popleft()
            if not waiting[tenant]:
                del waiting[tenant]


def next_to_start(standings: list[Standing], slots: Mapping[Device, int]) -> list[Standing]:
    """The jobs for which there is a free slot now."""
    chosen = []
    for device, number in slots.items():
        busy = sum(one.device is device and one.state.live for one in standings)
        chosen += [one for one, _ in zip(in_turn(standings, device), range(number - busy), strict=False)]
    return chosen


def places(standings: list[Standing], slots: Mapping[Device, int], held: str = "") -> dict[str, Place]:
    """Where each waiting job waits, by its id. held: why none starts though a slot be free."""
    found = {}
    for device in Device:
        number = slots.get(device, 0)
        busy = sum(one.device is device and one.state.live for one in standings)
        for position, one in enumerate(in_turn(standings, device), 1):
            found[one.job_id] = Place(position, _reason(device, number, busy, position, held))
    return found


def _reason(device: Device, slots: int, busy: int, position: int, held: str) -> str:
    if not slots:
        return f"There is no {device.upper()} slot here."
    if busy + position <= slots:
        return held or "A slot is free; it is about to start."
    ahead = f", and {position - 1} go first" if position > 1 else ""
    return f"Every {device.upper()} slot is taken ({slots}){ahead}."


def _by_priority(standings: list[Standing]) -> dict[int, dict[str, deque[Standing]]]:
    """Priority → tenant → its waiting jobs, oldest first."""
    found: dict[int, dict[str, deque[Standing]]] = defaultdict(lambda: defaultdict(deque))
    for one in sorted(standings, key=lambda one: one.position):
        if one.state is JobState.QUEUED:
            found[one.priority][one.tenant].append(one)
    return found
