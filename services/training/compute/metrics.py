"""How good predictions are. A metric that its data leaves undefined is left out, never NaN.

Everything here takes arrays on the host: a model predicts there, whatever it was trained on. Rows count by
their weights, (n,) and all above 0; where there are none, each counts 1.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from services.training.compute.moments import Moments
from services.training.compute.table import FloatArray, IntArray

# Scores that are kept for the exact area under the curve.
_MOST_SCORES = 1 << 25
# Of the calibration error, over the greatest probability.
CALIBRATION_BINS = 15


class ClassificationScore:
    """Takes predictions a block at a time. Codes and probabilities are as `classification_metrics` has them.

    rows: how many there will be.
    confusion: (classes, classes), how many rows of each true class were taken for each, whatever they weigh.
    """

    def __init__(self, rows: int, classes: int) -> None:
        self._loss = 0.0
        self.confusion = np.zeros((classes, classes), np.int64)
        self._weighed = np.zeros((classes, classes))
        self._calibration = _Calibration()
        # Of two classes, one curve is the mirror of the other.
        columns = 1 if classes == 2 else classes
        kept = rows * columns <= _MOST_SCORES
        self._curves: _Kept | _Counted = (_Kept if kept else _Counted)(rows, columns)

    def add(self, truth: IntArray, probabilities: FloatArray, weights: FloatArray | None = None) -> None:
        """Takes the next rows; with weights always, or never."""
        predicted = probabilities.argmax(axis=1)
        self._loss += _sum(log_losses(truth, probabilities), weights)
        np.add.at(self.confusion, (truth, predicted), 1)
        np.add.at(self._weighed, (truth, predicted), 1 if weights is None else weights)
        self._calibration.add(probabilities.max(axis=1), truth == predicted, weights)
        self._curves.add(truth, probabilities, weights)

    def metrics(self) -> dict[str, float]:
        """Of all rows so far; empty without any."""
        total = float(self._weighed.sum())
        if not total:
            return {}
        true, hit = self._weighed.sum(axis=1), self._weighed.diagonal()
        either = true + self._weighed.sum(axis=0)
        seen = either > 0
        found = {
            "accuracy": float(hit.sum() / total),
            "log_loss": self._loss / total,
            "f1": float((2 * hit[seen] / either[seen]).mean()),
            "calibration_error": self._calibration.error(),
        }
        if (true == 0).any():
            return found
        return found | {"roc_auc": float(np.mean(self._curves.areas()))}


class RegressionScore:
    """Takes predictions a block at a time."""

    def __init__(self) -> None:
        self._square = self._absolute = 0.0
        self._truth = Moments()

    def add(self, truth: FloatArray, predicted: FloatArray, weights: FloatArray | None = None) -> None:
        """Takes the next rows."""
        values = np.asarray(truth, np.float64)
        errors = np.asarray(predicted, np.float64) - values
        self._square += float(errors @ (errors if weights is None else errors * weights))
        self._absolute += _sum(np.abs(errors), weights)
        self._truth.add(values, None if weights is None else np.asarray(weights, np.float64))

    def metrics(self) -> dict[str, float]:
        """Of all rows so far; empty without any."""
        total = self._truth.count
        if not total:
            return {}
        found = {"rmse": sqrt(self._square / total), "mae": self._absolute / total}
        spread = self._truth.squares
        return found | {"r2": 1 - self._square / spread} if spread > 0 else found


def classification_metrics(
    truth: IntArray, probabilities: FloatArray, weights: FloatArray | None = None
) -> dict[str, float]:
    """accuracy, log_loss, f1 (macro), calibration_error and, where defined, roc_auc. Empty without rows.

    truth: (n,) codes; probabilities: (n, classes), rows summing to 1.

    log_loss: mean −log of the probability given to the true class, taken as at least float32's epsilon.
    f1: the mean over the classes that occur in truth or prediction; 0 for one never hit.
    calibration_error: how far the greatest probability is from how often that class is the true one: the mean
    over CALIBRATION_BINS bins of that probability, equally wide and with their upper ends, each weighing as
    its rows (C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
    roc_auc: of the second of two classes, else the mean of one class against the rest; left out when a class
    has no rows. Of more than 33 million scores it is good to a thousandth.
    """
    score = ClassificationScore(*probabilities.shape)
    score.add(truth, probabilities, weights)
    return score.metrics()


def regression_metrics(
    truth: FloatArray, predicted: FloatArray, weights: FloatArray | None = None
) -> dict[str, float]:
    """rmse, mae and, unless the truth is constant, r2; in the target's units. Empty without rows."""
    score = RegressionScore()
    score.add(truth, predicted, weights)
    return score.metrics()


def log_losses(truth: IntArray, probabilities: FloatArray) -> npt.NDArray[np.float64]:
    """(n,): what each row adds to log_loss, as `classification_metrics` has it."""
    picked = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    losses: npt.NDArray[np.float64] = -np.log(np.maximum(picked, np.finfo(np.float32).eps))
    return losses


def _sum(values: FloatArray, weights: FloatArray | None) -> float:
    return float(values.sum() if weights is None else values @ weights)


class _Calibration:
    """In bins of the greatest probability, the sums of those and of the rows that were told right."""

    def __init__(self) -> None:
        self._total = 0.0
        self._sums = np.zeros((2, CALIBRATION_BINS))

    def add(self, greatest: FloatArray, right: npt.NDArray[np.bool_], weights: FloatArray | None) -> None:
        """Takes the next rows."""
        bins = np.searchsorted(np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1], greatest)
        counted = np.ones(len(bins)) if weights is None else weights
        self._total += float(counted.sum())
        self._sums += [np.bincount(bins, counted * values, CALIBRATION_BINS) for values in (greatest, right)]

    def error(self) -> float:
        """Of all rows so far."""
        said, true = self._sums
        return float(np.abs(said - true).sum() / self._total)


