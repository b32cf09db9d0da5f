"""Whether a trained model can be where another training begins."""

from __future__ import annotations

from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel
from services.training.domain.hyperparameters import Hyperparameters

# What the shapes of the learned arrays depend on, beside the data.
_SHAPES = {"mlp": ("architecture", "hidden_sizes", "ensemble_size"), "kmeans": ("clusters",)}


def check_start(start: TrainedModel, params: Hyperparameters, task: str, target: str) -> None:
    """Raises ComputeError naming what differs between `start` and the model asked for."""
    began = start.hyperparameters
    if began.name != params.name:
        raise _differs("algorithm", params.name, began.name)
    for field in _SHAPES.get(params.name, ()):
        if getattr(began, field) != getattr(params, field):
            raise _differs(field, _plain(getattr(params, field)), _plain(getattr(began, field)))
    if start.target.task != task:
        raise _differs("task", task, start.target.task)
    if start.target.name != target:
        raise _differs("target", repr(target), repr(start.target.name))


def _differs(field: str, asked: object, began: object) -> ComputeError:
    return ComputeError(field, f"is {asked}, but {began} in the model to start from")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
