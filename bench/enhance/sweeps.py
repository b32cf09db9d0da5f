"""The gateway's port `Sweeps` before compute itself: the training service's rules, without its processes.

What a sweep tries next, what it learns from earlier ones, when it is cross-validated, and how models are
compared is decided by the very code that the service runs. Left out are the store, the jobs and their
processes: a trial here is a fit in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.enhance.datasets import TARGET, Rows
from bench.enhance.fits import Fits
from services.ai_gateway.application.ports import Caller, Order
from services.ai_gateway.domain.consulting import Column, Profile
from services.ai_gateway.domain.enhancement import Asked, Subject
from services.ai_gateway.domain.enhancement import Parameter as Told
from services.ai_gateway.domain.finals import Comparison, Difference, Side
from services.ai_gateway.domain.trials import Measured, Rejection
from services.ai_gateway.domain.trials import Trial as Found
from services.training.adapters.comparing import compare
from services.training.adapters.sampler_optuna import OptunaSampler
from services.training.application.create_sweep import folds_for
from services.training.application.rounds import lessons, next_trials
from services.training.compute.errors import ComputeError
from services.training.domain import sweep as sweeps
from services.training.domain.dataset import ColumnType
from services.training.domain.hyperparameters import ALGORITHMS, BoostedTrees, Hyperparameters, asked
from services.training.domain.job import JobError, JobSpec, Source, Task
from services.training.domain.pruning import PrunerKind
from services.training.domain.search_space import ALGORITHM, Choice, Parameter, SearchSpace
from services.training.domain.trial import Trial, TrialState
from services.training.domain.usual_space import usual_space
from services.training.domain.values import Unfit

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOTS = 2  # trials of a round
# The input: trees as they come, but no more than 200 of them, so that thousands of fits take minutes.
INPUT = BoostedTrees(n_estimators=200, early_stopping_rounds=30)
# Networks, which the product searches too, are left out for the time that they take.
SEARCHED = {"classification": ("boosted_trees", "logistic"), "regression": ("boosted_trees", "linear")}


def space_of(task: str) -> SearchSpace:
    """What the product searches for each of the algorithms, and which of them."""
    names = SEARCHED[task]
    found = [Parameter(ALGORITHM, Choice(names))]
    for name in names:
        usual = usual_space(asked(ALGORITHMS[name], {}), task).parameters
        found += [replace(one, name=f"{name}.{one.name}") for one in usual]
    return SearchSpace(tuple(found))


def base_of(rows: Rows) -> JobSpec:
    """The job that is to be enhanced."""
    kind = ColumnType.TEXT if rows.task == "classification" else ColumnType.FLOAT
    source = Source(rows.name, rows.name)
    return JobSpec(source, TARGET, kind, Task(rows.task), INPUT, rows.seed, split_seed=rows.seed)


class ComputedSweeps:
    """See `Sweeps`. A sweep has ended when it is first looked at."""

    def __init__(self, rows: Rows, fits: Fits) -> None:
        self._rows, self._fits, self._sampler = rows, fits, OptunaSampler()
        self._space = space_of(rows.task)
        self._sweeps: dict[str, sweeps.Sweep] = {}
        self._seeds: set[str] = set()
        self._models: dict[str, tuple[Hyperparameters, int]] = {}

    def subject(self, asked_for: Asked, caller: Caller) -> Subject:
        """See Sweeps."""
        rows, seed = self._rows, self._rows.seed
        told = tuple(_told(one) for one in self._space.parameters)
        name, metric = INPUT.name, self._rows.metric
        return Subject(rows.name, 1, TARGET, rows.task, name, metric, "{}", "{}", told, {}, seed, "job")

    def profile(self, subject: Subject, caller: Caller) -> Profile:
        """See Sweeps."""
        seen = self._rows.seen
        return Profile(len(seen), tuple(Column(name, "float", 0.0, len(seen)) for name in seen.names))

    def refused(self, order: Order, caller: Caller) -> list[Rejection]:
        """See Sweeps."""
        found = []
        for place, one in enumerate(order.proposals):
            try:
                self._space.applied(INPUT, one.values)
            except Unfit as error:
                found.append(Rejection(place, one.source, str(error)))
        return found

    def create_sweep(self, order: Order, caller: Caller) -> str:
        """See Sweeps."""
        sweep_id = f"sweep-{order.request_id}"
        if sweep_id not in self._sweeps:
            self._sweeps[sweep_id] = self._made(sweep_id, order)
            if order.seeds:
                self._seeds.add(sweep_id)
        return sweep_id

    def _made(self, sweep_id: str, order: Order) -> sweeps.Sweep:
        base, count = base_of(self._rows), len(self._rows.seen)
        folds = folds_for(1 if order.seeds else 0, PrunerKind.NONE, base, count)
        learns = order.sampler == "tpe"
        earlier = [self._sweeps[one] for one in order.learn_from] if learns else []
        return sweeps.Sweep(
            sweep_id=sweep_id,
            display_name="",
            base=replace(base, folds=folds),
            rows=count,
            space=self._space,
            sampler=sweeps.SamplerKind(order.sampler or "random"),
            budget=sweeps.Budget(order.trials),
            metric=self._rows.metric,
            parallel=SLOTS,
            create_time=NOW,
            update_time=NOW,
            begin_time=NOW,
            proposals=tuple(sweeps.Proposal(one.values, one.source) for one in order.proposals),
            learned=tuple(one for sweep in earlier for one in lessons(sweep, base, self._space)),
            keep_models=order.seeds,
        )

    def sweep(self, sweep_id: str, caller: Caller) -> Measured:
        """See Sweeps."""
        sweep = self._sweeps[sweep_id]
        while sweep.left and (chosen := next_trials(sweep, self._sampler)):
            sweep = sweep.begun(tuple(self._tried(sweep, one) for one in chosen), NOW)
            self._sweeps[sweep_id] = sweep
        best = sweep.best
        model_id = best.model_id if best and sweep_id not in self._seeds else ""
        return Measured(True, tuple(self._found(sweep, one) for one in sweep.trials), model_id=model_id)

    def _tried(self, sweep: sweeps.Sweep, trial: Trial) -> Trial:
        try:
            spec = sweep.spec_of(trial.values)
            fit = self._fits(spec.hyperparameters, spec.seed, spec.folds)
        except (Unfit, ComputeError) as error:
            why = JobError("INVALID_ARGUMENT", "UNTRAINABLE_DATA", str(error))
            return replace(trial, state=TrialState.FAILED, error=why)
        model_id = f"model-{trial.job_id}"
        self._models[model_id] = spec.hyperparameters, spec.seed
        metrics: dict[str, Any] = {"validation_metrics": fit.validation, "test_metrics": fit.test}
        return replace(trial, state=TrialState.SUCCEEDED, model_id=model_id, **metrics)

    def _found(self, sweep: sweeps.Sweep, one: Trial) -> Found:
        metric, problem = sweep.metric, one.error.message if one.error else ""
        scores = one.validation_metrics.get(metric), one.test_metrics.get(metric)
        model_id = one.model_id if sweep.keep_models else ""
        return Found(one.number, one.values, one.source, *scores, problem, model_id, one.job_id)

    def cancel_sweep(self, sweep_id: str, caller: Caller) -> None:
        """See Sweeps."""

    def compare(self, candidates: Sequence[str], baselines: Sequence[str], caller: Caller) -> Comparison:
        """See Sweeps."""

        def restored(model_id: str) -> Any:
            return self._fits(*self._models[model_id], 1).model

        found = compare((candidates, baselines), restored, self._fits.test_table, "")
        better, other = (
            Side(one.model_ids, one.metrics, one.deviations) for one in (found.candidate, found.baseline)
        )
        gain, use = (Difference(**vars(one)) for one in (found.improvement, found.over_constant))
        return Comparison(found.rows, found.loss, better, other, gain, use)

    def warnings(self, model_id: str, caller: Caller) -> tuple[str, ...]:
        """See Sweeps."""
        return ()

    def delete_model(self, model_id: str, caller: Caller) -> None:
        """See Sweeps. They stay: what is true of them is yet to be asked."""

    def register(  # noqa: PLR0917 (as the port)
        self, name: str, model_id: str, alias: str, enhancement_id: str, comment: str, caller: Caller
    ) -> int:
        """See Sweeps."""
        raise NotImplementedError("nothing is adopted here")

    # What is true

    def truth(self, model_id: str) -> float:
        """A model's metric on rows that the run has not seen."""
        return self._fits.truth(*self._models[model_id])

    def settled(self, values: Mapping[str, Any]) -> Hyperparameters:
        """What is trained for a trial's values."""
        params = self._space.applied(INPUT, {name: one for name, one in values.items() if name != "seed"})
        return params.settled(self._rows.task, len(self._rows.seen))


def _told(one: Parameter) -> Told:
    """As the gateway reads it from the service's answer."""
    if isinstance(one.range, Choice):
        return Told(one.name, "choice", choices=one.range.values)
    return Told(one.name, one.range.kind, one.range.low, one.range.high, one.range.log)
