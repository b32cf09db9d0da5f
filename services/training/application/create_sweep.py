"""Create a sweep: check the base as a job, then all that it is to be varied by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from services.chassis.clock import Clock, new_id
from services.chassis.errors import InvalidArgument, NotFound, invalid_fields
from services.training.application import idempotency
from services.training.application.create_job import (
    JobRequest,
    asked_spec,
    check_numbers,
    content_of,
    device_for,
)
from services.training.application.datasets import check_display_name
from services.training.application.ports import Store, Transaction
from services.training.application.rounds import lessons
from services.training.application.trial_values import trial_problems
from services.training.domain.dataset import Content
from services.training.domain.job import Device, JobSpec
from services.training.domain.job_values import typed_values
from services.training.domain.pruning import PRUNABLE, PrunerKind
from services.training.domain.ranking import METRICS
from services.training.domain.search_space import SearchSpace
from services.training.domain.space_problems import space_problems
from services.training.domain.sweep import (
    MOST_PARALLEL,
    MOST_TRIALS,
    Budget,
    Prices,
    Proposal,
    Rejection,
    SamplerKind,
    Sweep,
)
from services.training.domain.trial import Measured
from services.training.domain.usual_space import usual_space
from services.training.domain.values import Unfit

LONGEST_SOURCE = 100
MOST_WARM_STARTS = 100
MOST_FOLDS = 10
# Of fewer rows, the test part left out, trials are compared by cross-validation unless the caller says
# otherwise. With more it costs six times as much and ranked trials no better on the data measured (digits and
# breast cancer, 150 to 1000 rows, trees and networks).
FEW_ROWS = 100
USUAL_FOLDS = 5


@dataclass(frozen=True)
class SweepRequest:
    """What a caller asks for; None, "" and 0 stand for "the platform chooses"."""

    job: JobRequest
    budget: Budget
    space: SearchSpace | None = None
    sampler: SamplerKind = SamplerKind.TPE
    metric: str = ""
    parallel: int = 0
    proposals: tuple[Proposal, ...] = ()
    skip_invalid_proposals: bool = False
    warm_start_sweep_ids: tuple[str, ...] = ()
    display_name: str = ""
    keep_models: bool = False
    pruner: PrunerKind = PrunerKind.NONE
    folds: int = 0


@dataclass(frozen=True)
class CreateSweep:
    """Creates sweeps. `wake` tells the driver that there is something to do.

    slots: attempts at once on each kind of device. prices: what they cost.
    """

    store: Store
    clock: Clock
    wake: Callable[[], None]
    slots: Mapping[Device, int]
    prices: Prices = field(default_factory=Prices)
    traceparent: Callable[[], str] = str  # names the call that is being answered

    def __call__(self, request: SweepRequest, request_id: str = "", validate_only: bool = False) -> Sweep:
        """The sweep, RUNNING; raises NotFound, FailedPrecondition, and InvalidArgument naming the fields."""
        check_display_name(request.display_name)
        _check_limits(request, self.prices)
        with within("job."):
            check_numbers(request.job)
        device = device_for(request.job, self.slots)
        asked = idempotency.fingerprint(request)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "CreateSweep", asked):
                return idempotency.answer_of(replay, Sweep)
            sweep = self._sweep(tx, request, device, "" if validate_only else new_id("sweep"))
            if not validate_only:
                tx.sweeps.add(sweep)
                idempotency.remember(tx, request_id, "CreateSweep", asked, sweep, sweep.create_time)
        if not validate_only:
            self.wake()
        return sweep

    def _sweep(self, tx: Transaction, request: SweepRequest, device: Device, sweep_id: str) -> Sweep:
        with within("job."):
            base, rows = asked_spec(tx, request.job, device)
        _check_judged(base)
        base = replace(base, folds=folds_for(request.folds, request.pruner, base, rows))
        metric = request.metric or METRICS[base.task][0]
        if metric not in METRICS[base.task]:
            known = ", ".join(METRICS[base.task])
            raise invalid_fields({"metric": f"{metric!r} does not measure {base.task}; {known} do"})
        params = base.hyperparameters
        space = request.space or usual_space(params, base.task)
        if problems := space_problems(space, params, base.task):
            raise invalid_fields(problems)
        if space.several and base.warm_start_model_id:
            problem = "has to be empty where algorithms are searched: a model is of one"
            raise invalid_fields({"job.warm_start_model_id": problem})
        _check_pruned(request.pruner, space, base)
        proposals, rejections = _sorted_out(request, space, base, content_of(tx, base.train))
        now = self.clock()
        return Sweep(
            sweep_id=sweep_id,
            display_name=request.display_name,
            base=base,
            rows=rows,
            space=space,
            sampler=request.sampler,
            budget=request.budget,
            metric=metric,
            parallel=request.parallel or min(self.slots[device], MOST_PARALLEL),
            create_time=now,
            update_time=now,
            begin_time=now,
            tenant=request.job.tenant,
            priority=request.job.priority,
            traceparent=self.traceparent(),
            proposals=proposals,
            rejections=rejections,
            warm_start_sweep_ids=request.warm_start_sweep_ids,
            learned=_learned(tx, request.warm_start_sweep_ids, base, metric, space),
            keep_models=request.keep_models,
            pruner=request.pruner,
        )


@contextmanager
def within(prefix: str) -> Iterator[None]:
    """Fields at fault are named as those of a part of the request."""
    try:
        yield
    except InvalidArgument as error:
        if not error.violations:
            raise
        found = {prefix + one.field: one.description for one in error.violations}
        raise invalid_fields(found) from None


def _check_limits(request: SweepRequest, prices: Prices) -> None:
    budget, problems = request.budget, {}
    if not request.job.dataset_id:
        problems["job.dataset_id"] = "is required"
    if request.job.display_name:
        problems["job.display_name"] = "has to be empty; the sweep has its own"
    if not 1 <= budget.max_trials <= MOST_TRIALS:
        problems["budget.max_trials"] = f"has to be in [1, {MOST_TRIALS}], got {budget.max_trials}"
    for name, value in (("max_seconds", budget.max_seconds), ("max_cost_usd", budget.max_cost_usd)):
        if not (math.isfinite(value) and value >= 0):
            problems[f"budget.{name}"] = f"has to be a number, at least 0, got {value:g}"
    if budget.max_cost_usd > 0 and prices == Prices():
        unset = "neither TRAINING_USD_PER_CPU_HOUR nor TRAINING_USD_PER_GPU_HOUR is set: nothing has a price"
        problems["budget.max_cost_usd"] = unset
    if not 0 <= request.parallel <= MOST_PARALLEL:
        problems["parallel"] = f"has to be in [1, {MOST_PARALLEL}], got {request.parallel}"
    if len(request.warm_start_sweep_ids) > MOST_WARM_STARTS:
        problems["warm_start_sweep_ids"] = (
            f"at most {MOST_WARM_STARTS}, got {len(request.warm_start_sweep_ids)}"
        )
    if problems:
        raise invalid_fields(problems)


def _check_judged(base: JobSpec) -> None:
    if base.validation is None and base.validation_fraction == 0:
        problem = "has to be above 0: trials are ranked on validation rows"
        raise invalid_fields({"job.split.validation_fraction": problem})


def folds_for(asked: int, pruner: PrunerKind, base: JobSpec, rows: int) -> int:
    """What is asked for; what is usual for so many rows where it is 0. Raises InvalidArgument."""
    problem = _unfoldable(pruner, base)
    if asked > 1 and problem:
        raise invalid_fields({"folds": problem})
    if not 0 <= asked <= MOST_FOLDS:
        raise invalid_fields({"folds": f"has to be in [1, {MOST_FOLDS}], got {asked}"})
    if asked or problem:
        return asked or 1
    tested = 0.0 if base.test else base.test_fraction
    return USUAL_FOLDS if MOST_FOLDS <= rows * (1 - tested) < FEW_ROWS else 1


def _unfoldable(pruner: PrunerKind, base: JobSpec) -> str:
    """Why the rows cannot be divided; empty where they can."""
    if base.validation:
        return "has to be 1 where job.validation_dataset_id says what is validated on"
    if base.warm_start_model_id:
        return "has to be 1 with job.warm_start_model_id: that model may have seen any of the rows"
    if pruner is not PrunerKind.NONE:
        return "has to be 1 with a pruner: a trial is ended by the validation loss of one training"
    return ""


def _check_pruned(pruner: PrunerKind, space: SearchSpace, base: JobSpec) -> None:
    algorithms = space.algorithms or {base.hyperparameters.name}
    if pruner is PrunerKind.ASHA and not algorithms & PRUNABLE:
        names = ", ".join(sorted(map(str, algorithms)))
        raise invalid_fields({"pruner": f"{names} reports no validation loss that trials could be ended by"})


def _sorted_out(
    request: SweepRequest, space: SearchSpace, base: JobSpec, content: Content
) -> tuple[tuple[Proposal, ...], tuple[Rejection, ...]]:
    """The proposals that can be tried, and why others cannot; raises InvalidArgument unless that is fine."""
    good: list[Proposal] = []
    rejections: list[Rejection] = []
    problems: dict[str, str] = {}
    for index, proposal in enumerate(request.proposals):
        found = _problems(proposal, space, base, content)
        if not found:
            good.append(replace(proposal, values=typed_values(proposal.values)))
            continue
        problems |= {f"proposals[{index}].{name}": text for name, text in found.items()}
        reason = "; ".join(f"{name}: {text}" for name, text in found.items())
        rejections.append(Rejection(index, proposal.source, reason))
    if problems and not request.skip_invalid_proposals:
        raise invalid_fields(problems)
    if len(good) > request.budget.max_trials:
        problem = f"are {len(good)}, which is more than budget.max_trials, {request.budget.max_trials}"
        raise invalid_fields({"proposals": problem})
    return tuple(good), tuple(rejections)


def _problems(proposal: Proposal, space: SearchSpace, base: JobSpec, content: Content) -> dict[str, str]:
    if len(proposal.source) > LONGEST_SOURCE:
        return {"source": f"has to be at most {LONGEST_SOURCE} characters"}
    if not proposal.values:
        return {"values": "has to name a value"}
    try:
        params = space.applied(base.hyperparameters, proposal.values)
    except Unfit as error:
        return {f"values.{name}": text for name, text in error.problems.items()}
    if base.task not in params.tasks:
        return {
            "values.algorithm": f"{params.name} does {' and '.join(params.tasks)}, and this is {base.task}"
        }
    found = trial_problems(base, typed_values(proposal.values), content)
    return {f"values.{name}": text for name, text in found.items()}


def _learned(
    tx: Transaction, sweep_ids: tuple[str, ...], base: JobSpec, metric: str, space: SearchSpace
) -> tuple[Measured, ...]:
    """What earlier sweeps have measured, as far as it lies in the space."""
    learned: list[Measured] = []
    for number, sweep_id in enumerate(sweep_ids):
        earlier = tx.sweeps.get(sweep_id)
        if earlier is None:
            raise NotFound("sweep", sweep_id)
        if _question(earlier.base, earlier.metric) != _question(base, metric):
            problem = f"{sweep_id!r} has another dataset, target or metric"
            raise invalid_fields({f"warm_start_sweep_ids[{number}]": problem})
        learned += lessons(earlier, base, space)
    return tuple(learned)


def _question(spec: JobSpec, metric: str) -> tuple[Any, ...]:
    return (spec.train.dataset_id, spec.target, spec.task, metric)
