"""Logistic regression: minimises mean log loss + l2/(2n)·‖W‖² over W and unpenalised intercepts.

That is scikit-learn's objective with C = 1/l2. Two classes have one free column, the log odds of the second;
more classes have one each (softmax).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples
from services.training.compute.kernels.cross_entropy import cross_entropy, softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.lbfgs import Point, Walk, minimise
from services.training.compute.loop import Loop, State
from services.training.domain.hyperparameters import Logistic

# Rows at a time: few enough that a block's logits stay in cache on the host, many enough to fill a device.
_BLOCK_ROWS = {"numpy": 8192, "cupy": 262_144}

Vector = npt.NDArray[np.float64]


class LogisticEstimator:
    """Classification only, by L-BFGS in float64 over products in float32."""

    def __init__(self, params: Logistic, classes: int) -> None:
        assert classes >= 2, "logistic is for classification"
        self._params = params
        self._classes = classes

    def fit(
        self,
        train: Samples,
        validation: Samples | None,
        seed: int,
        loop: Loop,
        backend: Backend,
        *,
        resume: State | None = None,
        start: Arrays | None = None,
    ) -> Outcome:
        """See Estimator. Convex, and started from zero if not from `start`: `seed` is not used."""
        objective = _Objective(train, self._params.l2, loop, backend)
        walk = _begin(objective, resume, start)

        def on_iteration(walk: Walk) -> bool:
            metrics = {"train_loss": walk.point.value, "gradient": walk.point.slope}
            loop.report(walk.iteration, walk.iteration / self._params.max_iterations, metrics)
            loop.checkpoint(walk.iteration, walk.state)
            return objective.told_to_stop()

        end = minimise(objective, walk, self._params.max_iterations, self._params.tolerance, on_iteration)
        samples = objective.evaluations * len(train)
        if objective.stopped:
            return Outcome({}, samples, end.iteration, stopped=True)
        table = end.point.x.reshape(-1, objective.free)
        arrays = {"weights": table[:-1].copy(), "intercepts": table[-1].copy()}
        return Outcome(arrays, samples, end.iteration)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator."""
        free = features.astype(np.float64) @ arrays["weights"] + arrays["intercepts"]
        logits = np.zeros((len(features), self._classes))
        logits[:, self._classes - free.shape[1] :] = free
        probabilities: npt.NDArray[np.float64] = softmax(np, logits)
        return probabilities


def _begin(objective: _Objective, resume: State | None, start: Arrays | None) -> Walk:
    if resume is not None:
        return Walk.restore(resume, objective.size)
    x = np.zeros(objective.size)
    if start is not None:
        x = np.concatenate([start["weights"], start["intercepts"][None]]).astype(np.float64).ravel()
    return Walk(Point(x, *objective(x)))


class _Objective:
    """Value and gradient at a flat (d + 1, free) float64 table of weights, the intercepts in its last row."""

    def __init__(self, train: Samples, l2: float, loop: Loop, backend: Backend) -> None:
        self.free = 1 if train.classes == 2 else train.classes
        self.size = (train.width + 1) * self.free
        self.evaluations = 0
        self.stopped = False
        self._penalty = l2 / len(train)
        self._loop = loop
        self._backend = backend
        self._samples = train.on(backend)
        rows = min(len(train), _BLOCK_ROWS[backend.name])
        self._logits = backend.xp.empty((rows, train.classes), np.float32)
        self._losses = backend.xp.empty(rows, np.float32)
        self._weights = backend.xp.full(rows, 1 / len(train), np.float32)

    def __call__(self, flat: Vector) -> tuple[float, Vector]:
        table = flat.reshape(-1, self.free)
        gradient = np.zeros_like(table)
        value = 0.0
        weights = self._backend.to_device(table.astype(np.float32))
        for x, targets in self._samples.blocks(len(self._logits)):
            if self.told_to_stop():
                # A value that no search takes: the walk ends here, and its end is thrown away.
                return np.inf, np.zeros_like(flat)
            value += self._add_block(x, targets, weights, gradient)
        self.evaluations += 1
        gradient[:-1] += self._penalty * table[:-1]
        value += self._penalty / 2 * float((table[:-1] ** 2).sum())
        return value, gradient.ravel()

    def told_to_stop(self) -> bool:
        """Asks the loop; `stopped` once it has said so."""
        self.stopped = self.stopped or self._loop.should_stop()
        return self.stopped

    def _add_block(self, x: Array, targets: Array, weights: Array, gradient: Vector) -> float:
        xp, to_host = self._backend.xp, self._backend.to_host
        x, targets = self._backend.to_device(x), self._backend.to_device(targets)
        logits, losses = self._logits[: len(x)], self._losses[: len(x)]
        fixed = logits.shape[1] - self.free
        logits[:, :fixed] = 0
        free = logits[:, fixed:]
        xp.matmul(x, weights[:-1], out=free)
        free += weights[-1]
        cross_entropy(self._backend.kernels, logits[None], targets, self._weights[: len(x)], losses[None])
        gradient[:-1] += to_host(x.T @ free)
        gradient[-1] += to_host(free.sum(axis=0, dtype=np.float64))
        return float(xp.sum(losses, dtype=np.float64))
