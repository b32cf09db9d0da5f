"""What is done for an enhancement: proposals asked for, sweeps made and watched, the choice tested.

What is to be done is written down before it is done, and every sweep has the request id that its place in the
enhancement gives it: whoever comes after a crash makes none twice, and goes on to the same end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from services.ai_gateway.application.consult import Answer, Consult, Question
from services.ai_gateway.application.ports import (
    Caller,
    EnhancementStore,
    HeldEnhancement,
    Order,
    Sweeps,
)
from services.ai_gateway.domain.enhancement import Enhancement, Problem, Recommendation, Run, State
from services.ai_gateway.domain.enhancing import (
    Step,
    final,
    finalists,
    first_search,
    merged,
    next_step,
    verdict,
)
from services.ai_gateway.domain.finals import Finals
from services.ai_gateway.domain.trials import Arm, Measured, Search
from services.chassis.clock import Clock
from services.chassis.errors import AppError, DeadlineExceeded, FailedPrecondition, ResourceExhausted

log = logging.getLogger("enhancements")
Found = TypeVar("Found")
CALL_SECONDS = 60.0
LONGEST_WAIT = 60.0
_NO_MONEY = "max_cost_usd was used up"


@dataclass(frozen=True)
class Means:
    """What enhancements are made with.

    api_key: with which the training service is asked on the tenant's behalf. every: seconds between two
    looks. lease: for which one is held; so long nobody goes on with it after a crash.
    """

    store: EnhancementStore
    trainer: Sweeps
    consult: Consult
    clock: Clock
    api_key: str
    every: float
    lease: timedelta


class Turn:
    """One enhancement, until there is nothing to do for it but wait."""

    def __init__(self, means: Means, held: HeldEnhancement) -> None:
        self._means, self._held = means, held
        self._trainer = means.trainer

    async def go(self) -> None:
        """Raises Overtaken."""
        try:
            if self._one.stop:
                await self._stop()
            elif self._one.finals is None:
                await self._search()
            if self._one.finals and not self._one.ended and not self._one.stop:
                await self._test(self._one.finals)
        except (ResourceExhausted, DeadlineExceeded) as error:  # Unavailable is one of these
            await self._missed(error)
        except AppError as error:
            await self._end(State.FAILED, problem=Problem(error.code, error.reason, error.message))
        else:
            if not self._one.ended:
                await self._rest(self._means.every, failures=0)

    @property
    def _one(self) -> Enhancement:
        return self._held.enhancement

    # The arms

    async def _search(self) -> None:
        await self._advance(self._one.start)
        if not self._one.start.ended:
            return
        if not self._one.start.trials or self._one.start.trials[0].validation is None:
            raise _unmeasured(self._one.start)
        for run in self._one.runs[1:]:
            if not run.ended:
                await self._advance(run)
        if all(run.ended for run in self._one.runs):
            await self._choose()

    async def _advance(self, run: Run) -> None:
        """As far as can be done now."""
        try:
            while not run.ended:
                search = run.searches[-1] if run.searches else None
                if search is None or search.measured.ended:
                    run = await self._begin(run)
                elif not search.sweep_id:
                    run = await self._make(run, search)
                else:
                    measured = await self._ask(self._trainer.sweep, search.sweep_id)
                    measured = replace(measured, rejections=search.measured.rejections)
                    if measured != search.measured:
                        run = await self._saved(_with(run, replace(search, measured=measured)))
                    if not measured.ended:
                        return
        except (ResourceExhausted, DeadlineExceeded):
            raise
        except AppError as error:
            if run.arm is Arm.DEFAULT:
                raise
            await self._saved(replace(run, ended=True, note=error.message))

    async def _begin(self, run: Run) -> Run:
        """Plans the next sweep, and asks for its proposals."""
        one = self._one
        if run.arm is Arm.DEFAULT:
            if run.searches:
                return await self._saved(replace(run, ended=True))
            return await self._saved(
                replace(run, searches=(first_search(one.subject.values, one.subject.seed),))
            )
        step = next_step(run, one.asked.max_trials)
        left = one.money_left
        if step is None or (left is not None and left <= 0):
            note = _NO_MONEY if step else run.note or _short_of(run, one.asked.max_trials)
            return await self._saved(replace(run, ended=True, note=note))
        search, answers = await self._proposals(run, step)
        consultations = (*one.consultations, *(answer for answer, _ in answers))
        return await self._saved(replace(run, searches=(*run.searches, search)), consultations=consultations)

    async def _proposals(self, run: Run, step: Step) -> tuple[Search, list[Answer]]:
        one, answers = self._one, []
        tried = (*one.start.trials, *run.trials)
        if step.ask:
            question = Question(run.arm, len(run.searches) + 1, step.ask, tried)
            if run.arm.asks_models:
                profile = await self._ask(self._trainer.profile, one.subject)
                answers = await self._means.consult.models(one, profile, question, one.money_left)
            else:
                answers = [await self._means.consult.advisor(one, question, self._caller())]
        proposals = merged([found for _, found in answers], [trial.values for trial in tried], step.ask)
        size = step.size if step.sampler else len(proposals)
        return Search(size, step.sampler, tuple(proposals)), answers

    async def _make(self, run: Run, search: Search) -> Run:
        """The sweep, without the proposals that the training service refuses."""
        place = run.searches.index(search)
        order = self._order(search, f"{run.arm}-{place + 1}")
        if run.arm is not Arm.DEFAULT:
            order = replace(order, learn_from=_measured_before(self._one, run))
        refused = await self._ask(self._trainer.refused, order) if search.proposals else []
        bad = {one.index for one in refused}
        good = tuple(one for place, one in enumerate(search.proposals) if place not in bad)
        size = search.size if search.sampler else len(good)
        search = replace(
            search, size=size, proposals=good, measured=Measured(not size, rejections=tuple(refused))
        )
        if size:
            order = replace(order, proposals=good, trials=size)
            search = replace(search, sweep_id=await self._ask(self._trainer.create_sweep, order))
        return await self._saved(_with(run, search))

    def _order(self, search: Search, name: str) -> Order:
        one = self._one
        left = one.money_left if one.training_usd else None  # where training has no price, it takes no limit
        return Order(
            f"{one.enhancement_id}-{name}",
            one.subject.base,
            one.subject.space,
            search.size,
            search.sampler,
            search.proposals,
            max_cost_usd=max(left, 1e-9) if left is not None else 0.0,
        )

    # The choice

    async def _choose(self) -> None:
        one, chosen = self._one, finalists(self._one)
        count = sum(len(run.trials) for run in one.runs[1:])
        if len(chosen) == 1:
            text = (
                f"No improvement found: none of {count} trials did better than the input on validation rows."
            )
            await self._end(State.SUCCEEDED, recommendation=Recommendation.KEEP, reason=text)
            return
        left = one.money_left
        if left is not None and left <= 0:
            text = f"{_NO_MONEY} before what did better on validation rows could be tested."
            await self._end(State.SUCCEEDED, recommendation=Recommendation.KEEP, reason=text)
            return
        await self._save(replace(one, finals=final(chosen, one.subject.seed)))

    async def _test(self, finals: Finals) -> None:
        search = finals.search
        if not search.sweep_id:
            order = replace(self._order(search, "final"), seeds=True, max_cost_usd=0.0)
            search = replace(search, sweep_id=await self._ask(self._trainer.create_sweep, order))
            finals = await self._save_finals(replace(finals, search=search))
        if not search.measured.ended:
            measured = await self._ask(self._trainer.sweep, search.sweep_id)
            finals = await self._save_finals(replace(finals, search=replace(search, measured=measured)))
            if not measured.ended:
                return
        await self._judge(finals)

    async def _judge(self, finals: Finals) -> None:
        winner = finals.winner
        if winner is None:
            raise _unmeasured(replace(self._one.start, searches=(finals.search,)))
        if winner == 0:
            text = (
                f"No improvement found: with {len(finals.seeds)} seeds each, no configuration did better "
                "than the input on validation rows."
            )
            await self._clean("")
            await self._end(State.SUCCEEDED, recommendation=Recommendation.KEEP, reason=text)
            return
        sides = [[trial.model_id for trial in finals.trials_of(place)] for place in (winner, 0)]
        finals = replace(finals, comparison=await self._ask(self._trainer.compare, *sides))
        finals = await self._save_finals(finals)
        assert finals.comparison
        recommendation, reason = verdict(finals.comparison)
        warnings = await self._ask(self._trainer.warnings, sides[0][0])
        await self._clean(sides[0][0])
        await self._end(State.SUCCEEDED, recommendation=recommendation, reason=reason, warnings=warnings)

    async def _clean(self, best: str) -> None:
        """Deletes the models of what was tried, but the best."""
        searches = list(self._one.searches)
        models = {one.measured.model_id for one in searches}
        models |= {trial.model_id for one in searches for trial in one.measured.trials}
        for model_id in sorted(models - {"", best}):
            await self._ask(self._trainer.delete_model, model_id)

    # The end

    async def _stop(self) -> None:
        """Ends its sweeps, and itself when they have ended."""
        one, waits = self._one, False
        for search in one.searches:
            if search.under_way:
                await self._ask(self._trainer.cancel_sweep, search.sweep_id)
                waits = waits or not (await self._ask(self._trainer.sweep, search.sweep_id)).ended
        if not waits:
            await self._end(State.CANCELLED)

    async def _end(self, state: State, **changes: Any) -> None:
        one = self._one.closed(state, self._means.clock(), **changes)
        if state is not State.SUCCEEDED:
            await self._clean_quietly()
        ended = await self._means.store.release(self._held, one, None)
        self._held = replace(self._held, enhancement=ended)
        told = fields(one, state=one.state, recommendation=one.recommendation, nano_usd=one.ai_nano_usd)
        log.info("an enhancement has ended", extra=told)

    async def _clean_quietly(self) -> None:
        try:
            await self._clean("")
        except AppError as error:
            log.warning("models of an enhancement are left", extra=fields(self._one, why=error.message))

    async def _missed(self, error: AppError) -> None:
        failures = self._one.failures + 1
        log.warning("an enhancement waits", extra=fields(self._one, why=error.message))
        await self._rest(min(self._means.every * 2 ** min(failures, 10), LONGEST_WAIT), failures)

    # What it stands on

    def _caller(self) -> Caller:
        deadline = time.monotonic() + CALL_SECONDS
        return Caller(
            deadline, self._one.enhancement_id, api_key=self._means.api_key, tenant=self._one.tenant
        )

    async def _ask(self, call: Callable[..., Found], *arguments: Any) -> Found:
        return await asyncio.to_thread(call, *arguments, self._caller())

    async def _saved(self, run: Run, **changes: Any) -> Run:
        await self._save(replace(self._one.with_run(run), **changes))
        return run

    async def _save_finals(self, finals: Finals) -> Finals:
        await self._save(replace(self._one, finals=finals))
        return finals

    async def _save(self, one: Enhancement) -> None:
        lease = self._means.clock() + self._means.lease
        self._held = await self._means.store.save(self._held, one, lease)

    async def _rest(self, seconds: float, failures: int) -> None:
        due = self._means.clock() + timedelta(seconds=seconds)
        await self._means.store.release(self._held, replace(self._one, failures=failures), due)


def _with(run: Run, search: Search) -> Run:
    return replace(run, searches=(*run.searches[:-1], search))


def _measured_before(one: Enhancement, run: Run) -> tuple[str, ...]:
    """Sweeps that the arm may learn from: what all began with, and its own."""
    return tuple(search.sweep_id for search in (*one.start.searches, *run.searches[:-1]) if search.sweep_id)


def _short_of(run: Run, budget: int) -> str:
    missing = run.left(budget)
    return f"{missing} of its {budget} trials were not used: there were no more proposals" if missing else ""


def _unmeasured(run: Run) -> AppError:
    """Nothing can be compared with an input that has no result."""
    found = [one.problem for one in run.trials] + [one.measured.problem for one in run.searches]
    why = next((text for text in found if text), "it has no result")
    return FailedPrecondition("ENHANCEMENT_IMPOSSIBLE", f"The input could not be measured: {why}")


def fields(one: Enhancement, **more: object) -> dict[str, object]:
    """What a line of the log says of it."""
    return {"fields": {"enhancement_id": one.enhancement_id, **more}}
