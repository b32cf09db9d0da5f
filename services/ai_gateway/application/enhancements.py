"""Enhancements, as their callers see them: asked for, waited for, looked at, cancelled, adopted."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.ai_gateway.application.accounts import Account
from services.ai_gateway.application.ports import Caller, EnhancementStore, Keys, Sweeps
from services.ai_gateway.domain.enhancement import (
    MOST_TRIALS,
    Adoption,
    Asked,
    Enhancement,
    Recommendation,
    Run,
    State,
    Subject,
)
from services.ai_gateway.domain.routing import Routes, UnknownModel
from services.ai_gateway.domain.trials import Arm
from services.chassis.clock import Clock, new_id
from services.chassis.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Unavailable,
    invalid_fields,
)

ENHANCE = "enhance"  # what its limits are called
PREFIX = "enhancement-"
CHAMPION = "champion"
MOST_MODELS = 8
# Between two looks of a caller who waits: it may be at work in another process.
LOOK_SECONDS = 0.25
# Kept back from a caller's time, to say how it goes on.
ANSWER_SECONDS = 0.5
# Asked where a caller names a vendor, or nobody at all: quick ones, for proposals are cheap to measure.
MODELS = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "perplexity": "sonar",
    "xai": "grok-4",
}


@dataclass(frozen=True)
class Enhancements:
    """may_train: whether the gateway may train on a tenant's behalf where callers show keys."""

    store: EnhancementStore
    trainer: Sweeps
    routes: Callable[[], Routes]
    keys: Keys
    clock: Clock
    wake: Callable[[], None]
    may_train: bool

    async def create(
        self, asked: Asked, account: Account, caller: Caller, request_id: str = ""
    ) -> Enhancement:
        """Begins one. What is read, and whether it may be trained, is tried with the caller's own key."""
        asked = replace(asked, models=self._models(asked))
        check(asked)
        if account.key and not self.may_train:
            message = "AI_TRAINING_API_KEY is not set: the gateway has no key to train on a tenant's behalf."
            raise FailedPrecondition("ENHANCEMENT_NOT_CONFIGURED", message)
        digest = hashlib.sha256(repr(asked).encode()).hexdigest()
        enhancement_id = _named(request_id, account) if request_id else new_id("enhancement")
        if request_id and (found := await self.store.get(enhancement_id, account.tenant)):
            return _same(found, digest, request_id)
        subject = await asyncio.to_thread(self.trainer.subject, asked, caller)
        one = _new(enhancement_id, account, asked, subject, self.clock, digest)
        if not await self.store.add(one, one.made):
            there = await self.store.get(enhancement_id, account.tenant)
            if there is None:
                raise Unavailable("SERVICE_UNAVAILABLE", "It is being created by another call.", 1.0)
            return _same(there, digest, request_id)
        self.wake()
        return one

    async def wait(self, one: Enhancement, left: float | None) -> Enhancement:
        """When it has ended. left: seconds, after which DeadlineExceeded is raised, with the task's id."""
        until = None if left is None else time.monotonic() + max(left - ANSWER_SECONDS, 0)
        while one.state is State.RUNNING:
            if until is not None and time.monotonic() >= until:
                message = f"Your time is over; it goes on as the task {one.task_id}."
                raise DeadlineExceeded("DEADLINE_EXCEEDED", message, task_id=one.task_id)
            await asyncio.sleep(LOOK_SECONDS)
            one = await self.get(one.enhancement_id, one.tenant)
        return one

    async def get(self, enhancement_id: str, tenant: str) -> Enhancement:
        """Raises NotFound."""
        if found := await self.store.get(enhancement_id, tenant):
            return found
        raise NotFound("enhancement", enhancement_id)

    async def task(self, task_id: str, tenant: str) -> Enhancement:
        """The one of that task; raises NotFound."""
        prefix, _, rest = task_id.partition("-")
        if prefix == "task" and (found := await self.store.get(PREFIX + rest, tenant)):
            return found
        raise NotFound("task", task_id)

    async def page(self, tenant: str, size: int, before: tuple[float, str] | None) -> list[Enhancement]:
        """Newest first."""
        return await self.store.page(tenant, size, before)

    async def cancel(self, task_id: str, tenant: str) -> Enhancement:
        """Asks it to end; raises FailedPrecondition when it has ended otherwise."""
        one = await self.task(task_id, tenant)
        if one.state not in (State.RUNNING, State.CANCELLED):
            message = f"The task {task_id!r} has ended."
            raise FailedPrecondition("TASK_FINISHED", message, task_id=task_id, state=one.state)
        await self.store.stop(one.enhancement_id, tenant, self.clock())
        self.wake()
        return await self.task(task_id, tenant)

    async def adopt(  # noqa: PLR0917 (what is adopted as what, and by whom)
        self, enhancement_id: str, name: str, alias: str, force: bool, tenant: str, caller: Caller
    ) -> Adoption:
        """The best model becomes a version of `name`; the same answer however often it is asked."""
        one = await self.get(enhancement_id, tenant)
        alias = alias or CHAMPION
        if one.adopted and (one.adopted.name, one.adopted.alias) == (name, alias):
            return one.adopted
        model_id = self._adoptable(one, force)
        version = await asyncio.to_thread(
            self.trainer.register, name, model_id, alias, enhancement_id, one.reason, caller
        )
        adopted = Adoption(name, version, model_id, alias, self.clock())
        await self.store.adopt(replace(one, adopted=adopted))
        return adopted

    def _adoptable(self, one: Enhancement, force: bool) -> str:
        best = best_model(one)
        if one.state is State.RUNNING or not best:
            message = "There is no model to adopt." if one.ended else "It has not ended yet."
            raise FailedPrecondition("ENHANCEMENT_NOT_FINISHED", message, enhancement_id=one.enhancement_id)
        if one.recommendation is not Recommendation.ADOPT and not force:
            message = f"The report recommends to keep the input. {one.reason}"
            raise FailedPrecondition(
                "ENHANCEMENT_NOT_RECOMMENDED", message, enhancement_id=one.enhancement_id
            )
        return best

    def _models(self, asked: Asked) -> tuple[str, ...]:
        """Those that are asked; raises InvalidArgument for one that nobody has, or has a key for."""
        if not asked.models:
            named = [f"{vendor}/{model}" for vendor, model in MODELS.items() if self.keys.of(vendor)]
            return tuple(one for one in named if self._has_key(one))
        found = tuple(dict.fromkeys(_model(one) for one in asked.models))
        problems = {}
        for place, one in enumerate(found):
            try:
                if not self._has_key(one):
                    problems[f"providers[{place}]"] = f"no key is configured for {one!r}"
            except UnknownModel:
                problems[f"providers[{place}]"] = f"{one!r} is no provider, model or alias"
        if problems:
            raise invalid_fields(problems)
        return found

    def _has_key(self, model: str) -> bool:
        targets = self.routes().find(model).targets
        return any(one.vendor == "local" or self.keys.of(one.vendor) for one in targets)


