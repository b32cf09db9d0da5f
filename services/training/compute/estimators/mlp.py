"""K multi-layer perceptrons trained at once by mini-batch AdamW; their predictions are averaged.

All K see the same batches and differ by their initial weights and their dropout. The learning rate falls
along half a cosine. With validation rows, each network keeps its own best weights, and the run ends when none
has improved for `early_stopping_patience` epochs.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend, open_backend
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples
from services.training.compute.estimators.batches import Batches, random
from services.training.compute.estimators.judge import FORWARD_ROWS, Best, Judge
from services.training.compute.estimators.network import (
    Dropout,
    Layout,
    Network,
    TrainableNetwork,
    initialise,
    smooth_clip,
)
from services.training.compute.kernels.cross_entropy import cross_entropy, softmax
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.squared_error import squared_error
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.optimizers import AdamW, warmup_cosine
from services.training.compute.resume import fitting, misfit
from services.training.domain.hyperparameters import Mlp

# Tells the stream of the initial weights apart from the others that one seed gives.
_WEIGHTS = 0


class MlpEstimator:
    """Classification by softmax and cross-entropy, regression by squared error on the standardised target."""

    def __init__(self, params: Mlp, classes: int) -> None:
        self._params = params
        self._classes = classes

    # A run that diverges is told by its loss, below.
    @np.errstate(over="ignore", invalid="ignore")
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
        """See Estimator. Raises ComputeError when the loss is no number from the first epoch on."""
        layout = self._layout(train.width)
        cold = initialise(layout, self._params.ensemble_size, random(seed, _WEIGHTS))
        weights = start["parameters"] if start else cold
        run = _Run(self._params, layout, train, seed, backend, weights=weights)
        if resume is not None:
            run.restore(resume)
        before = run.seen
        judge = None if validation is None else Judge(layout, run.parameters, validation, backend)
        try:
            self._train(run, judge, loop)
        except Stopped:
            return Outcome({}, run.seen - before, run.optimizer.count, stopped=True)
        learned = backend.to_host(run.parameters if judge is None else run.best.parameters)
        if (judge is not None and not run.best.found) or not np.isfinite(learned).all():
            raise ComputeError("learning_rate", "training diverged; a lower rate may help")
        return Outcome({"parameters": learned}, run.seen - before, run.optimizer.count)

    def _train(self, run: _Run, judge: Judge | None, loop: Loop) -> None:
        """Runs to the end; raises Stopped."""
        epochs, loss = self._params.max_epochs, 0.0
        while run.epoch < epochs and isfinite(loss) and not run.best.waited_out:
            loss = run.finish_epoch(loop)
            metrics = {"train_loss": loss, "learning_rate": run.learning_rate}
            if judge is not None:
                losses, scores = judge.scores(loop)
                run.best.observe(losses)
                metrics |= scores
            run.next_epoch()
            metrics["epoch"] = float(run.epoch)
            finite = {name: value for name, value in metrics.items() if isfinite(value)}
            loop.report(run.optimizer.count, run.epoch / epochs, finite)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator."""
        parameters = arrays["parameters"]
        layout = self._layout(features.shape[1])
        network = Network(layout, parameters, open_backend("numpy"), min(len(features), FORWARD_ROWS))
        parts = []
        for first in range(0, len(features), FORWARD_ROWS):
            rows = features[first : first + FORWARD_ROWS]
            outputs = network.forward(smooth_clip(np, rows)).astype(np.float64)
            parts.append((softmax(np, outputs) if self._classes else outputs).mean(axis=0))
        predicted: npt.NDArray[np.float64] = np.concatenate(parts)
        return predicted if self._classes else predicted[:, 0]

    def _layout(self, inputs: int) -> Layout:
        return Layout((inputs, *self._params.hidden_sizes, max(1, self._classes)))


