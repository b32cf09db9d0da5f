"""Random search and TPE, by Optuna. Its study is made anew for each round, out of what was measured."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from services.training.domain.search_space import Choice, FloatRange, IntRange, Parameter, SearchSpace
from services.training.domain.sweep import SamplerKind, Sweep
from services.training.domain.trial import Measured
from services.training.domain.values import Value

if TYPE_CHECKING:
    import optuna

# What was tried before is not tried again; in a small space it takes a few draws to find something else.
DRAWS = 20
LAST_DRAWS = 200  # at random, before the space counts as used up
MOST_STARTUP_TRIALS = 10


class OptunaSampler:
    """See `Sampler`."""

    def __call__(
        self, sweep: Sweep, count: int, tried: Sequence[Mapping[str, Value]]
    ) -> list[dict[str, Value]]:
        """See `Sampler.__call__`."""
        learning = _study(sweep) if sweep.sampler is SamplerKind.TPE else None
        at_random = _random_study(sweep)
        seen, chosen = [dict(one) for one in tried], []
        for _ in range(count):
            values = _new(learning, sweep.space, seen, DRAWS) if learning else None
            values = values or _new(at_random, sweep.space, seen, LAST_DRAWS)
            if values is None:
                break
            seen.append(values)
            chosen.append(values)
        return chosen


def _new(
    study: optuna.Study, space: SearchSpace, seen: Sequence[Mapping[str, Value]], draws: int
) -> dict[str, Value] | None:
    """Values that are not among those seen; None when so many draws found none."""
    for _ in range(draws):
        values = _drawn(study.ask(), space)
        if values not in seen:
            return values
    return None


def _study(sweep: Sweep) -> optuna.Study:
    import optuna  # noqa: PLC0415 (takes a second, which only those pay who search)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # `multivariate`, `group` and `constant_liar` may change in a later release; the lock pins this one.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=_seed(sweep, "tpe"),
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=min(MOST_STARTUP_TRIALS, sweep.budget.max_trials // 4 + 1),
        )
    study = optuna.create_study(sampler=sampler)
    study.add_trials([_told(one, sweep.space) for one in sweep.measured() if one.values])
    return study


def _random_study(sweep: Sweep) -> optuna.Study:
    import optuna  # noqa: PLC0415 (as above)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=_seed(sweep, "random")))


def _seed(sweep: Sweep, purpose: str) -> int:
    """Of this round: the same in every process, another in every round."""
    text = f"{purpose} {sweep.base.seed} {len(sweep.trials)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def _drawn(trial: optuna.Trial, space: SearchSpace) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        if space.in_force(parameter, values):
            values[parameter.name] = _suggested(trial, parameter)
    return values


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Value:
    match parameter.range:
        case FloatRange(low, high, log):
            return trial.suggest_float(parameter.name, low, high, log=log)
        case IntRange(low, high, log, step):
            return trial.suggest_int(parameter.name, low, high, log=log, step=step)
        case Choice(values):
            # By number: Optuna takes no lists.
            return values[trial.suggest_categorical(parameter.name, range(len(values)))]


def _told(measured: Measured, space: SearchSpace) -> optuna.trial.FrozenTrial:
    import optuna  # noqa: PLC0415 (as above)

    ranges = {one.name: one.range for one in space.parameters}
    return optuna.trial.create_trial(
        params={name: _told_value(ranges[name], value) for name, value in measured.values.items()},
        distributions={name: _distribution(ranges[name]) for name in measured.values},
        value=measured.loss,
    )


def _told_value(searched: FloatRange | IntRange | Choice, value: Value) -> Value:
    return searched.values.index(value) if isinstance(searched, Choice) else value


def _distribution(searched: FloatRange | IntRange | Choice) -> optuna.distributions.BaseDistribution:
    from optuna import distributions  # noqa: PLC0415 (as above)

    match searched:
        case FloatRange(low, high, log):
            return distributions.FloatDistribution(low, high, log=log)
        case IntRange(low, high, log, step):
            return distributions.IntDistribution(low, high, log=log, step=step)
        case Choice(values):
            return distributions.CategoricalDistribution(range(len(values)))
