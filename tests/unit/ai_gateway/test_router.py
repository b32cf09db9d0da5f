"""Which target is asked, in which order, how often and when; on a clock that only waiting moves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from services.ai_gateway.application import router
from services.ai_gateway.application.failing import VendorRefused
from services.ai_gateway.application.ports import Failure, Key, VendorError
from services.ai_gateway.application.router import Lane, Reached, Router
from services.ai_gateway.domain.routing import Alias, Backoff, BreakerRule, Deadlines, Target
from services.chassis.errors import AppError, FailedPrecondition, ResourceExhausted, Unavailable

A, B, C = Target("a", "x"), Target("b", "y"), Target("c", "z")
DEADLINES = Deadlines(connect=1, first=10, between=5, whole=50, total=100)
RULE = BreakerRule(failures=2, cool=5.0, longest=60.0)


def fails(failure: Failure, retry_after: float | None = None) -> VendorError:
    return VendorError("v", failure, "no", retry_after=retry_after)


class World:
    """Targets that answer as they are told to, and keep to it; each attempt takes `takes` seconds.

    tried: what was asked, and when.
    """

    def __init__(self, keys: Sequence[str] = ("k1",), takes: float = 0.0, attempts: int = 2) -> None:
        self.now, self.takes = 1000.0, takes
        self.tried: list[tuple[str, float]] = []
        self.given: list[Deadlines] = []
        self.slept: list[float] = []
        self.answers: defaultdict[str, list[Any]] = defaultdict(list)
        self.keys = [Key(name, name) for name in keys]
        providers: Any = dict.fromkeys("abc")
        self.router = Router(
            providers,
            self,
            self.sleep,
            backoff=Backoff(attempts=attempts),
            rule=RULE,
            monotonic=lambda: self.now,
            dice=lambda: 0.5,
        )

    def of(self, vendor: str) -> Sequence[Key]:
        return self.keys

    def refused(self, key: Key) -> None:
        pass

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds

    async def begin(self, _provider: Any, lane: Lane, deadlines: Deadlines) -> str:
        name = f"{lane.target.vendor}{lane.key.name[1:]}"
        self.tried.append((name, self.now - 1000.0))
        self.given.append(deadlines)
        self.now += self.takes
        answers = self.answers[name]
        answer = (answers.pop(0) if len(answers) > 1 else answers[0]) if answers else "well"
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    def reach(self, *targets: Target, deadlines: Deadlines = DEADLINES) -> Reached[str]:
        alias = Alias(targets or (A, B, C))
        return asyncio.run(self.router.reach(alias, dict.fromkeys(alias.targets, 1), deadlines, self.begin))

    def refusal(self, *targets: Target, deadlines: Deadlines = DEADLINES) -> AppError:
        with pytest.raises(AppError) as caught:
            self.reach(*targets, deadlines=deadlines)
        return caught.value

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.tried]


def test_every_target_and_key_is_tried_before_anyone_waits() -> None:
    world = World(keys=("k1", "k2"))
    for name in ("a1", "a2", "b1", "b2", "c1"):
        world.answers[name] = [fails(Failure.SERVER)]
    reached = world.reach()
    assert world.names == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert (str(reached.lane.target), reached.lane.key.name, reached.attempts) == ("c/z", "k2", 6)
    assert world.slept == []


def test_then_those_are_tried_again_that_may_do_better() -> None:
    world = World()
    world.answers = defaultdict(
        list,
        a1=[fails(Failure.TIMEOUT)],
        b1=[fails(Failure.KEY_REFUSED)],
        c1=[fails(Failure.CONNECTION), "late"],
    )
    assert world.reach().result == "late"
    assert world.names == ["a1", "b1", "c1", "c1"]
    assert world.slept == [0.125]


def test_nobody_is_asked_again_before_he_wants_to_be() -> None:
    world = World()
    world.answers = defaultdict(
        list,
        a1=[fails(Failure.RATE_LIMITED, 4.0), "a"],
        b1=[fails(Failure.SERVER)],
        c1=[fails(Failure.RATE_LIMITED, 2.0), fails(Failure.SERVER)],
    )
    assert world.reach().result == "a"
    assert world.tried[3:] == [("b1", 0.125), ("c1", 2.0), ("a1", 4.0)]


def test_who_wants_to_be_asked_much_later_is_not_waited_for() -> None:
    world = World()
    world.answers["a1"] = [fails(Failure.RATE_LIMITED, 11.0)]
    error = world.refusal(A)
    assert isinstance(error, ResourceExhausted)
    assert (error.reason, error.retry_after, world.slept) == ("PROVIDER_RATE_LIMITED", 11.0, [])


def test_a_wait_beyond_the_callers_deadline_is_not_begun() -> None:
    world = World()
    world.answers["a1"] = [fails(Failure.RATE_LIMITED, 5.0)]
    world.refusal(A, deadlines=Deadlines(total=5.0))
    assert (world.slept, len(world.tried)) == ([], 1)


def test_what_the_caller_did_wrong_is_nobody_elses_to_answer() -> None:
    world = World()
    world.answers["a1"] = [fails(Failure.BAD_REQUEST)]
    assert isinstance(world.refusal(), VendorRefused)
    assert world.names == ["a1"]


def test_each_attempt_gets_what_is_left() -> None:
    world = World(takes=3.0)
    world.answers["a1"] = world.answers["b1"] = [fails(Failure.SERVER)]
    world.reach(deadlines=Deadlines(connect=1, first=10, between=5, whole=50, total=8))
    assert [(one.first, one.total) for one in world.given] == [(8, 8), (5, 5), (2, 2)]


def test_a_circuit_is_of_one_vendor_key_and_model() -> None:
    world, other = World(keys=("k1", "k2"), attempts=1), Target("a", "other")
    world.answers["a1"] = [fails(Failure.SERVER)]
    for _ in range(2):
        world.reach(A)
    world.tried.clear()
    assert world.reach(A).lane.key.name == "k2"
    assert world.names == ["a2"]
    world.reach(other)
    assert world.names == ["a2", "a1", "a2"]
    states = {(lane.target.model, lane.key.name): state for lane, state in world.router.circuits().items()}
    assert states == {
        ("x", "k1"): "open",
        ("x", "k2"): "closed",
        ("other", "k1"): "closed",
        ("other", "k2"): "closed",
    }


def opened(world: World) -> None:
    """Opens the circuit of the one key of A."""
    world.answers["a1"] = [fails(Failure.SERVER)]
    for _ in range(RULE.failures):
        world.refusal(A)
    world.tried.clear()


def test_an_open_circuit_says_when_it_will_be_tried_and_comes_last() -> None:
    world = World(attempts=1)
    opened(world)
    error = world.refusal(A)
    assert isinstance(error, Unavailable)
    assert error.reason == "CIRCUIT_OPEN"
    assert error.retry_after == pytest.approx(5.0)
    assert world.reach(A, B).lane.target == B
    assert world.names == ["b1"]


def test_half_open_lets_one_through_and_a_caller_who_leaves_makes_room() -> None:
    world = World(attempts=1)
    opened(world)
    world.now += RULE.cool
    world.answers["a1"] = ["well"]
    gone, asked = asyncio.Event(), []

    async def begin(_provider: Any, lane: Lane, _deadlines: Deadlines) -> str:
        asked.append(lane)
        await gone.wait()
        return "well"

    async def scenario() -> None:
        first = asyncio.create_task(world.router.reach(Alias((A,)), {}, DEADLINES, begin))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="failed again and again"):
            await world.router.reach(Alias((A,)), {}, DEADLINES, begin)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gone.set()
        await world.router.reach(Alias((A,)), {}, DEADLINES, begin)

    asyncio.run(scenario())
    assert len(asked) == 2
    assert set(world.router.circuits().values()) == {"closed"}


def test_a_trial_that_has_no_time_left_stands_in_nobodys_way() -> None:
    world = World(attempts=1)
    opened(world)
    world.now += RULE.cool
    world.answers["a1"] = ["well"]
    world.refusal(A, deadlines=Deadlines(total=0.0))
    assert world.reach(A).result == "well"


def test_who_was_in_a_hurry_says_nothing_against_a_target() -> None:
    world = World(attempts=1)
    world.answers["a1"] = [fails(Failure.TIMEOUT)]
    for _ in range(5):
        world.refusal(A, deadlines=Deadlines(total=9.0))  # first is 60
    assert set(world.router.circuits().values()) == {"closed"}
    for _ in range(RULE.failures):
        world.refusal(A)
    assert set(world.router.circuits().values()) == {"open"}


def test_without_a_key_there_is_nobody_to_ask() -> None:
    with pytest.raises(FailedPrecondition, match="No key"):
        World(keys=()).reach(A)


def test_models_that_callers_make_up_do_not_pile_up_nor_push_an_open_circuit_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(router, "MOST_LANES", 10)
    world = World(attempts=1)
    opened(world)
    for number in range(50):
        world.reach(Target("b", f"made-up-{number}"))
    circuits = world.router.circuits()
    assert len(circuits) <= 10
    assert [state for lane, state in circuits.items() if lane.target == A] == ["open"]
