"""Asks those who may have proposals: language models, several at once, and the embedded advisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.advice import Advice
from services.ai_gateway.application.chats import Call, Chats
from services.ai_gateway.application.ports import Caller
from services.ai_gateway.application.reuse import ReusingChats
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Completion, Text
from services.ai_gateway.domain.consulting import Profile, prompt, read
from services.ai_gateway.domain.enhancement import Consultation, Enhancement
from services.ai_gateway.domain.trials import Arm, Proposed, Trial
from services.chassis.clock import new_id
from services.chassis.errors import AppError

ADVISOR = "local"
ANSWER_SECONDS = 120.0
CALL_SYMBOLS = 20


@dataclass(frozen=True)
class Question:
    """Who asks, the how-manieth time, and for how many proposals; tried: what the arm knows already."""

    arm: Arm
    round: int
    wanted: int
    tried: Sequence[Trial]


Answer = tuple[Consultation, tuple[Proposed, ...]]


@dataclass(frozen=True)
class Consult:
    """What goes wrong with one of them is in its answer, and harms nobody else's."""

    chats: Chats
    reusing: ReusingChats
    advice: Advice

    async def models(
        self, one: Enhancement, profile: Profile, question: Question, left: float | None
    ) -> list[Answer]:
        """All models at once. left: US dollars that they may cost together; None for no limit."""
        share = None if left is None else int(left * 1e9) // max(len(one.asked.models), 1)
        asking = (self._model(one, model, profile, question, share) for model in one.asked.models)
        return list(await asyncio.gather(*asking))

    async def advisor(self, one: Enhancement, question: Question, caller: Caller) -> Answer:
        """The rules' proposals."""
        began = time.monotonic()
        asked = Consultation(question.arm, question.round, ADVISOR)
        try:
            found = await asyncio.to_thread(self.advice, one.subject, question.wanted, caller)
        except AppError as error:
            return _without(asked, error.message, began), ()
        problem = "" if found else "no rule applies"
        answered = Consultation(question.arm, question.round, ADVISOR, len(found), problem=problem)
        return answered, tuple(found)

    async def _model(
        self, one: Enhancement, model: str, profile: Profile, question: Question, share: int | None
    ) -> Answer:
        began = time.monotonic()
        asked = Consultation(question.arm, question.round, model)
        words = prompt(model, one.subject, profile, question.tried, question.wanted)
        # Asked again after a crash, it is answered again, and paid for once.
        once = f"{one.enhancement_id}-{question.arm}-{question.round}-{model}"
        account = Account(one.tenant, one.key)
        call = Call(new_id("call", CALL_SYMBOLS), account, ANSWER_SECONDS, idempotency_key=once)
        try:
            if share is not None and self.chats.most_nano_usd(words) > share:
                return _without(asked, "the call might cost more than is left of max_cost_usd", began), ()
            answer, bill = await self.reusing.complete(words, call)
        except AppError as error:
            return _without(asked, error.message, began), ()
        return _answered(one, asked, answer, bill, began)


def _answered(one: Enhancement, asked: Consultation, answer: Completion, bill: Bill, began: float) -> Answer:
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    found = read(text, asked.source, one.subject.parameters)
    consultation = Consultation(
        asked.arm,
        asked.round,
        asked.source,
        found.count,
        found.rejections,
        found.problem,
        bill.nano_usd,
        bill.usage.input_total,
        bill.usage.output,
        round(time.monotonic() - began, 3),
    )
    return consultation, found.proposals


def _without(asked: Consultation, problem: str, began: float) -> Consultation:
    seconds = round(time.monotonic() - began, 3)
    return Consultation(asked.arm, asked.round, asked.source, problem=problem, seconds=seconds)
