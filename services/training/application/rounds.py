"""What a sweep tries next, and what it learns of earlier ones."""

from __future__ import annotations

import math

from services.training.application.ports import Sampler
from services.training.domain.job import JobSpec
from services.training.domain.job_values import searched_values
from services.training.domain.search_space import SearchSpace
from services.training.domain.sweep import Sweep
from services.training.domain.trial import Measured, Trial
from services.training.domain.values import Value


def next_trials(sweep: Sweep, sampler: Sampler) -> list[Trial]:
    """The trials of the next round: proposals first, then the base as it is, then what is sampled."""
    count, first = min(sweep.parallel, sweep.left), len(sweep.trials)
    chosen: list[tuple[dict[str, Value], str]] = [
        (dict(one.values), one.source) for one in sweep.proposals[first : first + count]
    ]
    usual = sweep.first_values() if not sweep.trials and not chosen else None
    if usual and sweep.sampler.learns:
        chosen.append((usual, sweep.sampler))
    tried = [one.values for one in sweep.trials] + [values for values, _ in chosen]
    if len(chosen) < count:
        sampled = sampler(sweep, count - len(chosen), tried)
        chosen += [(values, str(sweep.sampler)) for values in sampled]
    return [
        Trial(number, values, source, sweep.job_id(number), prune_above=sweep.prune_above(values))
        for number, (values, source) in enumerate(chosen, first)
    ]


def lessons(earlier: Sweep, base: JobSpec, space: SearchSpace) -> list[Measured]:
    """What a sweep of `space` can learn of an earlier one: its results, as far as they lie in the space."""
    found: list[Measured] = []
    for trial in earlier.leaderboard:
        loss = earlier.loss(trial)
        if math.isfinite(loss):
            spec = earlier.spec_of(trial.values)
            params = spec.hyperparameters
            if space.several or params.name == base.hyperparameters.name:
                found.append(Measured(space.located(params, searched_values(spec)), loss))
    return [one for one in found if one.values]
