"""Permutation importance: how much worse a model gets when what a column says is shuffled among the rows.

L. Breiman, "Random Forests", Machine Learning, 2001; A. Fisher, C. Rudin, F. Dominici, "All Models are Wrong,
but Many are Useful", JMLR, 2019.

It tells what this model uses, not what the world does: of two columns that say the same, either may look
unimportant, because the other still speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.estimators.base import Matrix, Samples
from services.training.compute.explanation import Explanation, Importance, Metric
from services.training.compute.metrics import log_losses
from services.training.compute.model import TrainedModel
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import FloatArray, IntArray
from services.training.compute.targets import NoTarget, ValueTarget

# A model of more columns is not explained: each costs its own predictions.
MOST_COLUMNS = 1000
REPEATS = 5
_LEAST_ROWS, _MOST_ROWS = 100, 2000
# Rows that are predicted in all, unless there are too many columns for even the least rows.
_PREDICTED = 1 << 17


def explain(
    model: TrainedModel, samples: Samples, seed: int, go_on: Callable[[], None]
) -> Explanation | None:
    """The importance of every column, on at most 2,000 of the rows, which count by their weights. The same
    arguments give the same.

    None for clusters, and for more than MOST_COLUMNS columns. Nothing is trained: it costs predictions of
    131,072 rows at most, or of 500 rows a column when there are more than 262 columns.

    go_on: called before each column; what it raises ends this.
    """
    columns = len(model.preprocessor.columns)
    if isinstance(model.target, NoTarget) or columns > MOST_COLUMNS:
        return None
    random = np.random.default_rng(seed)
    rows = _some_rows(len(samples), columns, random)
    features, targets, weights = samples.taken(rows)
    metric, losses = _losses(model, targets)
    orders = np.array([random.permutation(len(rows)) for _ in range(REPEATS)])
    places = column_places(model.preprocessor, features.shape[1])
    baseline = float(np.average(losses(features), weights=weights))
    found = shuffled(losses, features, places, orders, go_on, weights) - baseline
    errors = found.std(axis=1, ddof=1) / sqrt(REPEATS)
    triples = zip(model.preprocessor.names, found.mean(axis=1).tolist(), errors.tolist(), strict=True)
    importances = sorted((Importance(*one) for one in triples), key=lambda one: -one.mean)
    return Explanation(metric, baseline, len(rows), tuple(importances))


def shuffled(  # noqa: PLR0917 (a model's losses on rows, and what is done to these)
    losses: Callable[[Matrix], FloatArray],
    features: Matrix,
    places: Sequence[slice],
    orders: IntArray,
    go_on: Callable[[], None],
    weights: FloatArray | None = None,
) -> FloatArray:
    """The mean loss with one column shuffled: (columns, repeats).

    losses: of rows (repeats · n, d), which are the n again and again, one number each. features: (n, d).
    places: what of a row each column takes. orders: (repeats, n), permutations of the rows, the same for
    every column. weights: (n,), by which the rows count.
    """
    found, changed = np.empty((len(places), len(orders))), np.stack([features] * len(orders))
    for column, place in enumerate(places):
        go_on()
        changed[:, :, place] = features[:, place][orders]
        # All repeats at once: some models take long to get ready.
        said = losses(changed.reshape(-1, features.shape[1]))
        found[column] = np.average(said.reshape(orders.shape), axis=1, weights=weights)
        changed[:, :, place] = features[:, place]
    return found


def column_places(preprocessor: Preprocessor, width: int) -> list[slice]:
    """What of a row each column takes: one number of a packed one, else all the outputs it became."""
    packed = width == len(preprocessor.columns)
    ends = np.cumsum([1 if packed else column.width for column in preprocessor.columns]).tolist()
    return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]


def _some_rows(there: int, columns: int, random: np.random.Generator) -> IntArray:
    most = min(max(_PREDICTED // (columns * REPEATS), _LEAST_ROWS), _MOST_ROWS, there)
    return np.sort(random.choice(there, most, replace=False, shuffle=False))


def _losses(model: TrainedModel, targets: npt.NDArray[Any]) -> tuple[Metric, Callable[[Matrix], FloatArray]]:
    """What each of the rows costs, which are those of the targets again and again."""
    if not isinstance(model.target, ValueTarget):
        return "log_loss", lambda rows: log_losses(_again(targets, rows), model.outputs(rows))
    truth = model.target.decode(targets)
    return "mse", lambda rows: (model.outputs(rows) - _again(truth, rows)) ** 2


def _again(targets: npt.NDArray[Any], rows: Matrix) -> npt.NDArray[Any]:
    return np.tile(targets, len(rows) // len(targets))
