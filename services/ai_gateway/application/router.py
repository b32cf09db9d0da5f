"""Finds a target that answers: order, circuits, retries, failover."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.ai_gateway.application.failing import as_app_error
from services.ai_gateway.application.ports import ChatProvider, Failure, Key, Keys, VendorError
from services.ai_gateway.domain.routing import (
    Alias,
    Backoff,
    Breaker,
    BreakerRule,
    Deadlines,
    Pace,
    Target,
    ordered,
)
from services.chassis.errors import FailedPrecondition, Unavailable

Result = TypeVar("Result")
BACKOFF, RULE = Backoff(), BreakerRule()
# Lanes whose state is kept: callers may name models that nobody has heard of.
MOST_LANES = 4096


@dataclass(frozen=True, slots=True)
class Lane:
    """A target by one of its vendor's keys."""

    target: Target
    key: Key


Begin = Callable[[ChatProvider, Lane, Deadlines], Awaitable[Result]]


@dataclass(frozen=True)
class Reached(Generic[Result]):
    """attempts: how many were made, this one included."""

    lane: Lane
    result: Result
    attempts: int


@dataclass
class Trip:
    """One call's way. until: an instant of `monotonic`."""

    deadlines: Deadlines
    until: float
    attempts: int = 0
    failed: dict[Lane, VendorError] = field(default_factory=dict)
    seen: set[Lane] = field(default_factory=set)
    last: VendorError | None = None

    def left(self, now: float) -> float:
        return max(self.until - now, 0.0)


