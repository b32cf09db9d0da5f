"""K multi-layer perceptrons trained at once by mini-batch AdamW; their predictions are averaged.

All K see the same batches and differ by their initial weights and their dropout. The default is the recipe
of RealMLP (D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default", NeurIPS 2024) for each of them.
With validation rows, each network keeps the weights of its best epoch, and the run ends when none has
improved for `early_stopping_patience` epochs. Members that share weights (`tab_m`) are one network in this:
the epoch counts in which their mean was best.

Several ranks share each batch: `batch_size` counts the rows of all of them, and a rank takes its part of them
from its own. So they make as many steps, at the same learning rates, as one rank with all rows would; but
other rows meet in a batch, and each rank drops units by chances of its own. Each has as many rows as any
other, or one more.
"""

from __future__ import annotations

from math import isfinite
from typing import cast

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend, open_backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import Shard, gathered, shared_state
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.architectures import network
from services.training.compute.estimators.base import Arrays, Matrix, Outcome, Samples
from services.training.compute.estimators.candidates import Candidate, ensemble
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.judge import FORWARD_ROWS, Judge
from services.training.compute.estimators.layout import Architecture, Layout
from services.training.compute.estimators.run import Run, first_parameters
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.kernels.cross_entropy import softmax
from services.training.compute.loop import Loop, State, Stopped
from services.training.domain.hyperparameters import Mlp


class MlpEstimator:
    """Classification by softmax and cross-entropy, regression by squared error on the standardised target."""

    def __init__(self, params: Mlp, classes: int, candidates: tuple[Candidate, ...] = ()) -> None:
        """candidates: networks that need not be alike, in place of `ensemble_size` members that are."""
        self._params = params
        self._classes = classes
        self._candidates = candidates

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
        communicator: Communicator = ALONE,
    ) -> Outcome:
        """See Estimator. Raises ComputeError when the loss is no number from the first epoch on."""
        shard = _even(Shard.of(communicator, len(train)))
        params = self._params.settled("classification" if self._classes else "regression", shard.total)
        if self._candidates and params.architecture == "tab_m":
            raise ComputeError("architecture", "tab_m trains by itself; candidates are real_mlp or plain")
        backend = backend.at(params.precision)
        inputs = Inputs.restore(start) if start else _of_rank_0(communicator, Inputs.fit(train))
        layout = self.layout(inputs)
        members = self._candidates or ensemble(params, seed)
        weights = first_parameters(layout, members, train, inputs) if start is None else start["parameters"]
        weights = np.array(weights)
        communicator.broadcast(weights)
        run = Run(params, layout, inputs, members, train, shard, seed, backend, weights=weights)
        resume = shared_state(communicator, resume)
        if resume is not None:
            run.restore(resume)
        before = run.seen
        judge = None
        if validation is not None:
            judge = Judge(layout, run.parameters, validation, inputs, backend, communicator=communicator)
        try:
            self._train(run, judge, loop)
        except Stopped:
            return Outcome({}, run.seen - before, run.steps, stopped=True)
        learned = backend.to_host(run.parameters if judge is None else run.best.parameters)
        if (judge is not None and not run.best.found) or not np.isfinite(learned).all():
            raise ComputeError("learning_rate", "training diverged; a lower rate may help")
        arrays = {"parameters": learned, **inputs.arrays(), **_range(train, communicator)}
        return Outcome(arrays, run.seen - before, run.steps)

    def _train(self, run: Run, judge: Judge | None, loop: Loop) -> None:
        """Runs to the end; raises Stopped."""
        epochs, loss = run.epochs, 0.0
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
            loop.report(run.steps, run.epoch / epochs, finite)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator; `features` are packed rows. The mean of what the networks say."""
        return np.asarray(self.predict_each(arrays, features).mean(axis=0))

    def predict_each(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """What each network says: (K, n, classes) or (K, n)."""
        inputs, parameters = Inputs.restore(arrays), arrays["parameters"]
        rows = min(len(features), FORWARD_ROWS)
        running = network(self.layout(inputs), parameters, open_backend("numpy"), rows, inputs.owners)
        parts = []
        for first in range(0, len(features), FORWARD_ROWS):
            made = inputs(features[first : first + FORWARD_ROWS])
            outputs = running.forward(*made).astype(np.float64)
            parts.append(softmax(np, outputs) if self._classes else outputs[..., 0])
        predicted = np.concatenate(parts, axis=1)
        # Beyond what was seen in training a network that extrapolates is mostly wrong.
        return predicted if self._classes else predicted.clip(*arrays["range"])

    def layout(self, inputs: Inputs) -> Layout:
        """Where the parameters of networks that take `inputs` lie."""
        architecture = cast(Architecture, self._params.architecture)
        counts = (len(inputs.numbers), inputs.features, len(inputs.tabled), len(inputs.owners))
        sizes = (self._params.hidden_sizes, max(1, self._classes))
        if architecture == "tab_m":
            members = self._params.ensemble_size
            return SharedLayout(architecture, *counts, *sizes, self._classes > 0, members)
        return Layout(architecture, *counts, *sizes, self._classes > 0)


def _even(shard: Shard) -> Shard:
    """Raises ComputeError, on all ranks, unless each has as many rows as any other, or one more."""
    least, most = int(shard.lengths.min()), int(shard.lengths.max())
    if most > least + 1:
        raise ComputeError("train", f"ranks of mlp have as many rows each; here from {least} to {most}")
    return shard


def _of_rank_0(communicator: Communicator, inputs: Inputs) -> Inputs:
    arrays = shared_state(communicator, inputs.arrays())
    assert arrays is not None
    return Inputs.restore(arrays)


def _range(train: Samples, communicator: Communicator) -> dict[str, npt.NDArray[np.float64]]:
    """The least and the largest target of a regression."""
    if train.classes:
        return {}
    size = 1 << 20
    blocks = [train.targets[start : start + size] for start in range(0, len(train), size)]
    ends = np.array([min(b.min() for b in blocks), max(b.max() for b in blocks)], np.float64)
    found = gathered(communicator, ends)
    return {"range": np.array([found[:, 0].min(), found[:, 1].max()])}
