"""Whether a trained model can be where another training begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from services.training.compute.errors import ComputeError
from services.training.compute.model import TrainedModel
from services.training.domain.hyperparameters import Hyperparameters
from services.training.domain.transforms import FeatureTransform

# What the shapes of the learned arrays depend on, beside the data.
_NETWORK = ("architecture", "hidden_sizes", "ensemble_size")
_SHAPES = {"mlp": _NETWORK, "blend": tuple(f"mlp.{name}" for name in _NETWORK), "kmeans": ("clusters",)}


def check_start(
    start: TrainedModel,
    params: Hyperparameters,
    task: str,
    target: str,
    transforms: Sequence[FeatureTransform] = (),
) -> None:
    """Raises ComputeError naming what differs between `start` and the model asked for."""
    began = start.hyperparameters
    if began.name != params.name:
        raise _differs("algorithm", params.name, began.name)
    for field in _SHAPES.get(params.name, ()):
        asked, was = attrgetter(field)(params), attrgetter(field)(began)
        if asked != was:
            raise _differs(field, _plain(asked), _plain(was))
    if start.target.task != task:
        raise _differs("task", task, start.target.task)
    if start.target.name != target:
        raise _differs("target", repr(target), repr(start.target.name))
    made = {one.asked for one in start.preprocessor.transforms}
    if made != set(transforms):
        raise _differs("transforms", _called(transforms), _called(made))


def _differs(field: str, asked: object, began: object) -> ComputeError:
    return ComputeError(field, f"is {asked}, but {began} in the model to start from")


def _called(transforms: Iterable[FeatureTransform]) -> str:
    return ", ".join(sorted(name for one in transforms for name in one.names)) or "none"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
