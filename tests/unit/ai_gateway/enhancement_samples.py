"""An enhancement's parts, as tests want them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.ai_gateway.domain.enhancement import Asked, Enhancement, Parameter, Run, Subject
from services.ai_gateway.domain.trials import Arm, Measured, Search, Trial

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PARAMETERS = (
    Parameter("algorithm", "choice", choices=("mlp", "logistic")),
    Parameter("mlp.learning_rate", "float", 1e-4, 1e-1, log=True),
    Parameter("mlp.hidden_sizes", "choice", choices=([64, 64], [128, 128])),
    Parameter("logistic.l2", "int", 1, 100),
)
SUBJECT = Subject("d", 1, "y", "classification", "mlp", "log_loss", "{}", "{}", PARAMETERS, {}, 7)


def trial(number: int, loss: float | None, **values: Any) -> Trial:
    """One with that validation loss."""
    return Trial(number, values, "tpe", loss, loss, model_id=f"model-{number}")


def run(arm: Arm, *trials: Trial) -> Run:
    """An arm with one sweep that has ended."""
    search = Search(len(trials), "tpe", sweep_id=f"sweep-{arm}", measured=Measured(True, trials))
    return Run(arm, (search,), ended=True)


def enhancement(*runs: Run, **asked: Any) -> Enhancement:
    """Of those runs, the input's first."""
    return Enhancement("enhancement-1", "t", "", Asked(**{"job_id": "j", **asked}), SUBJECT, NOW, runs)
