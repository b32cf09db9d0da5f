"""How good predictions are. A metric that its data leaves undefined is left out, never NaN."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.training.compute.table import FloatArray, IntArray


def classification_metrics(truth: IntArray, probabilities: FloatArray) -> dict[str, float]:
    """accuracy, log_loss, f1 (macro) and, where defined, roc_auc. Empty without rows.

    truth: (n,) codes; probabilities: (n, classes), rows summing to 1.
    """
    if not len(truth):
        return {}
    predicted = probabilities.argmax(axis=1)
    found = {
        "accuracy": float((predicted == truth).mean()),
        "log_loss": log_loss(truth, probabilities),
        "f1": f1(truth, predicted),
    }
    area = roc_auc(truth, probabilities)
    return found if area is None else found | {"roc_auc": area}


def regression_metrics(truth: FloatArray, predicted: FloatArray) -> dict[str, float]:
    """rmse, mae and, unless the truth is constant, r2; in the target's units. Empty without rows."""
    if not len(truth):
        return {}
    errors = np.asarray(predicted, np.float64) - truth
    found = {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(np.abs(errors).mean())}
    spread = float(((truth - truth.mean()) ** 2).sum())
    return found | {"r2": 1 - float((errors**2).sum()) / spread} if spread > 0 else found


def log_loss(truth: IntArray, probabilities: FloatArray) -> float:
    """Mean −log of the probability given to the true class, which is taken as at least float32's epsilon."""
    picked = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(picked, np.finfo(np.float32).eps)).mean())


def f1(truth: IntArray, predicted: IntArray) -> float:
    """The mean of each class's F1, over the classes that occur in either; 0 for one never hit."""
    size = int(max(truth.max(), predicted.max())) + 1
    true, guessed = np.bincount(truth, minlength=size), np.bincount(predicted, minlength=size)
    hit = np.bincount(truth[truth == predicted], minlength=size)
    seen = true + guessed > 0
    return float((2 * hit[seen] / (true + guessed)[seen]).mean())


def roc_auc(truth: IntArray, probabilities: FloatArray) -> float | None:
    """Area under the ROC curve: of the second of two classes, else the mean of one class against the rest.

    None when some class has no rows.
    """
    classes = probabilities.shape[1]
    if np.bincount(truth, minlength=classes).min() == 0:
        return None
    scored = range(1, 2) if classes == 2 else range(classes)
    return float(np.mean([_area(truth == c, probabilities[:, c]) for c in scored]))


def _area(positive: npt.NDArray[np.bool_], scores: FloatArray) -> float:
    """The Mann-Whitney statistic: how often a positive row scores above a negative one; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    hits = int(positive.sum())
    misses = len(positive) - hits
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))
