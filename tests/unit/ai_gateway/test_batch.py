"""What may happen to a batch: any order of events, crashes included, beside a vendor that only counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ai_gateway.domain.batch import (
    ENDED,
    GIVEN_UP_AFTER,
    SUBMIT_WITHIN,
    Act,
    Batch,
    Counts,
    State,
    by_place,
    name_of,
    place_of,
)
from services.ai_gateway.domain.routing import Target
from services.ai_gateway.domain.usage import Usage

MADE = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
NEW = Batch("batch-x", "call-x", "t", "k", Target("openai", "m"), 3, 900, MADE)


class World:
    """A vendor, a ledger that knows calls, and the one batch as it was last written down."""

    def __init__(self) -> None:
        self.written = NEW.queued()
        self.now = MADE
        self.submitted: list[str] = []
        self.cancelled = False
        self.charged: dict[str, int] = {}

    def step(self, event: str) -> None:
        """One act. event: how it goes; whoever dies after the act has written down nothing of it."""
        batch = self.written
        act = batch.next_act(self.now)
        if act is None:
            return
        if act is Act.SUBMIT:
            batch = self.written = batch.submitting("key")
            if event == "dies before":
                return
        after = self.after(act, batch, event)
        if event != "dies after":
            self.written = after

    def after(self, act: Act, batch: Batch, event: str) -> Batch:
        match act:
            case Act.SUBMIT:
                self.submitted.append(f"vendor-{len(self.submitted)}")
                return batch.running(self.submitted[-1])
            case Act.SEARCH:
                return batch.running(self.submitted[0]) if self.submitted else batch.queued()
            case Act.CANCEL:
                self.cancelled = True
                return replace(batch, stop_sent=True)
            case Act.LOOK if event == "over":
                counts = Counts(1, cancelled=2) if self.cancelled else Counts(2, failed=1)
                return batch.answered(counts, Usage(5), 300)
            case Act.CLOSE:
                return batch.closed("" if batch.stop else "too late")
            case Act.LOSE:
                return batch.given_up()
            case Act.SETTLE:
                self.charged.setdefault(batch.call_id, batch.nano_usd)
                return batch.settled(self.now)
        return batch


EVENTS = st.sampled_from(["goes well", "goes well", "over", "dies before", "dies after", "stop", "an hour"])


@given(st.lists(EVENTS, max_size=60))
def test_it_is_submitted_once_and_charged_once_within_its_claim(events: list[str]) -> None:
    world = World()
    for event in [*events, *["an hour"] * 27, *["over"] * 4]:
        ended = world.written if world.written.state in ENDED else None
        if event == "stop":
            world.written = replace(world.written, stop=world.written.state not in ENDED)
        if event == "an hour":
            world.now += timedelta(hours=1)
        world.step(event)
        assert len(world.submitted) <= 1
        assert ended is None or replace(world.written, stop=ended.stop) == ended
    batch = world.written
    assert batch.state in ENDED
    assert world.charged == {"call-x": batch.nano_usd}
    assert 0 <= batch.nano_usd <= batch.most_nano_usd
    assert sum((batch.counts.succeeded, batch.counts.failed, batch.counts.cancelled)) == batch.count
    # Nothing is charged that the vendor never had.
    assert world.submitted or batch.nano_usd == 0 or batch.lost


def test_what_comes_next_depends_on_the_time() -> None:
    queued = NEW.queued()
    running = queued.submitting("key").running("v")
    late, too_late = MADE + SUBMIT_WITHIN, MADE + GIVEN_UP_AFTER
    moment = timedelta(microseconds=1)
    assert [queued.next_act(late - moment), queued.next_act(late)] == [Act.SUBMIT, Act.CLOSE]
    assert [running.next_act(too_late - moment), running.next_act(too_late)] == [Act.LOOK, Act.LOSE]
    assert NEW.next_act(MADE) is Act.DROP
    assert running.given_up().nano_usd == NEW.most_nano_usd


def test_one_that_was_found_is_not_cancelled_for_it_may_be_anothers() -> None:
    found = replace(NEW.queued().submitting("key").running("v", adopted=True), stop=True)
    assert found.next_act(MADE) is Act.LOOK
    assert replace(found, adopted=False).next_act(MADE) is Act.CANCEL
    back = found.not_ours()
    assert (back.state, back.foreign, back.vendor_id) == (State.SUBMITTING, ("v",), "")


@pytest.mark.parametrize("name", ["batch-y-1", "batch-x-", "batch-x-²", "batch-x", "1"])
def test_names_of_other_batches_are_no_places(name: str) -> None:
    assert place_of("batch-x", name) is None
    assert place_of("batch-x", name_of("batch-x", 12)) == 12
    assert by_place("batch-x", []) == {}
