"""What is done for an enhancement: proposals asked for, sweeps made and watched, the choice tested.

What is to be done is written down before it is done, and every sweep has the request id that its place in the
enhancement gives it: whoever comes after a crash makes none twice, and goes on to the same end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from services.ai_gateway.application.consult import Answer, Question
from services.ai_gateway.application.held_enhancement import Held, fields
from services.ai_gateway.application.ports import (
    Order,
    Overtaken,
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
from services.chassis.errors import (
    AppError,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
)

log = logging.getLogger("enhancements")
Found = TypeVar("Found")
CALL_SECONDS = 60.0
LONGEST_WAIT = 60.0
MOST_FAILURES = 10
LEAST_USD = 1e-9
_NO_MONEY = "max_cost_usd was used up"
_DEFECT = Problem("INTERNAL", "INTERNAL", "The gateway failed at it.")


class Turn(Held):
    """One enhancement, until there is nothing to do for it but wait."""

    async def go(self) -> None:
        """Raises Overtaken."""
        try:
            if self.one.stop:
                await self._stop()
            elif self.one.finals is None:
                await self._search()
            if self.one.finals and not self.one.ended and not self.one.stop:
                await self._test(self.one.finals)
        except (ResourceExhausted, DeadlineExceeded) as error:  # Unavailable is one of these
            await self._missed(error)
        except AppError as error:
            await self._end(State.FAILED, problem=Problem(error.code, error.reason, error.message))
        except Overtaken:
            raise
        except Exception:
            await self._stumbled()
        else:
            if not self.one.ended:
                await self.rest(self.means.every, failures=0)

    # The arms

    async def _search(self) -> None:
        await self._advance(self.one.start)
        if not self.one.start.ended:
            return
        if not self.one.start.trials or self.one.start.trials[0].validation is None:
            raise _unmeasured(self.one.start)
        for run in self.one.runs[1:]:
            if not run.ended:
                await self._advance(run)
        if all(run.ended for run in self.one.runs):
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
                    measured = await self.ask(self.means.trainer.sweep, search.sweep_id)
                    measured = replace(measured, rejections=search.measured.rejections)
                    if measured != search.measured:
                        run = await self.saved(_with(run, replace(search, measured=measured)))
                    if not measured.ended:
                        return
        except (ResourceExhausted, DeadlineExceeded):
            raise
        except AppError as error:
            if run.arm is Arm.DEFAULT:
                raise
            await self.saved(replace(run, ended=True, note=error.message))

    async def _begin(self, run: Run) -> Run:
        """Plans the next sweep, and asks for its proposals."""
        one = self.one
        if run.arm is Arm.DEFAULT:
            if run.searches:
                return await self.saved(replace(run, ended=True))
            return await self.saved(
                replace(run, searches=(first_search(one.subject.values, one.subject.seed),))
            )
        step = next_step(run, one.asked.max_trials)
        left = one.money_left
        if step is None or (left is not None and left <= 0):
            note = _NO_MONEY if step else run.note or _short_of(run, one.asked.max_trials)
            return await self.saved(replace(run, ended=True, note=note))
        search, answers = await self._proposals(run, step)
        consultations = (*one.consultations, *(answer for answer, _ in answers))
        return await self.saved(replace(run, searches=(*run.searches, search)), consultations=consultations)

    async def _proposals(self, run: Run, step: Step) -> tuple[Search, list[Answer]]:
        one, answers = self.one, []
        tried = (*one.start.trials, *run.trials)
        if step.ask:
            question = Question(run.arm, len(run.searches) + 1, step.ask, tried)
            if run.arm.asks_models:
                profile = await self.ask(self.means.trainer.profile, one.subject)
                answers = await self.means.consult.models(one, profile, question, one.money_left)
            else:
                answers = [await self.means.consult.advisor(one, question, self.caller())]
        proposals = merged([found for _, found in answers], [trial.values for trial in tried], step.ask)
        size = step.size if step.sampler else len(proposals)
        # Where training has no price, it takes no limit.
        limit = one.money_left if one.training_usd else None
        cost = max(limit, LEAST_USD) if limit is not None else 0.0
        return Search(size, step.sampler, tuple(proposals), max_cost_usd=cost), answers

    async def _make(self, run: Run, search: Search) -> Run:
        """The sweep, without the proposals that the training service refuses."""
        place = run.searches.index(search)
        order = self._order(search, f"{run.arm}-{place + 1}")
        if run.arm is not Arm.DEFAULT:
            order = replace(order, learn_from=_measured_before(self.one, run))
        refused = await self.ask(self.means.trainer.refused, order) if search.proposals else []
        bad = {one.index for one in refused}
        good = tuple(one for place, one in enumerate(search.proposals) if place not in bad)
        size = search.size if search.sampler else len(good)
        search = replace(
            search, size=size, proposals=good, measured=Measured(not size, rejections=tuple(refused))
        )
        if size:
            order = replace(order, proposals=good, trials=size)
            search = replace(search, sweep_id=await self.ask(self.means.trainer.create_sweep, order))
        return await self.saved(_with(run, search))

    def _order(self, search: Search, name: str) -> Order:
        one = self.one
        return Order(
            f"{one.enhancement_id}-{name}",
            one.subject.base,
            one.subject.space,
            search.size,
            search.sampler,
            search.proposals,
            max_cost_usd=search.max_cost_usd,
        )

    # The choice

    async def _choose(self) -> None:
        one, chosen = self.one, finalists(self.one)
        count = sum(len(run.trials) for run in one.runs[1:])
        if len(chosen) == 1:
            text = (
                f"No improvement found: none of {count} trials did better than the input on validation rows."
            )
            await self._keep(text)
            return
        left = one.money_left
        if left is not None and left <= 0:
            await self._keep(f"{_NO_MONEY} before what did better on validation rows could be tested.")
            return
        await self.save(replace(one, finals=final(chosen, one.subject.seed, one.asked.max_trials)))

    async def _test(self, finals: Finals) -> None:
        search = finals.search
        if not search.sweep_id:
            order = replace(self._order(search, "final"), seeds=True)
            search = replace(search, sweep_id=await self.ask(self.means.trainer.create_sweep, order))
            finals = await self.save_finals(replace(finals, search=search))
        if not search.measured.ended:
            measured = await self.ask(self.means.trainer.sweep, search.sweep_id)
            finals = await self.save_finals(replace(finals, search=replace(search, measured=measured)))
            if not measured.ended:
                return
        await self._judge(finals)

    async def _judge(self, finals: Finals) -> None:
        winner = finals.winner
        if winner is None:
            raise _unmeasured(replace(self.one.start, searches=(finals.search,)))
        if winner == 0:
            text = (
                f"No improvement found: with {len(finals.seeds)} seeds each, no configuration did better "
                "than the input on validation rows."
            )
            await self._keep(text)
            return
        sides = [[trial.model_id for trial in finals.trials_of(place)] for place in (winner, 0)]
        comparison = finals.comparison
        if comparison is None:  # once: the models of it are deleted after it
            comparison = await self.ask(self.means.trainer.compare, *sides)
            await self.save_finals(replace(finals, comparison=comparison))
        recommendation, reason = verdict(comparison)
        warnings = await self.ask(self.means.trainer.warnings, sides[0][0])
        await self._clean(sides[0][0])
        await self._end(State.SUCCEEDED, recommendation=recommendation, reason=reason, warnings=warnings)

    async def _keep(self, reason: str) -> None:
        """There is nothing better."""
        await self._clean("")
        await self._end(State.SUCCEEDED, recommendation=Recommendation.KEEP, reason=reason)

    async def _clean(self, best: str) -> None:
        """Deletes the models of what was tried, but the best."""
        searches = list(self.one.searches)
        models = {one.measured.model_id for one in searches}
        models |= {trial.model_id for one in searches for trial in one.measured.trials}
        for model_id in sorted(models - {"", best}):
            await self.ask(self.means.trainer.delete_model, model_id)

    # The end

    async def _stop(self) -> None:
        """Ends its sweeps, and itself when they have ended."""
        one = self.one
        runs = [replace(run, searches=await self._stopped(run.searches)) for run in one.runs]
        finals = one.finals
        if finals:
            [search] = await self._stopped([finals.search])
            finals = replace(finals, search=search)
        await self.save(replace(one, runs=tuple(runs), finals=finals))
        if not any(search.under_way for search in self.one.searches):
            await self._end(State.CANCELLED)

    async def _stopped(self, searches: Iterable[Search]) -> tuple[Search, ...]:
        """As they are, when those under way have been told to stop."""
        found = []
        for search in searches:
            if search.under_way:
                await self.ask(self.means.trainer.cancel_sweep, search.sweep_id)
                try:
                    measured = await self.ask(self.means.trainer.sweep, search.sweep_id)
                except NotFound:
                    measured = replace(search.measured, ended=True)
                found.append(replace(search, measured=measured))
            else:
                found.append(search)
        return tuple(found)

    async def _end(self, state: State, **changes: Any) -> None:
        one = self.one.closed(state, self.means.clock(), **changes)
        if state is not State.SUCCEEDED:
            await self._clean_quietly()
        ended = await self.means.store.release(self.held, one, None)
        self.held = replace(self.held, enhancement=ended)
        told = fields(one, state=one.state, recommendation=one.recommendation, nano_usd=one.ai_nano_usd)
        log.info("an enhancement has ended", extra=told)

    async def _clean_quietly(self) -> None:
        try:
            await self._clean("")
        except AppError as error:
            log.warning("models of an enhancement are left", extra=fields(self.one, why=error.message))

    async def _stumbled(self) -> None:
        """Over a defect of ours. Some pass; one that does not must not go on for ever."""
        log.exception("an enhancement's turn failed", extra=fields(self.one))
        if self.one.failures >= MOST_FAILURES:
            await self._end(State.FAILED, problem=_DEFECT)
        else:
            await self.rest(LONGEST_WAIT, self.one.failures + 1)

    async def _missed(self, error: AppError) -> None:
        failures = self.one.failures + 1
        log.warning("an enhancement waits", extra=fields(self.one, why=error.message))
        await self.rest(min(self.means.every * 2 ** min(failures, 10), LONGEST_WAIT), failures)


def _with(run: Run, search: Search) -> Run:
    return replace(run, searches=(*run.searches[:-1], search))


def _measured_before(one: Enhancement, run: Run) -> tuple[str, ...]:
    """Sweeps that the arm may learn from: what all began with, and its own."""
    return tuple(search.sweep_id for search in (*one.start.searches, *run.searches[:-1]) if search.sweep_id)


def _short_of(run: Run, budget: int) -> str:
    missing = run.left(budget)
    failed = next((one.measured.problem for one in run.searches if one.measured.problem), "")
    why = failed or "there were no more proposals"
    return f"{missing} of its {budget} trials were not used: {why}" if missing else ""


def _unmeasured(run: Run) -> AppError:
    """Nothing can be compared with an input that has no result."""
    found = [one.problem for one in run.trials] + [one.measured.problem for one in run.searches]
    why = next((text for text in found if text), "it has no result")
    return FailedPrecondition("ENHANCEMENT_IMPOSSIBLE", f"The input could not be measured: {why}")