def best_model(one: Enhancement) -> str:
    """The best configuration's model; empty where there is none."""
    place = one.finals.winner if one.finals and one.finals.search.measured.ended else None
    if not place or one.finals is None or one.finals.comparison is None:
        return ""
    return one.finals.trials_of(place)[0].model_id


def check(asked: Asked) -> None:
    """Raises InvalidArgument naming every field at fault."""
    given = [name for name in ("job_id", "model_id", "dataset_id") if getattr(asked, name)]
    problems = {}
    if not given:
        problems["job_id"] = "one of job_id, model_id, or dataset_id with target is required"
    for extra in given[1:]:
        problems[extra] = f"cannot stand beside {given[0]}: one of job_id, model_id, dataset_id"
    if asked.dataset_id and not asked.target:
        problems["target"] = "is required with dataset_id"
    if asked.target and given and not asked.dataset_id:
        problems["target"] = "goes with dataset_id only"
    if not 1 <= asked.max_trials <= MOST_TRIALS:
        problems["max_trials"] = f"has to be in [1, {MOST_TRIALS}], got {asked.max_trials}"
    if not 0 <= asked.max_cost_usd < float("inf"):
        problems["max_cost_usd"] = f"has to be a number, at least 0, got {asked.max_cost_usd:g}"
    if len(asked.models) > MOST_MODELS:
        problems["providers"] = f"at most {MOST_MODELS}, got {len(asked.models)}"
    if problems:
        raise invalid_fields(problems)


def arms(asked: Asked) -> tuple[Arm, ...]:
    """Who searches, the input first."""
    usual = (Arm.TPE, Arm.LLM, Arm.HYBRID) if asked.models else (Arm.LOCAL, Arm.TPE)
    return (Arm.DEFAULT, *(one for one in dict.fromkeys(asked.arms or usual) if one is not Arm.DEFAULT))


def _new(  # noqa: PLR0917 (what it consists of)
    enhancement_id: str, account: Account, asked: Asked, subject: Subject, clock: Clock, digest: str
) -> Enhancement:
    return Enhancement(
        enhancement_id,
        account.tenant,
        account.key,
        asked,
        subject,
        clock(),
        tuple(_run(arm, asked.models) for arm in arms(asked)),
        digest=digest,
    )


def _run(arm: Arm, models: Sequence[str]) -> Run:
    if arm.asks_models and not models:
        return Run(arm, ended=True, note="it did not run: no provider has a key")
    return Run(arm)


def _model(name: str) -> str:
    """A vendor's name stands for the model that is asked of it."""
    return f"{name}/{MODELS[name]}" if name in MODELS else name


def _named(request_id: str, account: Account) -> str:
    """The same request id of a tenant is the same enhancement."""
    text = f"{account.tenant}\0{request_id}"
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:20]


def _same(found: Enhancement, digest: str, request_id: str) -> Enhancement:
    if found.digest != digest:
        message = f"The request id {request_id!r} was used for another enhancement."
        raise AlreadyExists("REQUEST_ID_REUSED", message)
    return found