class _Kept:
    """Keeps every score, for exact areas under the curves."""

    def __init__(self, rows: int, columns: int) -> None:
        self._truth = np.empty(rows, np.int16)
        self._scores = np.empty((columns, rows))
        self._weights: list[FloatArray] = []
        self._rows = 0

    def add(self, truth: IntArray, probabilities: FloatArray, weights: FloatArray | None) -> None:
        columns, rows = len(self._scores), slice(self._rows, self._rows + len(truth))
        self._truth[rows] = truth
        self._scores[:, rows] = probabilities[:, -columns:].T
        self._weights += [] if weights is None else [weights]
        self._rows += len(truth)

    def areas(self) -> list[float]:
        """Mann-Whitney statistics: how often a positive row scores above a negative one; ties count half."""
        first = 1 if len(self._scores) == 1 else 0
        positive = [(self._truth == code, scores) for code, scores in enumerate(self._scores, first)]
        if not self._weights:
            return [_area(*one) for one in positive]
        weights = np.concatenate(self._weights)
        return [_weighted_area(*one, weights) for one in positive]


def _area(positive: npt.NDArray[np.bool_], scores: FloatArray) -> float:
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    ahead = 0
    for start in range(0, len(above), 1 << 20):
        block = above[start : start + (1 << 20)]
        ahead += sum(int(np.searchsorted(below, block, side).sum()) for side in ("left", "right"))
    return ahead / 2 / (len(above) * len(below))


def _weighted_area(positive: npt.NDArray[np.bool_], scores: FloatArray, weights: FloatArray) -> float:
    """The same, of pairs that count by the product of their weights."""
    above, below = scores[positive], scores[~positive]
    order = np.argsort(below)
    below, passed = below[order], np.append(0, np.cumsum(weights[~positive][order]))
    ahead = sum(passed[np.searchsorted(below, above, side)] for side in ("left", "right")) @ weights[positive]
    return float(ahead / 2 / (passed[-1] * weights[positive].sum()))


class _Counted:
    """Counts the scores of each class in bins, narrow towards 0 and 1; those in one bin count as ties."""

    _BINS = 4096

    def __init__(self, rows: int, columns: int) -> None:
        self._counts = np.zeros((columns, self._BINS))
        self._positive = np.zeros((columns, self._BINS))

    def add(self, truth: IntArray, probabilities: FloatArray, weights: FloatArray | None) -> None:
        columns = len(self._counts)
        bins = self._bins(probabilities[:, -columns:])
        for column, found in enumerate(bins.T):
            self._counts[column] += np.bincount(found, weights, self._BINS)
        rows = np.arange(len(truth)) if columns > 1 else np.flatnonzero(truth)
        own = truth[rows] if columns > 1 else np.zeros(len(rows), np.int64)
        np.add.at(self._positive, (own, bins[rows, own]), 1 if weights is None else weights[rows])

    def areas(self) -> list[float]:
        """As those of `_Kept`."""
        negative = self._counts - self._positive
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = self._positive.sum(axis=1) * negative.sum(axis=1)
        areas: list[float] = ((self._positive * below).sum(axis=1) / pairs).tolist()
        return areas

    def _bins(self, scores: FloatArray) -> IntArray:
        odds = np.log(np.maximum(scores, 1e-18)) - np.log(np.maximum(1 - scores, 1e-18))
        # ±42 is what those floors come to.
        bins: IntArray = ((odds + 42) * (self._BINS / 84)).astype(np.intp).clip(0, self._BINS - 1)
        return bins
