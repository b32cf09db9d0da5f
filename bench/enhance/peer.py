"""Optuna's own loop, as its users write it, over the same space and the same fits."""

from __future__ import annotations

from typing import Any

import optuna

from bench.enhance.datasets import Rows
from bench.enhance.fits import Fits
from bench.enhance.sweeps import INPUT, base_of, space_of
from services.training.application.create_sweep import folds_for
from services.training.domain.hyperparameters import Hyperparameters
from services.training.domain.pruning import PrunerKind
from services.training.domain.search_space import Choice, FloatRange, IntRange, Parameter


def search(rows: Rows, fits: Fits, trials: int) -> tuple[Hyperparameters, float]:
    """The best after the input and so many trials more, and its validation metric."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, count = space_of(rows.task), len(rows.seen)
    folds = folds_for(0, PrunerKind.NONE, base_of(rows), count)

    def params_of(trial: optuna.Trial) -> Hyperparameters:
        values: dict[str, Any] = {}
        for one in space.parameters:
            if space.in_force(one, values):
                values[one.name] = _suggested(trial, one)
        return space.applied(INPUT, values).settled(rows.task, count)

    def objective(trial: optuna.Trial) -> float:
        params = params_of(trial)
        trial.set_user_attr("params", params)
        return float(fits(params, rows.seed, folds).validation[rows.metric])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=rows.seed))
    study.enqueue_trial(space.values_of(INPUT))
    study.optimize(objective, n_trials=trials + 1)
    best = study.best_trial
    return best.user_attrs["params"], float(best.value or 0.0)


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    match parameter.range:
        case FloatRange(low, high, log):
            return trial.suggest_float(parameter.name, low, high, log=log)
        case IntRange(low, high, log, step):
            return trial.suggest_int(parameter.name, low, high, log=log, step=step)
        case Choice(values):
            return trial.suggest_categorical(parameter.name, values)  # type: ignore[arg-type]