class Router:
    """One for each process; what it learns of targets stays in it.

    sleep: waits. dice: uniform in [0, 1).
    """

    def __init__(
        self,
        providers: Mapping[str, ChatProvider],
        keys: Keys,
        sleep: Callable[[float], Awaitable[None]],
        *,
        backoff: Backoff = BACKOFF,
        rule: BreakerRule = RULE,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._providers, self._keys, self._sleep = providers, keys, sleep
        self._backoff, self._rule = backoff, rule
        self._now, self._dice = monotonic, dice
        self._breakers: dict[Lane, Breaker] = {}
        self._paces: dict[Target, Pace] = {}

    async def reach(
        self, alias: Alias, price: Mapping[Target, int], deadlines: Deadlines, begin: Begin[Result]
    ) -> Reached[Result]:
        """What `begin` gave for the first target that took the call.

        Every target is tried before anyone waits; then those that may do better are tried again.
        Raises the AppError of the last failure, and Unavailable when every circuit is open.
        """
        trip = Trip(deadlines, self._now() + deadlines.total)
        for lane in self._lanes(alias, price):
            if reached := await self._try(lane, trip, begin):
                return reached
        for number in range(1, self._backoff.attempts):
            for due, lane in self._again(trip, number):
                if due >= trip.until:
                    break
                await self._sleep(max(due - self._now(), 0.0))
                if reached := await self._try(lane, trip, begin):
                    return reached
        if trip.last is None:
            raise self._all_open(alias)
        raise as_app_error(trip.last) from trip.last

    def circuits(self) -> Mapping[Lane, str]:
        """State by lane, of those that were ever used. From any thread."""
        now = self._now()
        return {lane: breaker.state(now) for lane, breaker in list(self._breakers.items())}

    def circuit(self, vendor: str) -> str:
        """The worst of its lanes; empty when none was used."""
        states = {state for lane, state in self.circuits().items() if lane.target.vendor == vendor}
        return next((state for state in ("open", "half_open", "closed") if state in states), "")

    def seconds_to_content(self, vendor: str) -> float | None:
        """Of its models, about; None when none was used."""
        paces = [pace.seconds for target, pace in self._paces.items() if target.vendor == vendor]
        return sum(paces) / len(paces) if paces else None

    async def _try(self, lane: Lane, trip: Trip, begin: Begin[Result]) -> Reached[Result] | None:
        breaker, began = self._breaker(lane), self._now()
        given = trip.left(began)
        if given <= 0 or (ticket := breaker.allows(began)) is None:
            return None
        trip.attempts += 1
        trip.seen.add(lane)
        try:
            result = await begin(self._providers[lane.target.vendor], lane, trip.deadlines.within(given))
        except VendorError as error:
            trip.last = trip.failed[lane] = error
            if error.failure is Failure.KEY_REFUSED:
                self._keys.refused(lane.key)
            if _tells(error, trip.deadlines, given):
                breaker.failed_at(self._now(), ticket, error.retry_after)
            else:
                breaker.gave_up(ticket)
            if not error.failure.elsewhere:
                raise as_app_error(error) from error
            return None
        except BaseException:
            breaker.gave_up(ticket)
            raise
        breaker.succeeded()
        self._paces.setdefault(lane.target, Pace()).observe(self._now() - began)
        return Reached(lane, result, trip.attempts)

    def _again(self, trip: Trip, number: int) -> list[tuple[float, Lane]]:
        """Whom to try once more, and when: no one before the vendor wants."""
        now = self._now()
        found = [
            (now + wait, lane)
            for lane, error in trip.failed.items()
            if error.failure.again
            and (wait := self._backoff.wait(number, self._dice(), error.retry_after)) is not None
        ]
        found += [(now, lane) for lane in self._renewed(trip)]
        trip.failed.clear()
        return sorted(found, key=lambda pair: pair[0])

    def _renewed(self, trip: Trip) -> list[Lane]:
        """By keys that came while those before were refused: keys are changed under calls that run."""
        refused = [lane.target for lane, error in trip.failed.items() if error.failure is Failure.KEY_REFUSED]
        return [
            lane for target in dict.fromkeys(refused) for lane in self._of(target) if lane not in trip.seen
        ]

    def _lanes(self, alias: Alias, price: Mapping[Target, int]) -> list[Lane]:
        """Raises FailedPrecondition when no vendor of it has a key."""
        by_target = {target: list(self._of(target)) for target in alias.targets}
        targets = self._ordered(alias, price, by_target) if len(by_target) > 1 else alias.targets
        found = [lane for target in targets for lane in by_target[target]]
        if not found:
            vendors = ", ".join(sorted({target.vendor for target in alias.targets}))
            message = f"No key is configured for {vendors}."
            raise FailedPrecondition("PROVIDER_NOT_CONFIGURED", message, provider=vendors)
        return found

    def _ordered(
        self, alias: Alias, price: Mapping[Target, int], lanes: Mapping[Target, Sequence[Lane]]
    ) -> Sequence[Target]:
        now = self._now()
        open_ = [
            target
            for target, own in lanes.items()
            if own and all(self._breaker(lane).state(now) == "open" for lane in own)
        ]
        paces = {target: self._paces[target].seconds for target in lanes if target in self._paces}
        return ordered(alias, paces, price, open_)

    def _of(self, target: Target) -> Iterator[Lane]:
        for key in self._keys.of(target.vendor):
            yield Lane(target, key)

    def _breaker(self, lane: Lane) -> Breaker:
        if lane not in self._breakers:
            if len(self._breakers) >= MOST_LANES:
                self._forget_the_unknown()
            self._breakers[lane] = Breaker(self._rule)
        return self._breakers[lane]

    def _forget_the_unknown(self) -> None:
        """Drops all of which nothing bad is known; if that is none, the one that was used first."""
        now = self._now()
        harmless = [lane for lane, breaker in self._breakers.items() if breaker.state(now) == "closed"]
        for lane in harmless or [next(iter(self._breakers))]:
            del self._breakers[lane]
            self._paces.pop(lane.target, None)

    def _all_open(self, alias: Alias) -> Unavailable:
        lanes: Sequence[Lane] = [lane for target in alias.targets for lane in self._of(target)]
        soonest = min((self._breaker(lane).until for lane in lanes), default=0.0) - self._now()
        message = "No target takes calls at the moment: all have failed again and again."
        return Unavailable("CIRCUIT_OPEN", message, max(soonest, 0.1))


def _tells(error: VendorError, deadlines: Deadlines, given: float) -> bool:
    """Whether it speaks against the target. Who was given less time than usual is not to blame for it."""
    hurried = error.failure is Failure.TIMEOUT and given < deadlines.first
    return error.failure.broken and not hurried
