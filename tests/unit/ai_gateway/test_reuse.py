"""One answer for all who ask the same, paid once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from services.ai_gateway.adapters.answers_memory import MemoryAnswers
from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.chats import Call
from services.ai_gateway.application.ports import AnswerKey, Kept
from services.ai_gateway.application.reuse import ReusingChats
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import ChatRequest, Delta, Finish
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Target
from services.ai_gateway.domain.usage import Usage
from services.chassis.errors import AlreadyExists

BILL = Bill(Target("a", "x"), Usage(1, output=1), 7, 1)
CALL = Call("c", Account("t"), idempotency_key="once")


class SlowAnswers(MemoryAnswers):
    """As one in a database is: nothing is known at once."""

    async def get(self, key: AnswerKey) -> Kept | None:
        found = await super().get(key)
        await asyncio.sleep(0.01)
        return found

    async def put(self, key: AnswerKey, answer: Kept, seconds: float) -> None:
        await super().put(key, answer, seconds)
        await asyncio.sleep(0.01)


class World:
    """Chats that answer when they may. asked: how long each caller would wait. free: bills given again."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[float | None] = []
        self.free: list[int] = []
        chats: Any = self
        self.reusing = ReusingChats(chats, chats, SlowAnswers(), SlowAnswers())

    async def stream(self, _prompt: Prompt, call: Call) -> AsyncGenerator[Delta | Bill, None]:
        self.asked.append(call.left)
        yield Delta(text="hi")
        await self.go.wait()
        yield Delta(finish=Finish.STOP)
        yield BILL

    async def again(self, _call_id: str, _account: Account, _endpoint: str, bill: Bill) -> None:
        self.free.append(bill.nano_usd)

    async def bill(self, call: Call = CALL, model: str = "m") -> Bill:
        asked = Prompt("", model, 10, lambda: ChatRequest(()), fields={"model": model.encode()})
        *_, last = [item async for item in self.reusing.stream(asked, call)]
        assert isinstance(last, Bill)
        return last


def test_one_pays_and_the_others_do_not_whenever_they_come() -> None:
    async def scene() -> None:
        world = World()
        world.go.set()
        callers = []
        for _ in range(12):  # before, while and after the answer is being kept
            callers.append(asyncio.create_task(world.bill()))
            await asyncio.sleep(0.004)
        bills = await asyncio.gather(*callers)
        assert len(world.asked) == 1
        assert sorted(bill.nano_usd for bill in bills) == [0] * 11 + [7]
        assert world.free == [7] * 11

    asyncio.run(scene())


def test_a_key_is_for_one_request_while_that_is_under_way_too() -> None:
    async def scene() -> None:
        world = World()
        first = asyncio.create_task(world.bill())
        await asyncio.sleep(0.03)
        with pytest.raises(AlreadyExists):
            await world.bill(model="another")
        world.go.set()
        assert (await first).nano_usd == 7
        with pytest.raises(AlreadyExists):
            await world.bill(model="another")

    asyncio.run(scene())


def test_the_first_one_s_hurry_is_nobody_elses() -> None:
    async def scene() -> None:
        world = World()
        hurried = asyncio.create_task(world.bill(replace(CALL, left=0.1)))
        patient = asyncio.create_task(world.bill())
        await asyncio.sleep(0.03)
        hurried.cancel()
        world.go.set()
        assert (await patient).nano_usd == 0
        assert world.asked == [None]

    asyncio.run(scene())
