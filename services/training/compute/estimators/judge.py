"""How good the networks are on the validation rows, and which of their weights were best."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import added_up
from services.training.compute.estimators.architectures import network
from services.training.compute.estimators.base import Arrays, Samples, Weights
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.layout import Layout
from services.training.compute.kernels.cross_entropy import softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.loop import Loop, State

# Rows that validation and prediction run at a time; bounds the memory that they take.
FORWARD_ROWS = 1024


class Best:
    """Each network's best weights so far, and how long none has improved."""

    def __init__(self, parameters: Array, patience: int, backend: Backend) -> None:
        self.parameters = parameters.copy()
        self._current = parameters
        self._losses = np.full(len(parameters), np.inf)
        self._patience, self._backend = patience, backend
        self._waited = 0

    @property
    def waited_out(self) -> bool:
        """True once `patience` epochs in a row brought no network a lower loss."""
        return self._waited >= self._patience

    @property
    def found(self) -> bool:
        """True when every network had a finite loss once."""
        return bool(np.isfinite(self._losses).all())

    def observe(self, losses: npt.NDArray[np.float64]) -> None:
        """Keeps the weights of the networks whose loss, (K,), is as low as ever: of equals, the last."""
        self._waited = 0 if (losses < self._losses).any() else self._waited + 1
        for better in np.flatnonzero(losses <= self._losses):
            self._losses[better] = losses[better]
            self.parameters[better] = self._current[better]

    def state(self) -> State:
        """What a resume needs of this."""
        parameters = self._backend.to_host(self.parameters)
        waited = np.array(self._waited)
        return {"best_parameters": parameters, "best_losses": self._losses, "waited": waited}

    def restore(self, arrays: Arrays) -> None:
        """Goes to where `state()` was taken."""
        self.parameters[:] = self._backend.to_device(arrays["best_parameters"])
        self._losses[:] = arrays["best_losses"]
        self._waited = int(arrays["waited"])


class Judge:
    """Scores the networks on the validation rows of all ranks; each has the same scores."""

    def __init__(
        self,
        layout: Layout,
        parameters: Array,
        samples: Samples,
        inputs: Inputs,
        backend: Backend,
        *,
        communicator: Communicator = ALONE,
    ) -> None:
        self._communicator = communicator
        rows, self._networks = min(len(samples), FORWARD_ROWS), len(parameters)
        self._network = network(layout, parameters, backend, rows, inputs.owners)
        self._as_one = layout.architecture == "tab_m"
        self._samples, self._inputs, self._backend = samples, inputs, backend
        self._judge = _judge_classes if samples.classes else _judge_values

    def scores(self, loop: Loop) -> tuple[npt.NDArray[np.float64], dict[str, float]]:
        """Each network's loss (K,), by which the best is chosen, and what to report of their mean prediction.

        The loss is the share of wrong classes, or the mean squared error; rows count by their weights. For
        members that share weights, which are one network here, it is the log loss or squared error of their
        mean. Raises Stopped when the loop says stop.
        """
        losses, together, total, told = np.zeros(self._networks), np.zeros(2), 0.0, False
        for start in range(0, len(self._samples), FORWARD_ROWS):
            if told := loop.should_stop():
                break
            place = slice(start, start + FORWARD_ROWS)
            made = map(self._backend.to_device, self._inputs(self._samples.features[place]))
            outputs = self._backend.to_host(self._network.forward(*made))
            targets = self._samples.targets[place]
            weights = self._samples.weighing(place, targets)
            loss, block = self._judge(outputs, targets, weights)
            losses, together = losses + (block[:1] if self._as_one else loss), together + block
            total += len(targets) if weights is None else float(weights.sum())
        own = np.concatenate([losses, together, [total]])
        *_, first, second, rows = sums = added_up(self._communicator, own, told)
        first, second = float(first / rows), float(second / rows)
        if self._samples.classes:
            scores = {"validation_loss": first, "validation_accuracy": second}
        else:
            scores = {"validation_loss": first, "validation_rmse": self._samples.unit * sqrt(second)}
        return sums[: self._networks] / rows, scores


def _judge_classes(logits: Array, labels: Array, weights: Weights | None) -> tuple[Array, Array]:
    """How often each network is wrong (K,), and the summed log loss and hits of their mean prediction."""
    wrong = _sum(logits.argmax(axis=2) != labels, weights)
    wrong = np.where(np.isfinite(logits).all(axis=(1, 2)), wrong, np.inf)
    mean = softmax(np, logits.astype(np.float64)).mean(axis=0)
    picked = np.maximum(mean[np.arange(len(labels)), labels], 1e-30)
    return wrong, np.array([_sum(-np.log(picked), weights), _sum(mean.argmax(axis=1) == labels, weights)])


def _judge_values(outputs: Array, targets: Array, weights: Weights | None) -> tuple[Array, Array]:
    """Summed squared error of each network (K,), and that of their mean prediction, twice."""
    loss = _sum((outputs[..., 0] - targets) ** 2, weights)
    together = _sum((outputs[..., 0].mean(axis=0) - targets) ** 2, weights)
    return loss, np.array([together, together])


def _sum(values: Array, weights: Weights | None) -> Array:
    """Over the last axis, of rows, in float64."""
    return values.sum(axis=-1, dtype=np.float64) if weights is None else values @ weights