class _Run:
    """One run of training: the parameters, how far it has come, and the room that a step works in.

    epoch, batch: what is done, whole epochs and batches of the next one.
    """

    def __init__(
        self, params: Mlp, layout: Layout, train: Samples, seed: int, backend: Backend, *, weights: Array
    ) -> None:
        xp = backend.xp
        self.epoch = self.batch = 0
        self._params, self._backend, self._epoch_rows = params, backend, len(train)
        self._batches = Batches(train, params.batch_size, seed, backend)
        rows = self._batches.rows
        self.parameters = backend.to_device(weights.copy())
        self.best = Best(self.parameters, params.early_stopping_patience, backend)
        self.optimizer = AdamW(backend.kernels, self.parameters, params.weight_decay, layout.weights)
        self._network = TrainableNetwork(layout, self.parameters, backend, rows)
        self._noise = Dropout(params.dropout, seed) if params.dropout else None
        self._loss = cross_entropy if train.classes else squared_error
        self._weights = xp.full(rows, 1 / rows, np.float32)
        self._losses = xp.empty((params.ensemble_size, rows), np.float32)
        self._total = xp.zeros_like(self._losses)

    @property
    def seen(self) -> int:
        """Training rows processed, those before a checkpoint included."""
        return self.epoch * self._epoch_rows + self._batches.passed(self.batch)

    @property
    def learning_rate(self) -> float:
        """That of the last step."""
        return self._rate(self.optimizer.count - 1)

    def finish_epoch(self, loop: Loop) -> float:
        """Goes on to the end of the epoch; the mean loss of its batches. Raises Stopped."""
        for x, y in self._batches.epoch(self.epoch, self.batch):
            self._step(x, y)
            self.batch += 1
            loop.checkpoint(self.optimizer.count, self.state)
            if loop.should_stop():
                raise Stopped
        return float(self._total.sum(dtype=np.float64)) / len(self._total) / self._batches.steps

    def next_epoch(self) -> None:
        """Goes to the next epoch's start."""
        self.epoch, self.batch = self.epoch + 1, 0
        self._total[:] = 0

    def state(self) -> State:
        """What a resume needs."""
        moments = self.optimizer.moments
        arrays = {"parameters": self.parameters, "first": moments.first, "second": moments.second}
        host = {name: self._backend.to_host(array) for name, array in arrays.items()}
        counts = {"step": self.optimizer.count, "epoch": self.epoch, "batch": self.batch}
        numbers = {name: np.array(count) for name, count in counts.items()}
        total = {"total": self._backend.to_host(self._total), "plan": np.array(self._batches.plan)}
        return {**host, **numbers, **total, **self.best.state()}

    def restore(self, state: State) -> None:
        """Goes to where `state` was taken; raises ComputeError when it is one of another fit."""
        arrays = fitting(state, self.state())
        epoch, batch = int(arrays["epoch"]), int(arrays["batch"])
        if arrays["plan"].tolist() != list(self._batches.plan):
            raise misfit("its batches are others")
        if not (0 <= epoch <= self._params.max_epochs and 0 <= batch <= self._batches.steps):
            raise misfit(f"there is no batch {batch} of epoch {epoch}")
        moments, to_device = self.optimizer.moments, self._backend.to_device
        places = {"parameters": self.parameters, "first": moments.first, "second": moments.second}
        for name, place in (places | {"total": self._total}).items():
            place[:] = to_device(arrays[name])
        self.epoch, self.batch, self.optimizer.count = epoch, batch, int(arrays["step"])
        self.best.restore(arrays)

    def _rate(self, step: int) -> float:
        steps = self._params.max_epochs * self._batches.steps
        return warmup_cosine(step, steps, self._params.learning_rate)

    def _step(self, x: Array, y: Array) -> None:
        step = self.optimizer.count
        outputs = self._network.forward(x, self._noise, step)
        self._loss(self._backend.kernels, outputs, y, self._weights, self._losses)
        self._total += self._losses
        self._network.backward(x, outputs, self._params.dropout)
        self.optimizer.step(self._network.gradients, self._rate(step))
