"""Whether a trained model can be where another training begins."""

from __future__ import annotations

from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel
from services.training.compute.targets import ClassTarget
from services.training.domain.hyperparameters import Hyperparameters, Mlp


def check_start(start: TrainedModel, params: Hyperparameters, task: str, target: str) -> None:
    """Raises ComputeError naming what differs between `start` and the model asked for."""
    began = start.hyperparameters
    if began.name != params.name:
        raise _differs("algorithm", params.name, began.name)
    if isinstance(began, Mlp) and isinstance(params, Mlp):
        for field in ("hidden_sizes", "ensemble_size"):
            if getattr(began, field) != getattr(params, field):
                raise _differs(field, _plain(getattr(params, field)), _plain(getattr(began, field)))
    found = "classification" if isinstance(start.target, ClassTarget) else "regression"
    if found != task:
        raise _differs("task", task, found)
    if start.target.name != target:
        raise _differs("target", repr(target), repr(start.target.name))


def _differs(field: str, asked: object, began: object) -> ComputeError:
    return ComputeError(field, f"is {asked}, but {began} in the model to start from")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
