"""K multi-layer perceptrons trained at once by mini-batch AdamW; their predictions are averaged.

All K see the same batches and differ by their initial weights and their dropout. The default is the recipe
of RealMLP (D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default", NeurIPS 2024) for each of them.
With validation rows, each network keeps the weights of its best epoch, and the run ends when none has
improved for `early_stopping_patience` epochs. Several candidates in one run end apart from each other, each
with what it would have had alone. Members that share weights (`tab_m`) are one network in this:
the epoch counts in which their mean was best.

Several ranks share each batch: `batch_size` counts the rows of all of them, and a rank takes its part of them
from its own. So they make as many steps, at the same learning rates, as one rank with all rows would; but
other rows meet in a batch, and each rank drops units by chances of its own. Each has as many rows as any
other, or one more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from services.training.compute.estimators.candidates import alike, ensemble
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.estimators.judge import FORWARD_ROWS, Judge
from services.training.compute.estimators.layout import Architecture, Layout
from services.training.compute.estimators.run import Run, first_parameters
from services.training.compute.estimators.shared_layout import SharedLayout
from services.training.compute.kernels.cross_entropy import softmax
from services.training.compute.loop import Loop, State, Stopped
from services.training.domain.hyperparameters import Mlp

# Rows that several ranks learn from how to scale inputs; each gets all of them.
_SHARED_ROWS = 1 << 14


class MlpEstimator:
    """Classification by softmax and cross-entropy, regression by squared error on the standardised target."""

    def __init__(self, params: Mlp, classes: int) -> None:
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
        """See Estimator. Raises ComputeError when the loss is no number from the first epoch on."""
        one, *_ = self.fit_each(
            (self._params,),
            train,
            validation,
            seed,
            loop,
            backend,
            resume=resume,
            start=start,
            communicator=communicator,
        )
        if isinstance(one, ComputeError):
            raise one
        return one

    # A run that diverges is told by its loss, below.
    @np.errstate(over="ignore", invalid="ignore")
    def fit_each(  # noqa: PLR0917 (what `fit` takes, for several)
        self,
        candidates: Sequence[Mlp],
        train: Samples,
        validation: Samples | None,
        seed: int,
        loop: Loop,
        backend: Backend,
        *,
        resume: State | None = None,
        start: Arrays | None = None,
        communicator: Communicator = ALONE,
    ) -> list[Outcome | ComputeError]:
        """What `fit` with each of the candidates would give, or would raise of its own, up to rounding.

        They are what this estimator was made with, but for what `alike` leaves out. It goes on until the
        last of them has ended. What is reported of an epoch is of the candidate that was best in it.
        """
        shard = _even(Shard.of(communicator, len(train)))
        settled = self._settled(candidates, shard.total)
        params, count = settled[0], len(settled)
        inputs = Inputs.restore(start) if start else _inputs(train, shard)
        layout = self.layout(inputs)
        members = [member for one in settled for member in ensemble(one, seed)]
        weights = np.array(start["parameters"] if start else first_parameters(layout, members, train, inputs))
        communicator.broadcast(weights)
        trained = (params, layout, inputs, members, train, shard, seed, backend.at(params.precision))
        run = Run(*trained, weights=weights, candidates=count)
        resume = shared_state(communicator, resume)
        if resume is not None:
            run.restore(resume)
        before = run.seen
        judge = None
        if validation is not None:
            judged = (layout, run.parameters, validation, inputs, run.backend)
            judge = Judge(*judged, candidates=count, communicator=communicator)
        try:
            _train(run, judge, loop)
        except Stopped:
            return [Outcome({}, run.seen - before, run.steps, stopped=True)] * count
        common = {**inputs.arrays(), **_range(train, communicator)}
        return [
            Outcome({"parameters": learned, **common}, run.seen - before, run.steps) if found else _diverged()
            for learned, found in _learned(run, count, judge is not None)
        ]

    def _settled(self, candidates: Sequence[Mlp], rows: int) -> list[Mlp]:
        """Raises ComputeError for those that cannot train side by side."""
        task = "classification" if self._classes else "regression"
        settled = [one.settled(task, rows) for one in candidates]
        shapes = {alike(one) for one in settled}
        if len(settled) > 1 and (None in shapes or len(shapes) > 1):
            raise ComputeError("architecture", "candidates of tab_m or of several shapes train one by one")
        return settled

    def at_once(self, train: Samples, memory: int) -> int:
        """How many candidates fit into so many bytes side by side, with all that they need; at least 1."""
        layout = self.layout(Inputs.fit(train))
        rows = 4 * min(len(train), self._params.batch_size) + 2 * FORWARD_ROWS
        # Parameters, gradients, moments and the best weights; layers in training and in judging.
        numbers = 5 * layout.total + rows * sum(layout.sizes)
        return max(1, memory // (4 * numbers * self._params.ensemble_size))

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


def _train(run: Run, judge: Judge | None, loop: Loop) -> None:
    """Runs to the end; raises Stopped."""
    epochs = run.epochs
    while run.epoch < epochs and not run.best.ended.all():
        trained, going, losses = run.finish_epoch(loop), ~run.best.ended, None
        compared = trained
        scores: list[dict[str, float]] = [{} for _ in trained]
        if judge is not None:
            losses, scores = judge.scores(loop)
            compared = np.array([one["validation_loss"] for one in scores])
        run.best.observe(trained, losses)
        # Of those that go on; where all have diverged, any.
        leader = int(np.where(going & np.isfinite(compared), compared, np.inf).argmin())
        metrics = {"train_loss": float(trained[leader]), "learning_rate": run.learning_rate(leader)}
        metrics |= scores[leader]
        run.next_epoch()
        metrics["epoch"] = float(run.epoch)
        finite = {name: value for name, value in metrics.items() if isfinite(value)}
        loop.report(run.steps, run.epoch / epochs, finite)


def _learned(run: Run, count: int, judged: bool) -> Iterator[tuple[npt.NDArray[np.float32], bool]]:
    """The weights of each candidate, and whether they are any good."""
    parameters = run.backend.to_host(run.best.parameters if judged else run.parameters)
    found = run.best.found if judged else np.ones(count, np.bool_)
    for learned, one in zip(parameters.reshape(count, -1, parameters.shape[1]), found, strict=True):
        yield learned, bool(one) and bool(np.isfinite(learned).all())


def _diverged() -> ComputeError:
    return ComputeError("learning_rate", "training diverged; a lower rate may help")


def _even(shard: Shard) -> Shard:
    """Raises ComputeError, on all ranks, unless each has as many rows as any other, or one more."""
    least, most = int(shard.lengths.min()), int(shard.lengths.max())
    if most > least + 1:
        raise ComputeError("train", f"ranks of mlp have as many rows each; here from {least} to {most}")
    return shard


def _inputs(train: Samples, shard: Shard) -> Inputs:
    """Learned from rows of all ranks: in a file that is sorted, those of one are unlike the others."""
    if len(shard.lengths) == 1:
        return Inputs.fit(train)
    drawn = np.unique(np.linspace(0, shard.total - 1, _SHARED_ROWS).astype(int))
    rows = shard.collected(drawn, np.asarray(train.taken(shard.here(drawn)).inputs))
    return Inputs.fit(replace(train, features=rows))


def _range(train: Samples, communicator: Communicator) -> dict[str, npt.NDArray[np.float64]]:
    """The least and the largest target of a regression."""
    if train.classes:
        return {}
    size = 1 << 20
    blocks = [train.targets[start : start + size] for start in range(0, len(train), size)]
    ends = np.array([min(b.min() for b in blocks), max(b.max() for b in blocks)], np.float64)
    found = gathered(communicator, ends)
    return {"range": np.array([found[:, 0].min(), found[:, 1].max()])}
