"""Gradient-boosted trees, by XGBoost (T. Chen, C. Guestrin, KDD 2016).

Trees take packed rows as they are: a missing number is one, and a category is split by its values. The best
round on the validation rows counts, and training ends when none has been better for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.communicator.together import alone
from services.training.compute.errors import ComputeError
from services.training.compute.estimators.base import Arrays, Block, Matrix, Outcome, Samples
from services.training.compute.estimators.inputs import packed_columns
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.resume import misfit
from services.training.domain.hyperparameters import BoostedTrees

# Rows that come to XGBoost at a time.
_BLOCK_ROWS = 65_536
# XGBoost draws rows and columns from streams whose state no one can save. After so many rounds they are begun
# anew, by a seed that depends on the round; a resumed run repeats the rounds since then.
_STRETCH = 50
# What the loop decides rather than XGBoost.
_OURS = ("n_estimators", "early_stopping_rounds")


class BoostedTreesEstimator:
    """Classification by log loss, regression by squared error on the standardised target."""

    def __init__(self, params: BoostedTrees, classes: int) -> None:
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
        """See Estimator. `start`: trees that new ones are added to."""
        alone(communicator, "boosted_trees")
        columns = packed_columns(train)
        run = _Run(self._params, self._settings(seed, backend), columns, train, validation, loop)
        run.begin(resume, start)
        before = run.round
        try:
            run.train()
        except Stopped:
            return Outcome({}, (run.round - before) * len(train), run.round, stopped=True)
        arrays: dict[str, npt.NDArray[Any]] = {"booster": _raw(run.best()), "columns": columns}
        return Outcome(arrays, (run.round - before) * len(train), run.round)

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """See Estimator; `features` are packed rows."""
        booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(arrays["booster"].tobytes()))
        rows = _prepared(features, arrays["columns"])
        said = booster.predict(xgboost.DMatrix(rows, nthread=1, **_kinds(arrays["columns"])))
        probabilities = np.asarray(said, np.float64)
        if self._classes != 2:
            return probabilities
        return np.column_stack([1 - probabilities, probabilities])

    def _settings(self, seed: int, backend: Backend) -> dict[str, Any]:
        own = {name: value for name, value in asdict(self._params).items() if name not in _OURS}
        objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(self._classes, "multi:softprob")
        measure = {0: "rmse", 2: "logloss"}.get(self._classes, "mlogloss")
        shape = {"num_class": self._classes} if self._classes > 2 else {}
        place = {"device": "cuda" if backend.name == "cupy" else "cpu", "nthread": 1, "tree_method": "hist"}
        return {"objective": objective, "eval_metric": measure, "seed": seed, **shape, **place, **own}


class _Run:
    """The trees so far. round: how many rounds this run has behind it, those before a checkpoint included."""

    def __init__(  # noqa: PLR0917 (what is trained, and on what)
        self,
        params: BoostedTrees,
        settings: dict[str, Any],
        columns: npt.NDArray[np.int64],
        train: Samples,
        validation: Samples | None,
        loop: Loop,
    ) -> None:
        self.round = 0
        self._params, self._settings, self._loop = params, settings, loop
        bins = {"max_bin": params.max_bin}
        self._train = xgboost.QuantileDMatrix(_Blocks(train, columns), enable_categorical=True, **bins)
        self._parts = [(self._train, "train_loss")]
        if validation is not None:
            blocks = _Blocks(validation, columns)
            held = xgboost.QuantileDMatrix(blocks, enable_categorical=True, ref=self._train, **bins)
            self._parts.append((held, "validation_loss"))
        self._first = self._best_round = 0
        self._best_loss = np.inf

    def begin(self, resume: State | None, start: Arrays | None) -> None:
        """At a checkpoint, at trees of another run, or at none."""
        raw = resume["booster"] if resume else start["booster"] if start else None
        data = [matrix for matrix, _ in self._parts]
        try:
            self._booster = xgboost.Booster(
                self._settings, data, None if raw is None else bytearray(raw.tobytes())
            )
        except xgboost.core.XGBoostError as error:
            raise misfit("its trees cannot be read") from error
        trees = self._booster.num_boosted_rounds()
        if resume is None:
            self._first = trees
            return
        self.round, self._best_round = int(resume["round"]), int(resume["best_round"])
        begun = max(0, self.round - 1) // _STRETCH * _STRETCH
        self._best_loss, self._first = float(resume["best_loss"]), trees - begun
        if not 0 <= self.round <= self._params.n_estimators or self._first < 0:
            raise misfit(f"it has {trees} rounds of trees, and says {self.round}")
        for past in range(begun, self.round):
            self._grow(past)

    def train(self) -> None:
        """Runs to the end; raises Stopped."""
        rounds, patience = self._params.n_estimators, self._params.early_stopping_rounds
        while self.round < rounds and self.round - self._best_round < patience:
            self._grow(self.round)
            self.round += 1
            losses = self._losses()
            self._observe(losses.get("validation_loss"))
            self._loop.report(self.round, self.round / rounds, losses)
            self._loop.checkpoint(self.round, self.state)
            if self._loop.should_stop():
                raise Stopped

    def _grow(self, number: int) -> None:
        """Adds the trees of a round."""
        if number % _STRETCH == 0:
            self._stretch = _raw(self._booster)
            # Only a booster without caches begins its streams at the seed that it is given.
            self._booster.reset()
            self._booster.set_param({"seed": (self._settings["seed"] + number) % 2**31})
        self._booster.update(self._train, self._first + number)

    def best(self) -> xgboost.Booster:
        """The trees up to the best round."""
        best: xgboost.Booster = self._booster[: self._first + self._best_round]
        return best

    def state(self) -> State:
        """What a resume needs; `booster` is from before the rounds that it has to repeat."""
        numbers = {"round": self.round, "best_round": self._best_round, "best_loss": self._best_loss}
        return {"booster": self._stretch, **{name: np.array(value) for name, value in numbers.items()}}

    def _losses(self) -> dict[str, float]:
        said = self._booster.eval_set(self._parts, self.round)
        pairs = (part.rsplit(":", 1) for part in said.split("\t")[1:])
        losses = {name.rsplit("-", 1)[0]: float(value) for name, value in pairs}
        if not all(isfinite(loss) for loss in losses.values()):
            raise ComputeError("learning_rate", "training diverged; a lower rate may help")
        return losses

    def _observe(self, loss: float | None) -> None:
        if loss is None or loss < self._best_loss:
            self._best_round, self._best_loss = self.round, np.inf if loss is None else loss


class _Blocks(xgboost.DataIter):
    """Packed rows, block by block, so that they are never twice in memory."""

    def __init__(self, samples: Samples, columns: npt.NDArray[np.int64]) -> None:
        super().__init__()
        self._samples, self._columns = samples, columns
        self._rest: Iterator[Block] = iter(())

    def next(self, input_data: Any) -> bool:
        block = next(self._rest, None)
        if block is None:
            return False
        weighed = {} if block.weights is None else {"weight": block.weights}
        rows = _prepared(block.inputs, self._columns)
        input_data(data=rows, label=block.targets, **weighed, **_kinds(self._columns))
        return True

    def reset(self) -> None:
        self._rest = self._samples.blocks(_BLOCK_ROWS)


def _prepared(rows: Matrix, columns: Sequence[int] | npt.NDArray[np.int64]) -> Matrix:
    """Packed rows with NaN for a category that is none of those that are known."""
    prepared = np.array(rows, np.float32)
    categories = np.flatnonzero(np.asarray(columns) >= 0)
    chosen = prepared[:, categories]
    prepared[:, categories] = np.where(chosen < 0, np.nan, chosen)
    return prepared


def _kinds(columns: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {"feature_types": ["q" if column < 0 else "c" for column in columns]}


def _raw(booster: xgboost.Booster) -> npt.NDArray[np.uint8]:
    return np.frombuffer(bytes(booster.save_raw("ubj")), np.uint8).copy()
