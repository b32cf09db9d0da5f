"""Logistic regression: minimises mean log loss + l2/(2n)·‖W‖² over W and unpenalised intercepts.

That is scikit-learn's objective with C = 1/l2. Where rows have weights, the mean's sum counts each loss by
its row's; n stays the number of rows. Two classes have one free column, the log odds of the second; more
classes have one each (softmax).

Of many rows, some are fitted first: their weights are where the walk over all rows begins, and the curvature
there scales its steps. So most of the way costs little, and few passes over all rows are left.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import Shard, added_up, go_on, shared_state
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples
from services.training.compute.estimators.batches import random
from services.training.compute.estimators.curvature import (
    WIDEST,
    Inverse,
    Rows,
    curvature,
    diagonal_curvature,
    even_curvature,
)
from services.training.compute.estimators.products import Blocks, Inputs
from services.training.compute.kernels.cross_entropy import cross_entropy, softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.lbfgs import Point, Vector, Walk, minimise
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.resume import fitting
from services.training.domain.hyperparameters import Logistic

# Rows at a time: few enough that they stay in cache on the host, many enough to fill a device.
_TILE_ROWS = {"numpy": 1024, "cupy": 262_144}
# Rows between two questions whether to stop.
_BLOCK_ROWS = 65_536
# Rows that are fitted first, where there are _MANY times as many, and they _MANY times as many as inputs.
_FIRST_ROWS = 16_384
_MANY = 4
# How far the first fit goes: its end differs from that of all rows by more.
_FIRST_ITERATIONS, _FIRST_TOLERANCE = 100, 1e-3


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
        communicator: Communicator = ALONE,
    ) -> Outcome:
        """See Estimator. Convex: `seed` is not used."""
        shard = Shard.of(communicator, len(train))
        resume = shared_state(communicator, resume)
        objective = _Objective(train, shard, shard.total, self._params.l2 / shard.total, loop, backend)
        steps = 0

        def on_iteration(walk: Walk) -> bool:
            nonlocal steps
            steps = walk.iteration
            metrics = {"train_loss": walk.point.value, "gradient": walk.point.slope}
            loop.report(steps, steps / self._params.max_iterations, metrics)
            loop.checkpoint(steps, lambda: {**walk.state(), "anchor": anchor})
            go_on(communicator, loop)
            return False

        try:
            first = _First(objective, train)
            anchor, walk = first.begin(start) if resume is None else _restore(resume, objective.size)
            limits = (self._params.max_iterations, self._params.tolerance)
            end = minimise(objective, walk, *limits, on_iteration, inverse=first.curvature(anchor))
        except Stopped:
            return Outcome({}, objective.samples, steps, stopped=True)
        table = end.point.x.reshape(-1, objective.free)
        arrays = {"weights": table[:-1].copy(), "intercepts": table[-1].copy()}
        return Outcome(arrays, objective.samples, end.iteration)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator."""
        free = features.astype(np.float64) @ arrays["weights"] + arrays["intercepts"]
        logits = np.zeros((len(features), self._classes))
        logits[:, self._classes - free.shape[1] :] = free
        probabilities: npt.NDArray[np.float64] = softmax(np, logits)
        return probabilities


def _restore(state: State, size: int) -> tuple[Vector, Walk]:
    """The inverse of a snapshot; raises ComputeError when it is one of another fit."""
    blank = Walk(Point(np.zeros(size), 0.0, np.zeros(size))).state()
    arrays = fitting(state, {**blank, "anchor": np.zeros(size)})
    return arrays.pop("anchor"), Walk.restore(arrays, size)


class _First:
    """Some of the rows of all ranks, to begin with; none where they are too wide to tell their curvature."""

    def __init__(self, objective: _Objective, train: Samples) -> None:
        self._objective, self._free, self._penalty = objective, objective.free, objective.penalty
        shard = objective.shard
        self._communicator, total = shard.communicator, shard.total
        self._count = min(total, _FIRST_ROWS) if train.width < WIDEST else 0
        self._some = total >= _MANY * self._count >= _MANY * train.width
        drawn = random(0).choice(total, self._count, replace=False, shuffle=False)
        self._rows = train.among(shard.here(np.sort(drawn))) if self._count else None

    def begin(self, start: Arrays | None) -> tuple[Vector, Walk]:
        """Where curvature is to be taken, and the walk there; at `start` or where the first fit ends."""
        anchor = np.zeros(self._objective.size)
        if start is not None:
            anchor = np.concatenate([start["weights"], start["intercepts"][None]]).astype(np.float64).ravel()
        elif self._rows and self._some:
            few = self._objective.over(self._rows, self._count)
            walk = Walk(Point(anchor, *few(anchor)))
            limits = (_FIRST_ITERATIONS, _FIRST_TOLERANCE)
            anchor = minimise(few, walk, *limits, lambda _: False, inverse=self._even(self._rows)).point.x
            self._objective.samples += few.samples
        return anchor, Walk(Point(anchor, *self._objective(anchor)))

    def curvature(self, anchor: Vector) -> Inverse:
        """What scales the steps of the walk."""
        if self._rows is None:
            return diagonal_curvature(self._objective.squares(), self._free, self._penalty)
        if self._some and anchor.any() and self._objective.size <= WIDEST:
            table = anchor.reshape(-1, self._free)
            return curvature(_rows(self._rows), table, self._penalty, self._communicator)
        return self._even(self._rows)

    def _even(self, rows: Samples) -> Inverse:
        return even_curvature(_rows(rows), self._free, self._penalty, self._communicator)


