"""What is put aside before a call, and what is charged after it, however it ends; on a real ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.ai_gateway.adapters.ledger_sql import SqlLedger
from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.chats import Call, Chats
from services.ai_gateway.application.meter import Meter, Size, guessed, unseen
from services.ai_gateway.application.ports import BudgetExceeded, Failure, Key, Outcome, VendorError
from services.ai_gateway.application.router import Router
from services.ai_gateway.domain.chat import ChatRequest, Completion, Delta, Finish, Text
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Alias, Deadlines, Routes, Target
from services.ai_gateway.domain.usage import Price, PriceList, Rates, Usage
from services.chassis.errors import AppError, InvalidArgument
from services.chassis.rates.no_limits import NoLimits
from tests.contract.ledgers import NOW, day, ledger_on, ledger_rows, sqlite_ledger_url

A, B = Target("a", "x"), Target("b", "y")
# Nano-dollars a token.
READ, WRITTEN = 2, 30
RATES = Rates(READ * 1_000_000, WRITTEN * 1_000_000)
CHEAP = Rates(1_000_000, 10_000_000)
SAID = Usage(input=10, output=4)
COST = 10 * READ + 4 * WRITTEN


class Vendor:
    """Answers with what it is given, one after the other: an answer, an error, or the pieces of a stream."""

    dialect = "openai"

    def __init__(self, vendor: str, *answers: Any) -> None:
        self.vendor, self.answers, self.asked, self.left = vendor, list(answers), 0, 0

    async def complete(self, *_: Any) -> Completion:
        self.asked += 1
        answer = self.answers.pop(0)
        if callable(answer):
            await answer()
        if isinstance(answer, BaseException):
            raise answer
        return Completion("id", "x", (Text("hi"),), Finish.STOP, SAID)

    async def stream(self, *_: Any) -> AsyncIterator[Delta]:
        self.asked += 1
        try:
            for piece in self.answers.pop(0):
                if isinstance(piece, BaseException):
                    raise piece
                if callable(piece):
                    await piece()
                    continue
                yield piece
        finally:
            self.left += 1


@dataclass
class World:
    """Two vendors, one ledger."""

    url: str
    ledger: SqlLedger
    a: Vendor = field(default_factory=lambda: Vendor("a"))
    b: Vendor = field(default_factory=lambda: Vendor("b"))
    now: float = 0.0

    @property
    def meter(self) -> Meter:
        prices = {("a", "x"): Price(((0, RATES),)), ("b", "y"): Price(((0, CHEAP),))}
        return Meter(self.ledger, NoLimits(), PriceList("v", prices), lambda: NOW)

    def chats(self, meter: Meter | None = None) -> Chats:
        vendors: Any = {"a": self.a, "b": self.b}
        router = Router(vendors, self, asyncio.sleep, dice=lambda: 0.0)
        routes = Routes({"ab": Alias((A, B))}, frozenset("ab"))
        return Chats(
            lambda: routes, router, meter or self.meter, Deadlines(), 1000, monotonic=lambda: self.now
        )

    def of(self, vendor: str) -> list[Key]:
        return [Key(vendor, "secret")]

    def budget(self, nano_usd: int) -> None:
        self.ledger.put_budget(day(nano_usd))

    def entries(self) -> list[tuple[str, str, str, int, int]]:
        """Call, vendor, outcome, attempt, nano-dollars."""
        what = "call_id, vendor, outcome, attempts, nano_usd FROM ledger_entries ORDER BY call_id"
        return [tuple(row) for row in ledger_rows(self.url, f"SELECT {what}")]

    def reserved(self) -> int:
        return sum(row[0] for row in ledger_rows(self.url, "SELECT nano_usd FROM ledger_claims"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    url = sqlite_ledger_url(tmp_path)
    with ledger_on(url) as ledger:
        yield World(url, ledger)


CALL = Call("c", Account("t", "k"))


def prompt(model: str = "ab", **changes: Any) -> Prompt:
    usual: dict[str, Any] = {"max_tokens": 50, "size": 100}
    return Prompt("", model, read=lambda: ChatRequest(()), **{**usual, **changes})


# Most that `prompt` can cost, at A.
MOST = (100 + 400) * READ + 50 * WRITTEN


def broken(*, charged: bool) -> VendorError:
    return VendorError("a", Failure.CONNECTION, "gone", charged=charged)


def run(do: Callable[[], Awaitable[Any]]) -> Any:
    async def doing() -> Any:
        return await do()

    return asyncio.run(doing())


def complete(world: World, asked: Prompt | None = None) -> Any:
    return run(lambda: world.chats().complete(asked or prompt(), CALL))


def test_a_call_costs_what_the_vendor_says(world: World) -> None:
    world.budget(MOST)
    world.a.answers = ["well"]
    _, bill = complete(world)
    assert (bill.nano_usd, bill.attempts) == (COST, 1)
    assert world.entries() == [("c", "a", "ok", 1, COST)]
    assert world.reserved() == 0


def test_a_vendor_who_refused_charges_nothing(world: World) -> None:
    world.budget(MOST)
    world.a.answers, world.b.answers = [broken(charged=False)], ["well"]
    _, bill = complete(world)
    assert (bill.target, bill.attempts) == (B, 2)
    assert world.entries() == [("c", "b", "ok", 2, 10 + 40)]


def test_an_attempt_that_may_be_charged_has_an_entry_of_its_own(world: World) -> None:
    world.budget(2 * MOST)
    world.a.answers, world.b.answers = [broken(charged=True)], ["well"]
    _, bill = complete(world)
    assert world.entries() == [("c", "a", "failed", 1, MOST), ("c.2", "b", "ok", 2, bill.nano_usd)]
    assert bill.nano_usd == 10 + 40
    assert world.reserved() == 0


def test_what_such_an_attempt_leaves_too_little_for_is_not_tried(world: World) -> None:
    world.budget(2 * MOST - 1)
    world.a.answers, world.b.answers = [broken(charged=True)], ["well"]
    with pytest.raises(BudgetExceeded):
        complete(world)
    assert world.b.asked == 0
    assert world.entries() == [("c", "a", "failed", 1, MOST)]
    assert world.reserved() == 0


def test_a_request_that_cannot_be_said_to_a_vendor_costs_nothing(world: World) -> None:
    world.a.answers = [InvalidArgument("INVALID_FIELD", "no")]
    with pytest.raises(InvalidArgument):
        complete(world)
    assert world.entries() == [("c", "a", "failed", 1, 0)]


@pytest.mark.parametrize("error", [asyncio.CancelledError, RuntimeError])
def test_a_caller_who_leaves_pays_for_what_may_have_been_written(world: World, error: Any) -> None:
    world.a.answers = [error()]
    meter = world.meter

    async def leaving() -> None:
        with pytest.raises(error):
            await world.chats(meter).complete(prompt(max_tokens=5000), CALL)
        await meter.drain()

    run(leaving)
    assert world.entries() == [("c", "a", "cancelled", 1, 500 * READ + 1000 * WRITTEN)]


def pieces(*texts: str) -> list[Delta]:
    return [Delta(text=text) for text in texts]


def stream(world: World, leave_after: int | None = None, asked: Prompt | None = None) -> list[Any]:
    """What a caller gets who leaves after so many pieces."""
    seen: list[Any] = []
    meter = world.meter

    async def reading() -> None:
        async with aclosing(world.chats(meter).stream(asked or prompt(), CALL)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                seen.append(delta)
                if len(seen) == leave_after:
                    break
        await meter.drain()

    run(reading)
    return seen


def test_a_stream_ends_with_its_bill(world: World) -> None:
    world.a.answers = [[*pieces("one", "two"), Delta(finish=Finish.STOP), Delta(usage=SAID)]]
    seen = stream(world)
    assert (seen[-1].nano_usd, world.a.left) == (COST, 1)
    assert world.entries() == [("c", "a", "ok", 1, COST)]


def test_a_stream_without_usage_is_guessed_from_its_bytes(world: World) -> None:
    world.a.answers = [[*pieces("ä" * 10, "b" * 11), Delta(finish=Finish.STOP)]]
    bill = stream(world)[-1]
    assert bill.usage == Usage(input=500, output=16, estimated=True)


def test_a_stream_that_is_left_ends_the_vendors_work_and_pays_for_what_nobody_saw(world: World) -> None:
    world.a.answers = [pieces(*"abcdef")]
    stream(world, leave_after=3, asked=prompt(max_tokens=5000))
    assert world.a.left == 1
    assert world.entries() == [("c", "a", "cancelled", 1, 500 * READ + (2 + 1000) * WRITTEN)]


def test_silence_is_paid_for_up_to_the_bound_of_the_answer(world: World) -> None:
    async def silence() -> None:
        world.now += 3.0

    world.a.answers = [[*pieces("ab"), silence, broken(charged=True)]]
    with pytest.raises(AppError):
        stream(world, asked=prompt(max_tokens=5000))
    assert world.entries() == [("c", "a", "cut", 1, 500 * READ + (1 + 4000) * WRITTEN)]
    assert guessed(Size(7, 3000, 0), 2, unseen(3.0)) == Usage(input=7, output=3000, estimated=True)


def test_who_leaves_when_all_was_said_pays_what_it_cost(world: World) -> None:
    world.a.answers = [[*pieces("ab"), Delta(finish=Finish.STOP), Delta(usage=SAID), Delta()]]
    stream(world, leave_after=3)
    assert world.entries() == [("c", "a", "cancelled", 1, COST)]


def test_what_a_vendor_says_at_the_beginning_is_known_of_a_stream_that_is_cut(world: World) -> None:
    world.a.answers = [[Delta(usage=Usage(input=10, output=1)), *pieces("ab"), broken(charged=True)]]
    with pytest.raises(AppError):
        stream(world, asked=prompt(max_tokens=5000))
    assert world.entries() == [("c", "a", "cut", 1, 10 * READ + 1001 * WRITTEN)]


def test_before_the_first_content_another_target_takes_over(world: World) -> None:
    world.a.answers = [[Delta(completion_id="id"), broken(charged=True)]]
    world.b.answers = [[*pieces("well"), Delta(finish=Finish.STOP, usage=SAID)]]
    seen = stream(world)
    assert [one.text for one in seen[:-1]] == ["well", ""]
    assert [entry[:3] for entry in world.entries()] == [("c", "a", "failed"), ("c.2", "b", "ok")]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"choices": -3}, "n"),
        ({"choices": 0}, "n"),
        ({"choices": 10**9}, "n"),
    ],
)
def test_amounts_that_would_give_a_budget_back_are_refused(world: World, changes: Any, field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        complete(world, prompt(**changes))
    assert world.entries() == []
    assert world.a.asked == 0


def test_a_tab_is_closed_once(world: World) -> None:
    world.budget(MOST)
    meter = world.meter

    async def closing() -> None:
        size = Size(500, 50, 10)
        quote = meter.quote(Alias((A,)), size)
        tab = await meter.open("c", CALL.account, "chat", quote, size, 10)
        await tab.attempt()
        await tab.close(Outcome.OK, A, SAID)
        await tab.close(Outcome.FAILED, A, Usage(1, output=1))
        tab.close_later(Outcome.CANCELLED, A, Usage(2, output=2))
        await meter.drain()

    run(closing)
    assert world.entries() == [("c", "a", "ok", 1, COST)]


def test_whoever_settles_may_be_cancelled(world: World) -> None:
    meter = world.meter

    async def closing() -> None:
        size = Size(500, 50, 10)
        tab = await meter.open("c", CALL.account, "chat", meter.quote(Alias((A,)), size), size, 10)
        await tab.attempt()
        task = asyncio.create_task(tab.close(Outcome.OK, A, SAID))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        await meter.drain()

    run(closing)
    assert world.entries() == [("c", "a", "ok", 1, COST)]
    assert world.reserved() == 0


def test_the_end_waits_for_calls_that_are_ending(world: World) -> None:
    ending, meter = asyncio.Event(), world.meter
    world.a.answers = [ending.wait]

    async def scenario() -> None:
        call = asyncio.create_task(world.chats(meter).complete(prompt(), CALL))
        while not world.a.asked:
            await asyncio.sleep(0.001)
        draining = asyncio.create_task(meter.drain())
        await asyncio.sleep(0.05)
        assert not draining.done()
        ending.set()
        await call
        await draining

    run(scenario)
    assert world.entries() == [("c", "a", "ok", 1, COST)]
