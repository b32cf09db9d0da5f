"""How good the networks are on the validation rows, and which of their weights were best."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.estimators.base import Arrays, Samples
from services.training.compute.estimators.network import Layout, Network, smooth_clip
from services.training.compute.kernels.cross_entropy import softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.loop import Loop, State, Stopped

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
        """Keeps the weights of the networks whose loss, (K,), is lower than ever."""
        better = losses < self._losses
        self._waited = 0 if better.any() else self._waited + 1
        self._losses[better] = losses[better]
        for network in np.flatnonzero(better):
            self.parameters[network] = self._current[network]

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
    """Scores the networks on the validation rows."""

    def __init__(self, layout: Layout, parameters: Array, samples: Samples, backend: Backend) -> None:
        self._network = Network(layout, parameters, backend, min(len(samples), FORWARD_ROWS))
        self._samples, self._backend = samples.on(backend), backend
        self._judge = _judge_classes if samples.classes else _judge_values

    def scores(self, loop: Loop) -> tuple[npt.NDArray[np.float64], dict[str, float]]:
        """Each network's mean loss (K,), and what to report of them and of their mean prediction.

        Raises Stopped when the loop says stop.
        """
        xp, rows, to_device = self._backend.xp, len(self._samples), self._backend.to_device
        losses, total = 0.0, 0.0
        for features, targets in self._samples.blocks(FORWARD_ROWS):
            if loop.should_stop():
                raise Stopped
            outputs = self._network.forward(smooth_clip(xp, to_device(features)))
            loss, together = self._judge(xp, outputs, to_device(targets))
            losses, total = losses + self._backend.to_host(loss), total + float(together)
        means = np.asarray(losses, np.float64) / rows
        scores = {"validation_loss": float(means.mean())}
        if self._samples.classes:
            return means, scores | {"validation_accuracy": total / rows}
        return means, scores | {"validation_rmse": self._samples.unit * sqrt(total / rows)}


def _judge_classes(xp: Array, logits: Array, labels: Array) -> tuple[Array, Array]:
    """Summed log loss of each network (K,), and how often their mean prediction is right."""
    probabilities = softmax(xp, logits)
    picked = probabilities[:, xp.arange(len(labels)), labels]
    loss = -xp.log(xp.maximum(picked, 1e-30)).sum(axis=1, dtype=np.float64)
    return loss, (probabilities.mean(axis=0).argmax(axis=1) == labels).sum()


def _judge_values(xp: Array, outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Summed squared error of each network (K,), and that of their mean prediction."""
    loss = ((outputs[..., 0] - targets) ** 2).sum(axis=1, dtype=np.float64)
    return loss, ((outputs[..., 0].mean(axis=0) - targets) ** 2).sum(dtype=np.float64)