def _rows(few: Samples) -> Rows:
    features, targets = np.asarray(few.features), np.asarray(few.targets)
    return Rows(features, few.weighing(slice(None), targets))


class _Objective:
    """Value and gradient at a flat (d + 1, free) float64 table of weights, the intercepts in its last row.

    Over the rows of all ranks, `total` of them, of which `train` are here: every rank gets the same.
    samples: rows read here so far. Calls raise Stopped when the loop of a rank says stop.
    """

    def __init__(  # noqa: PLR0917 (what is summed, and where)
        self, train: Samples, shard: Shard, total: int, penalty: float, loop: Loop, backend: Backend
    ) -> None:
        self.free = 1 if train.classes == 2 else train.classes
        self.size = (train.width + 1) * self.free
        self.penalty, self.shard = penalty, shard
        self.samples = 0
        self._loop = loop
        self._backend = backend
        self._rows, self._total = len(train), total
        most = _BLOCK_ROWS if backend.name == "numpy" else _TILE_ROWS[backend.name]
        self._blocks = Blocks(train, backend, most)
        rows = min(len(train), _TILE_ROWS[backend.name])
        self._logits = backend.xp.empty((rows, train.classes), np.float32)
        self._losses = backend.xp.empty(rows, np.float32)
        self._even = backend.xp.full(rows, 1 / total, np.float32)

    def over(self, rows: Samples, total: int) -> _Objective:
        """The same over other rows."""
        return _Objective(rows, self.shard, total, self.penalty, self._loop, self._backend)

    def __call__(self, flat: Vector) -> tuple[float, Vector]:
        table = flat.reshape(-1, self.free)
        gradient = np.zeros_like(table)
        value, told = 0.0, False
        weights = self._backend.to_device(table.astype(np.float32))
        for inputs, targets, counted in self._blocks:
            if told := self._loop.should_stop():
                break
            shares = None if counted is None else (counted / self._total).astype(np.float32)
            for start in range(0, len(inputs), len(self._logits)):
                rows = slice(start, start + len(self._logits))
                tile = inputs.rows(rows), targets[rows], self._even if shares is None else shares[rows]
                value += self._add_tile(*tile, weights, gradient)
        sums = added_up(self.shard.communicator, np.append(gradient, value), told)
        gradient, value = sums[:-1].reshape(table.shape), float(sums[-1])
        self.samples += self._rows
        gradient[:-1] += self.penalty * table[:-1]
        value += self.penalty / 2 * float((table[:-1] ** 2).sum())
        return value, gradient.ravel()

    def squares(self) -> Vector:
        """The mean of each input's square (d,)."""
        found, told = np.zeros(self.size // self.free - 1), False
        for inputs, _, counted in self._blocks:
            if told := self._loop.should_stop():
                break
            inputs.add_squares(self._backend, found, counted)
        return added_up(self.shard.communicator, found, told) / self._total

    def _add_tile(
        self, inputs: Inputs, targets: Array, shares: Array, weights: Array, gradient: Vector
    ) -> float:
        """shares: how much each row counts of all."""
        xp, to_host = self._backend.xp, self._backend.to_host
        logits, losses = self._logits[: len(inputs)], self._losses[: len(inputs)]
        fixed = logits.shape[1] - self.free
        logits[:, :fixed] = 0
        free = logits[:, fixed:]
        inputs.multiply(xp, weights[:-1], free)
        free += weights[-1]
        cross_entropy(self._backend.kernels, logits[None], targets, shares[: len(inputs)], losses[None])
        inputs.add_products(self._backend, free, gradient[:-1])
        gradient[-1] += to_host(free.sum(axis=0, dtype=np.float64))
        return float(xp.sum(losses, dtype=np.float64))
