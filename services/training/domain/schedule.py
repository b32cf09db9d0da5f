"""Which of the waiting jobs runs next, and where in the queue each stands.

A higher priority goes first. Among equals, the tenant who takes the fewest slots goes first, so that a
tenant who queues a thousand jobs holds nobody up; then the older job.

A job takes as many slots as it has workers, all at once. The one that is next waits until so many are free,
and nothing behind it on that device starts meanwhile: else a job that needs many would wait for ever where
others need few. Only one that needs more than this machine has is passed over.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.training.domain.job import Device, JobState

HIGHEST_PRIORITY = 100


@dataclass(frozen=True)
class Standing:
    """A job that waits or runs, as the scheduler sees it. position: in the order of creation.

    workers: the slots that it takes.
    """

    job_id: str
    position: int
    state: JobState
    tenant: str
    priority: int
    device: Device
    workers: int = 1


@dataclass(frozen=True)
class Place:
    """Where a job waits, from 1, and why, for a person."""

    position: int
    reason: str


def in_turn(standings: Iterable[Standing], device: Device) -> Iterator[Standing]:
    """The jobs that wait for a slot on `device`, in the order in which they get one."""
    of_device = [one for one in standings if one.device is device]
    served: Counter[str] = Counter()
    for one in of_device:
        served[one.tenant] += one.workers if one.state.live else 0
    for _, waiting in sorted(_by_priority(of_device).items(), reverse=True):
        while waiting:
            tenant = min(waiting, key=lambda name: (served[name], waiting[name][0].position))
            served[tenant] += waiting[tenant][0].workers
            yield waiting[tenant].popleft()
            if not waiting[tenant]:
                del waiting[tenant]


def next_to_start(
    standings: list[Standing], slots: Mapping[Device, int], here: Mapping[Device, int] | None = None
) -> list[Standing]:
    """The jobs for which there are free slots now. here: those of this machine alone; all, when None."""
    chosen = []
    for device, number in slots.items():
        free = number - _busy(standings, device)
        for one in in_turn(standings, device):
            if one.workers > (here or slots)[device]:
                continue
            free -= one.workers
            if free < 0:
                break
            chosen.append(one)
    return chosen


def places(standings: list[Standing], slots: Mapping[Device, int], held: str = "") -> dict[str, Place]:
    """Where each waiting job waits, by its id. held: why none starts though a slot be free."""
    found = {}
    for device in Device:
        number = slots.get(device, 0)
        left = number - _busy(standings, device)
        for position, one in enumerate(in_turn(standings, device), 1):
            found[one.job_id] = Place(position, _reason(one, number, left, position, held))
            left -= one.workers if one.workers <= number else 0
    return found


def _reason(one: Standing, slots: int, left: int, position: int, held: str) -> str:
    """left: the slots that are free once all that go before it have theirs; may be less than none."""
    kind = f"{one.device.upper()} slot"
    if not slots:
        return f"There is no {kind} here."
    if one.workers > slots:
        return f"It takes {one.workers} {kind}s at once, and there are {slots} here."
    if one.workers <= left:
        return held or "A slot is free; it is about to start."
    ahead = f", and {position - 1} go first" if position > 1 else ""
    if left <= 0:
        return f"Every {kind} is taken ({slots}){ahead}."
    return f"It takes {one.workers} {kind}s at once, and {left} of {slots} are free{ahead}."


def _busy(standings: Iterable[Standing], device: Device) -> int:
    return sum(one.workers for one in standings if one.device is device and one.state.live)


def _by_priority(standings: list[Standing]) -> dict[int, dict[str, deque[Standing]]]:
    """Priority → tenant → its waiting jobs, oldest first."""
    found: dict[int, dict[str, deque[Standing]]] = defaultdict(lambda: defaultdict(deque))
    for one in sorted(standings, key=lambda one: one.position):
        if one.state is JobState.QUEUED:
            found[one.priority][one.tenant].append(one)
    return found
