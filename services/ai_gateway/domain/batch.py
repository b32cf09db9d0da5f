"""A batch of chats that may wait: what it is, what may happen to it, and what has to be done next. Pure.

What has to be done is found from what is written down alone, so whoever reads it goes on where another died.
Every way to the end leads through SETTLING: there, and nowhere else, is a batch charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.ai_gateway.domain.routing import Target
from services.ai_gateway.domain.usage import Usage

# Vendors end a batch 24 hours after they got it. Who did not take it within an hour does not get it.
SUBMIT_WITHIN = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(hours=25, minutes=30)
CLAIMED_FOR = timedelta(hours=26)


class State(StrEnum):
    """NEW: its creator was not answered yet. SUBMITTING: the vendor may have it. SETTLING: what it cost is
    written down, and not charged yet."""

    NEW = "new"
    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    SETTLING = "settling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset((State.SUCCEEDED, State.FAILED, State.CANCELLED))


class Act(StrEnum):
    """What has to be done. CLOSE: it ends without the vendor. LOSE: nobody can say what it cost."""

    DROP = "drop"
    CLOSE = "close"
    SUBMIT = "submit"
    SEARCH = "search"
    CANCEL = "cancel"
    LOOK = "look"
    LOSE = "lose"
    SETTLE = "settle"


@dataclass(frozen=True)
class Counts:
    """Of requests."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Batch:
    """call_id: its name in the ledger. key: the caller's. most_nano_usd: what is put aside for it.

    stop: somebody asked for its end. vendor_id: the vendor's name for it. vendor_key: the name of the key it
    was submitted by, which alone can see it. adopted: it was found, and is only known to be this one when
    its results are. foreign: batches that were found and were others. failures: of vendors, one after the
    other. end: what it becomes when it is settled. lost: it is charged in full.
    """

    batch_id: str
    call_id: str
    tenant: str
    key: str
    target: Target
    count: int
    most_nano_usd: int
    made: datetime
    asked: str = ""
    state: State = State.NEW
    stop: bool = False
    vendor_id: str = ""
    vendor_key: str = ""
    adopted: bool = False
    foreign: tuple[str, ...] = ()
    stop_sent: bool = False
    failures: int = 0
    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    nano_usd: int = 0
    problem: str = ""
    end: State | None = None
    lost: bool = False
    ended: datetime | None = None

    @property
    def submit_by(self) -> datetime:
        """When it is no longer handed to the vendor."""
        return self.made + SUBMIT_WITHIN

    @property
    def deadline(self) -> datetime:
        """When it is given up."""
        return self.made + GIVEN_UP_AFTER

    def next_act(self, now: datetime) -> Act | None:
        """None: it has ended."""
        match self.state:
            case State.NEW:
                return Act.DROP
            case State.QUEUED:
                return Act.CLOSE if self.stop or now >= self.submit_by else Act.SUBMIT
            case State.SUBMITTING:
                return Act.LOSE if now >= self.deadline else Act.SEARCH
            case State.RUNNING:
                if now >= self.deadline:
                    return Act.LOSE
                # One that was found may be somebody else's.
                return Act.CANCEL if self.stop and not self.stop_sent and not self.adopted else Act.LOOK
            case State.SETTLING:
                return Act.SETTLE
        return None

    def queued(self) -> Batch:
        """Its creation is complete; or the vendor is known not to have it."""
        return self._from({State.NEW, State.SUBMITTING}, State.QUEUED)

    def submitting(self, vendor_key: str) -> Batch:
        """To be written down before the vendor is called: from now on it may have it."""
        return replace(self._from({State.QUEUED}, State.SUBMITTING), vendor_key=vendor_key)

    def running(self, vendor_id: str, *, adopted: bool = False) -> Batch:
        """The vendor has it."""
        found = self._from({State.SUBMITTING}, State.RUNNING)
        return replace(found, vendor_id=vendor_id, adopted=adopted, failures=0)

    def not_ours(self) -> Batch:
        """What was found is another's."""
        assert self.adopted
        back = self._from({State.RUNNING}, State.SUBMITTING)
        return replace(back, vendor_id="", adopted=False, foreign=(*self.foreign, self.vendor_id))

    def failed_once(self) -> Batch:
        """The vendor did not answer; it will be asked again."""
        return replace(self, failures=self.failures + 1)

    def answered(self, counts: Counts, usage: Usage, nano_usd: int) -> Batch:
        """Its results are known."""
        end = State.CANCELLED if counts.cancelled else State.SUCCEEDED
        found = self._from({State.RUNNING}, State.SETTLING)
        return replace(found, counts=counts, usage=usage, nano_usd=nano_usd, end=end)

    def closed(self, problem: str) -> Batch:
        """It ends, and nothing was answered: the vendor never had it, or refused it."""
        found = self._from({State.QUEUED, State.SUBMITTING, State.RUNNING}, State.SETTLING)
        if self.stop and not problem:
            return replace(found, end=State.CANCELLED, counts=Counts(cancelled=self.count))
        return replace(found, end=State.FAILED, problem=problem, counts=Counts(failed=self.count))

    def given_up(self) -> Batch:
        """It is charged in full, for the vendor may charge it."""
        found = self._from({State.SUBMITTING, State.RUNNING}, State.SETTLING)
        problem = "The vendor did not say in time what came of it; it is charged in full."
        counts = Counts(failed=self.count)
        return replace(
            found, end=State.FAILED, lost=True, nano_usd=self.most_nano_usd, problem=problem, counts=counts
        )

    def settled(self, now: datetime) -> Batch:
        """It is charged."""
        assert self.end is not None
        return replace(self._from({State.SETTLING}, self.end), ended=now)

    def _from(self, states: set[State], to: State) -> Batch:
        assert self.state in states, f"{self.state} → {to}"
        return replace(self, state=to)


class Answer(StrEnum):
    """What came of a request."""

    OK = "ok"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Line:
    """A request of a batch. body: as the vendor wants it. most_nano_usd: what it costs at most."""

    custom_id: str
    body: bytes
    most_nano_usd: int


@dataclass(frozen=True)
class Said:
    """What a vendor says of a request. name: that which it was given with; body: the vendor's answer.

    problem: in the vendor's words, when there is no answer.
    """

    name: str
    answer: Answer
    body: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Result:
    """What came of the request in that place."""

    place: int
    custom_id: str
    answer: Answer
    body: bytes = b""
    problem: str = ""
    nano_usd: int = 0


@dataclass(frozen=True)
class Seen:
    """What a vendor says of a batch. over: nothing more will be answered; stopped: because somebody asked for
    that. problem: it was refused as a whole.

    label: the name that we gave it, where the vendor keeps one. files: where its results are.
    """

    vendor_id: str
    over: bool
    made: datetime
    count: int
    label: str = ""
    problem: str = ""
    stopped: bool = False
    files: tuple[str, ...] = ()


def name_of(batch_id: str, place: int) -> str:
    """What a request is called at the vendor: at most 64 letters, digits and `-`."""
    return f"{batch_id}-{place}"


def place_of(batch_id: str, name: str) -> int | None:
    """The inverse; None for a request of another batch."""
    head, _, number = name.rpartition("-")
    return int(number) if head == batch_id and number.isascii() and number.isdecimal() else None


def by_place(batch_id: str, said: Sequence[Said]) -> dict[int, Said] | None:
    """None when the batch is another's."""
    places = [(place_of(batch_id, one.name), one) for one in said]
    if any(place is None for place, _ in places):
        return None
    return {place: one for place, one in places if place is not None}
