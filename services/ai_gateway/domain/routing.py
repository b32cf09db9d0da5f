"""Where a call may go, in which order, how often, and for how long. Pure: no clock, no dice of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Target:
    """A vendor's model."""

    vendor: str
    model: str

    def __str__(self) -> str:
        return f"{self.vendor}/{self.model}"


class UnknownModel(Exception):
    """Neither `vendor/model` nor an alias."""


class Order(StrEnum):
    """What decides between the targets of an alias."""

    LISTED = "listed"
    LATENCY = "latency"
    COST = "cost"


@dataclass(frozen=True)
class Alias:
    """Targets under one name. The first that works answers.

    hedge_after: seconds without an answer after which the next target is asked beside the first; None for
    never. simple: what answers simple requests; in shadow nobody is asked but what it would have saved is
    told.
    """

    targets: tuple[Target, ...]
    order: Order = Order.LISTED
    hedge_after: float | None = None
    simple: Target | None = None
    shadow: bool = False


@dataclass(frozen=True)
class Routes:
    """What callers may name. vendors: those that can be called."""

    aliases: Mapping[str, Alias]
    vendors: frozenset[str]

    def find(self, name: str) -> Alias:
        """Raises UnknownModel."""
        if alias := self.aliases.get(name):
            return alias
        vendor, slash, model = name.partition("/")
        if slash and model and vendor in self.vendors:
            return Alias((Target(vendor, model),))
        raise UnknownModel(name)


@dataclass(frozen=True)
class Deadlines:
    """Seconds. connect: until the vendor's machine answers at all. first: from there to the first content.
    between: from one piece to the next. whole: of an answer in one body, which shows nothing of itself until
    it is there. total: of everything, retries included."""

    connect: float = 5.0
    first: float = 60.0
    between: float = 30.0
    whole: float = 180.0
    total: float = 300.0

    def within(self, left: float | None) -> Deadlines:
        """None of them beyond what the caller waits."""
        if left is None:
            return self
        own = (self.connect, self.first, self.between, self.whole, self.total)
        return Deadlines(*(min(one, left) for one in own))


@dataclass(frozen=True)
class Backoff:
    """How long to wait before trying the same target again: full jitter on a doubling ceiling.

    attempts: how often a target is tried in all. longest_wait: a vendor who asks for more is not waited for.
    """

    attempts: int = 2
    base: float = 0.25
    ceiling: float = 4.0
    longest_wait: float = 10.0

    def wait(self, attempt: int, dice: float, retry_after: float | None) -> float | None:
        """Seconds before the attempt after number `attempt` (from 1); None when there is none.

        dice: uniform in [0, 1). retry_after: what the vendor said.
        """
        if attempt >= self.attempts:
            return None
        own: float = min(self.ceiling, self.base * 2 ** (attempt - 1)) * dice
        if retry_after is None:
            return own
        return None if retry_after > self.longest_wait else max(own, retry_after)


# Of a wait. More than anybody waits, and no number becomes too large.
MOST_DOUBLINGS = 20
# The ticket of a call while its circuit is closed.
NO_TRIAL = -1


@dataclass(frozen=True)
class BreakerRule:
    """A circuit opens after so many failures in a row, and lets one call try again after `cool` seconds;
    each time that one fails, after twice as long, up to `longest`."""

    failures: int = 5
    cool: float = 5.0
    longest: float = 60.0


@dataclass
class Breaker:
    """Whether a target is worth a try. Times are seconds on any clock that never goes back."""

    rule: BreakerRule = field(default_factory=BreakerRule)
    failed: int = 0
    opened: int = 0
    until: float = 0.0
    trial: int = 0
    trials: int = 0

    def allows(self, now: float) -> int | None:
        """A ticket for one call, None when it may not be made. When it was open, one caller alone gets one:
        his call is a trial. Whichever of the next three tells a call's end wants its ticket.
        """
        if not self.opened:
            return NO_TRIAL
        if now < self.until or self.trial:
            return None
        self.trials += 1
        self.trial = self.trials
        return self.trial

    def succeeded(self) -> None:
        """Closes it."""
        self.failed = self.opened = self.trial = 0

    def gave_up(self, ticket: int) -> None:
        """The call ended without telling anything about the target."""
        if ticket == self.trial:
            self.trial = 0

    def failed_at(self, now: float, ticket: int, retry_after: float | None = None) -> None:
        """Counts a failure. retry_after: the vendor said not to come back before.

        Calls that were under way when it opened tell nothing new: however many fail, it is one outage.
        """
        if self.opened and ticket != self.trial:
            return
        self.failed += 1
        self.trial = 0
        if self.opened or self.failed >= self.rule.failures:
            wait = min(self.rule.longest, self.rule.cool * 2 ** min(self.opened, MOST_DOUBLINGS))
            self.opened += 1
            self.until = now + max(wait, retry_after or 0.0)

    def state(self, now: float) -> str:
        """`closed`, `open` or `half_open`."""
        if not self.opened:
            return "closed"
        return "open" if now < self.until else "half_open"


@dataclass
class Pace:
    """How fast a target has been: an average that forgets, and reacts to slowness at once (peak EWMA)."""

    seconds: float = 0.0
    decay: float = 0.2

    def observe(self, seconds: float) -> None:
        """One call took so long to its first content."""
        if seconds > self.seconds:
            self.seconds = seconds
        else:
            self.seconds += self.decay * (seconds - self.seconds)


def ordered(
    alias: Alias, pace: Mapping[Target, float], price: Mapping[Target, float], open_: Sequence[Target]
) -> list[Target]:
    """Whom to ask, one after the other. Those whose circuit is open come last: better late than nobody.

    pace: seconds to the first content. price: nano-dollars for the call at worst.
    """
    by: Mapping[Target, float] = {Order.LATENCY: pace, Order.COST: price}.get(alias.order, {})
    return sorted(alias.targets, key=lambda target: (target in open_, by.get(target, 0)))
