"""Enhancements on a real database; a process dies at every place where it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from services.ai_gateway.adapters.enhancements_sql import SqlEnhancements
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.consult import Answer, Question
from services.ai_gateway.application.enhance_turns import EnhanceTurns
from services.ai_gateway.application.enhancements import Enhancements, best_model
from services.ai_gateway.application.held_enhancement import Means
from services.ai_gateway.application.ports import Caller, Overtaken
from services.ai_gateway.domain.consulting import Profile
from services.ai_gateway.domain.enhancement import (
    Asked,
    Consultation,
    Enhancement,
    Recommendation,
    State,
)
from services.ai_gateway.domain.routing import Routes
from services.ai_gateway.domain.trials import Arm, Proposed
from services.ai_gateway.rpc.mapping_enhancements import enhancement as on_the_wire
from services.ai_gateway.rpc.report import html, markdown
from services.chassis.database import Database
from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.group_commit import GroupCommit
from services.chassis.schema import migrate
from tests.contract.laboratory import Laboratory
from tests.contract.ledgers import SCRIPTS, sqlite_ledger_url
from tests.contract.postgres import Postgres
from tests.unit.ai_gateway.enhancement_samples import NOW

LEASE = timedelta(seconds=10)
ACCOUNT, CALLER = Account("t"), Caller(0, tenant="t")
ALL = (Arm.RANDOM, Arm.TPE, Arm.LLM, Arm.HYBRID, Arm.LOCAL)


class Died(Exception):
    """Nothing more is done by this process."""


class Mortal:
    """Dies at its `last` call, before or after that is done; calls of all that share `calls` count."""

    def __init__(self, real: Any, calls: Iterator[int], last: int, before: bool) -> None:
        self._real, self._calls, self._last, self._before = real, calls, last, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if asyncio.iscoroutinefunction(found):

            async def later(*given: Any) -> Any:
                number = self._begins()
                return self._ends(number, await found(*given))

            return later

        def now(*given: Any) -> Any:
            number = self._begins()
            return self._ends(number, found(*given))

        return now

    def _begins(self) -> int:
        number = next(self._calls)
        if number > self._last or (number == self._last and self._before):
            raise Died
        return number

    def _ends(self, number: int, answer: Any) -> Any:
        if number == self._last:
            raise Died
        return answer


@dataclass
class Voices:
    """In place of `Consult`: the first model proposes; others answer as `problems` says."""

    problems: dict[str, str] = field(default_factory=dict)
    bad: bool = False
    nano_usd: int = 0

    async def models(
        self, one: Enhancement, profile: Profile, question: Question, left: float | None
    ) -> list[Answer]:
        return [self._answer(question, model) for model in one.asked.models]

    async def advisor(self, one: Enhancement, question: Question, caller: Caller) -> Answer:
        return self._answer(question, "local")

    def _answer(self, question: Question, source: str) -> Answer:
        asked = Consultation(question.arm, question.round, source, nano_usd=self.nano_usd)
        if problem := self.problems.get(source):
            return replace(asked, problem=problem), ()
        rates = [0.02 / (len(question.tried) + place) for place in range(question.wanted)]
        values: list[dict[str, Any]] = [{"algorithm": "mlp", "mlp.learning_rate": one} for one in rates]
        if self.bad:
            values = [{**one, "class_weight": "none"} for one in values]
        return replace(asked, proposals=len(values)), tuple(Proposed(one, source) for one in values)


class Bench:
    """What a process has of enhancements, and the time."""

    def __init__(self, database: Database, commits: GroupCommit) -> None:
        self.store, self.lab, self.voices = SqlEnhancements(database, commits), Laboratory(), Voices()
        self.now: datetime = NOW
        keys = KeyRing({"openai": ["k"], "xai": ["k"]}, {})
        routes = Routes({}, frozenset(("openai", "anthropic", "xai")))
        self.use = Enhancements(
            self.store, self.lab, lambda: routes, keys, lambda: self.now, lambda: None, may_train=True
        )

    def turns(self, last: int = 10**9, before: bool = False) -> EnhanceTurns:
        """A process, that dies at its call of that number."""
        calls = count(1)
        parts: list[Any] = [Mortal(one, calls, last, before) for one in (self.store, self.lab, self.voices)]
        return EnhanceTurns(Means(*parts, lambda: self.now, "", 1.0, LEASE))

    async def create(self, **asked: Any) -> Enhancement:
        usual = {"job_id": "j", "max_trials": 6, "models": ("openai",)}
        return await self.use.create(Asked(**{**usual, **asked}), ACCOUNT, CALLER)

    async def ended(self, one: Enhancement) -> Enhancement:
        """By a process that lives."""
        for _ in range(60):
            self.now += LEASE + timedelta(seconds=1)
            await self.turns().round()
            found = await self.use.get(one.enhancement_id, "t")
            if found.ended:
                return found
        raise AssertionError(found)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_ledger_url(tmp_path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.empty()
    migrate(url, SCRIPTS)
    yield url
    server.drop(url)


@asynccontextmanager
async def bench(url: str) -> AsyncIterator[Bench]:
    database = Database(url, lazy=True)
    commits = GroupCommit(database)
    try:
        yield Bench(database, commits)
    finally:
        commits.close()
        database.close()


def test_only_the_holder_writes_and_a_stop_is_seen(url: str) -> None:
    async def scenario() -> None:
        async with bench(url) as it:
            one = await it.create()
            assert not await it.store.add(one, NOW)
            [held] = await it.store.take(NOW, NOW + LEASE, 8)
            assert await it.store.take(NOW, NOW + LEASE, 8) == []
            later = NOW + LEASE
            [taken] = await it.store.take(later, later + LEASE, 8)
            with pytest.raises(Overtaken):
                await it.store.save(held, one, later)
            with pytest.raises(Overtaken):
                await it.store.release(held, one, None)
            await it.store.stop(one.enhancement_id, "other", later)
            assert not (await it.store.save(taken, one, later)).enhancement.stop
            await it.store.stop(one.enhancement_id, "t", later)
            assert (await it.store.save(taken, one, later)).enhancement.stop
            await it.store.release(taken, one.closed(State.CANCELLED, later), None)
            assert await it.store.take(later + 9 * LEASE, later + 10 * LEASE, 8) == []
            assert await it.store.get(one.enhancement_id, "other") is None
            assert [found.state for found in await it.store.page("t", 9, None)] == [State.CANCELLED]
            await it.store.forget(later)
            assert await it.store.get(one.enhancement_id, "t")
            await it.store.forget(later + timedelta(seconds=1))
            assert await it.store.get(one.enhancement_id, "t") is None

    asyncio.run(scenario())


def test_all_arms_have_their_trials_and_the_best_is_recommended(url: str) -> None:
    async def scenario() -> None:
        async with bench(url) as it:
            found = await it.ended(await it.create(arms=ALL, models=("openai", "xai")))
            assert (found.state, found.recommendation) == (State.SUCCEEDED, Recommendation.ADOPT)
            assert [run.arm for run in found.runs] == [Arm.DEFAULT, *ALL]
            assert {len(run.trials) for run in found.runs[1:]} == {6}
            assert found.warnings == ("the column b is odd",)
            assert it.lab.models == {best_model(found)}
            wire = on_the_wire(found)
            assert wire.best.model_id == best_model(found)
            assert {one.source for one in wire.consultations} == {
                "openai/gpt-5-mini",
                "xai/grok-4",
                "local",
            }
            assert all(one.tried_count for one in wire.consultations if one.round == 1)
            assert "ADOPT" in markdown(wire)
            assert "ADOPT" in html(wire)

    asyncio.run(scenario())


def test_wherever_a_process_dies_it_comes_to_the_same_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            asked: dict[str, Any] = {"arms": (Arm.HYBRID, Arm.LLM), "max_trials": 4}
            whole = shown(await it.ended(await it.create(**asked)))
            for last in count(1):
                for before in (True, False):
                    one = await it.create(**asked)
                    done = len(it.lab.sweeps)
                    it.now += timedelta(seconds=1)
                    for turn in range(30):  # until the one call that kills has been made
                        with suppress(Died):
                            await it.turns(last if not turn else 10**9, before).round()
                        it.now += LEASE + timedelta(seconds=1)
                        if (await it.use.get(one.enhancement_id, "t")).ended:
                            break
                    found = await it.use.get(one.enhancement_id, "t")
                    assert shown(found) == whole, (last, before)
                    assert len(it.lab.sweeps) - done == len([one for one in found.searches if one.sweep_id])
                    assert it.lab.models >= {best_model(found)}
                if last == 12:
                    return

    asyncio.run(scenario())


def shown(one: Enhancement) -> Any:
    """All but ids and times."""
    trials = [
        [(trial.number, trial.values, trial.validation, trial.source) for trial in run.trials]
        for run in one.runs
    ]
    said = [replace(asked, seconds=0.0) for asked in one.consultations]
    assert one.finals
    return trials, said, one.finals.finalists, one.recommendation, one.reason


@pytest.mark.parametrize("problem", ["the answer is no JSON: Certainly!", "the vendor is away"])
def test_a_model_that_says_nothing_harms_nobody_else(url: str, problem: str) -> None:
    async def scenario() -> None:
        async with bench(url) as it:
            it.voices.problems = {"openai/gpt-5-mini": problem}
            both = await it.ended(await it.create(arms=(Arm.LLM,), models=("openai", "xai")))
            assert len(both.runs[1].trials) == 6
            alone = await it.ended(await it.create(arms=(Arm.LLM, Arm.HYBRID)))
            assert (alone.state, len(alone.runs[1].trials), len(alone.runs[2].trials)) == (
                State.SUCCEEDED,
                0,
                6,
            )
            assert "no more proposals" in alone.runs[1].note
            assert problem in markdown(on_the_wire(alone)).replace("\\", "")

    asyncio.run(scenario())


def test_what_the_training_service_refuses_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            it.voices.bad = True
            found = await it.ended(await it.create(arms=(Arm.LLM,)))
            assert (found.state, found.recommendation) == (State.SUCCEEDED, Recommendation.KEEP)
            assert found.reason.startswith("No improvement found: none of 0 trials")
            assert list(on_the_wire(found).consultations[0].rejections) == ["is bad"] * 2

    asyncio.run(scenario())


def test_without_a_key_the_advisor_and_tpe_search(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            use = replace(it.use, keys=KeyRing({}, {}))
            one = await use.create(Asked("j", max_trials=3), ACCOUNT, CALLER)
            assert [run.arm for run in one.runs] == [Arm.DEFAULT, Arm.LOCAL, Arm.TPE]
            other = await use.create(Asked("j", arms=(Arm.LLM,)), ACCOUNT, CALLER)
            assert (other.runs[1].ended, other.runs[1].note) == (
                True,
                "it did not run: no provider has a key",
            )
            with pytest.raises(InvalidArgument, match="no key is configured"):
                await use.create(Asked("j", models=("openai",)), ACCOUNT, CALLER)

    asyncio.run(scenario())


def test_no_gain_beyond_chance_is_an_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            it.lab.gain = 0.2
            found = await it.ended(await it.create())
            assert found.recommendation is Recommendation.KEEP
            assert "beyond chance" in found.reason
            with pytest.raises(FailedPrecondition):
                await it.use.adopt(found.enhancement_id, "n", "", False, "t", CALLER)
            forced = await it.use.adopt(found.enhancement_id, "n", "", True, "t", CALLER)
            assert it.lab.registered == {"n@champion": forced.model_id}
            assert await it.use.adopt(found.enhancement_id, "n", "", False, "t", CALLER) == forced

    asyncio.run(scenario())


def test_an_input_that_cannot_be_trained_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            it.lab.broken = True
            found = await it.ended(await it.create())
            assert found.state is State.FAILED
            assert found.problem
            assert "no column is left" in found.problem.message
            assert html(on_the_wire(found))

    asyncio.run(scenario())


def test_training_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            one = await it.create()
            it.lab.away = 7
            assert (await it.ended(one)).recommendation is Recommendation.ADOPT

    asyncio.run(scenario())


def test_money_that_is_used_up_ends_the_search(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            it.voices.nano_usd = 600_000_000
            found = await it.ended(await it.create(arms=(Arm.LLM, Arm.TPE), max_cost_usd=1.0))
            assert found.runs[1].note == found.runs[2].note or found.runs[1].note
            assert found.ai_nano_usd == 1_200_000_000  # it was 1.0 when the second call was made
            assert "max_cost_usd was used up" in found.runs[1].note
            assert found.recommendation is Recommendation.KEEP

    asyncio.run(scenario())


def test_one_that_is_cancelled_ends_its_sweeps(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            one = await it.create()
            await it.turns().round()
            await it.use.cancel(one.task_id, "t")
            found = await it.ended(one)
            assert found.state is State.CANCELLED
            assert len(it.lab.cancelled) == 1
            assert (await it.use.cancel(one.task_id, "t")).state is State.CANCELLED
            for call in (it.use.task("task-none", "t"), it.use.task(one.task_id, "other")):
                with pytest.raises(NotFound):
                    await call

    asyncio.run(scenario())


def test_a_request_id_stands_for_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with bench(sqlite_ledger_url(tmp_path)) as it:
            asked = Asked("j", models=("openai",))
            first = await it.use.create(asked, ACCOUNT, CALLER, "r")
            assert await it.use.create(asked, ACCOUNT, CALLER, "r") == first
            assert (await it.use.create(asked, Account("u"), CALLER, "r")).enhancement_id != (
                first.enhancement_id
            )
            with pytest.raises(AlreadyExists):
                await it.use.create(replace(asked, max_trials=3), ACCOUNT, CALLER, "r")

    asyncio.run(scenario())
