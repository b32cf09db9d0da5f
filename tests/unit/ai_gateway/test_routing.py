"""Circuits, waits and orders, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.ai_gateway.domain.routing import (
    Alias,
    Backoff,
    Breaker,
    BreakerRule,
    Deadlines,
    Order,
    Pace,
    Target,
    ordered,
)

RULE = BreakerRule(failures=3, cool=5.0, longest=60.0)
A, B, C = Target("a", "x"), Target("b", "x"), Target("c", "x")


class Circuit(RuleBasedStateMachine):
    """Any number of calls under way, which end as they like, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now = Breaker(RULE), 0.0
        self.calls: list[int] = []
        self.trials: list[int] = []
        self.in_a_row = 0  # failures, while it is closed

    @property
    def state(self) -> str:
        return self.breaker.state(self.now)

    @rule()
    def ask(self) -> None:
        before, ticket = self.state, self.breaker.allows(self.now)
        if before == "closed":
            assert ticket is not None
            self.calls.append(ticket)
        elif before == "open":
            assert ticket is None
        else:
            assert (ticket is None) == bool(self.trials)  # one alone, but always one
            self.trials += [] if ticket is None else [ticket]

    @precondition(lambda self: self.calls or self.trials)
    @rule(
        data=st.data(), how=st.sampled_from(["well", "badly", "untold"]), after=st.sampled_from([None, 90.0])
    )
    def end(self, data: st.DataObject, how: str, after: float | None) -> None:
        ticket = data.draw(st.sampled_from(self.calls + self.trials))
        trial, before, until = ticket in self.trials, self.state, self.breaker.until
        (self.trials if trial else self.calls).remove(ticket)
        if how == "well":
            self.breaker.succeeded()
            assert self.state == "closed"
            self.calls += self.trials  # of a circuit that is closed they are calls as others are
            self.trials, self.in_a_row = [], 0
        elif how == "untold":
            self.breaker.gave_up(ticket)
            assert self.state == before
        else:
            self.breaker.failed_at(self.now, ticket, after)
            self.failed(trial, before, until, after)

    def failed(self, trial: bool, before: str, until: float, after: float | None) -> None:
        if before == "closed":
            self.in_a_row += 1
            assert self.state == ("open" if self.in_a_row >= RULE.failures else "closed")
        elif trial:
            assert self.state == "open"
            assert self.breaker.until - self.now <= max(RULE.longest, after or 0.0)
        else:
            assert (self.state, self.breaker.until) == (before, until)
        assert after is None or self.state == "closed" or self.breaker.until >= until

    @rule(seconds=st.sampled_from([0.5, 5.0, 61.0]))  # exact in binary
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def at_most_one_trial(self) -> None:
        assert len(self.trials) <= 1


TestCircuit = Circuit.TestCase


def opened(breaker: Breaker, now: float = 0.0) -> None:
    for _ in range(RULE.failures):
        breaker.failed_at(now, breaker.allows(now) or 0)


def test_a_thousand_calls_that_fail_together_are_one_outage() -> None:
    breaker = Breaker(RULE)
    tickets = [breaker.allows(0.0) for _ in range(2000)]
    for ticket in tickets:
        assert ticket is not None
        breaker.failed_at(0.0, ticket)
    assert breaker.until == RULE.cool


def test_each_trial_that_fails_doubles_the_wait_up_to_the_longest_for_ever() -> None:
    breaker, waits = Breaker(RULE), []
    opened(breaker)
    for _ in range(2000):
        now = breaker.until
        ticket = breaker.allows(now)
        assert ticket is not None
        breaker.failed_at(now, ticket)
        waits.append(breaker.until - now)
    assert waits[:5] == pytest.approx([10.0, 20.0, 40.0, 60.0, 60.0])
    assert max(waits) == pytest.approx(60.0)


@given(
    attempt=st.integers(1, 9),
    dice=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.floats(0, 100),
)
def test_a_wait_is_bounded_and_never_shorter_than_the_vendor_wants(
    attempt: int, dice: float, retry_after: float | None
) -> None:
    backoff = Backoff(attempts=8)
    wait = backoff.wait(attempt, dice, retry_after)
    if attempt >= 8 or (retry_after or 0) > backoff.longest_wait:
        assert wait is None
        return
    assert wait is not None
    assert (retry_after or 0.0) <= wait <= max(backoff.ceiling, retry_after or 0.0)


def test_orders_put_open_circuits_last() -> None:
    pace, price = {A: 3.0, B: 1.0, C: 2.0}, {A: 2, B: 3, C: 1}
    targets = (A, B, C)
    assert ordered(Alias(targets), pace, price, [A]) == [B, C, A]
    assert ordered(Alias(targets, Order.LATENCY), pace, price, []) == [B, C, A]
    assert ordered(Alias(targets, Order.COST), pace, price, [C]) == [A, B, C]


def test_slowness_is_believed_at_once_and_speed_slowly() -> None:
    pace = Pace()
    pace.observe(10.0)
    pace.observe(1.0)
    assert pace.seconds == pytest.approx(8.2)


def test_no_deadline_is_beyond_what_is_left() -> None:
    assert Deadlines(5, 60, 30, 90, 300).within(20) == Deadlines(5, 20, 20, 20, 20)
    assert Deadlines().within(None) == Deadlines()
