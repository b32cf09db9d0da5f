"""Columns that give the target away: one alone tells it nearly perfectly, and all the others together do not.

A column is read by intervals of as many training rows each, or by its values where there are few; what it
tells is learned from the training part and judged on the validation part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import open_backend
from services.training.compute.data_checks.gathering import Part
from services.training.compute.estimators.base import Samples
from services.training.compute.loop import NullLoop
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import Categories, Column, FloatArray, IntArray
from services.training.compute.targets import ClassTarget, Target, ValueTarget
from services.training.domain.hyperparameters import BoostedTrees

PERFECT = 0.98
LEAST_ROWS = 100
# Rows of a class that tell how well it is told.
_LEAST_OF_CLASS = 10
_MOST_BINS, _ROWS_OF_BIN = 256, 4
# By how many times others have to be further from telling it than a column that gives it away.
_BETTER = 3
# Of a column with so many values in so many classes nothing is said.
_MOST_COUNTS = 4_000_000
_TREES = BoostedTrees(n_estimators=100, learning_rate=0.2, early_stopping_rounds=20)


def leakage_warnings(
    train: Part, validation: Part, target: Target, preprocessor: Preprocessor
) -> Iterator[str]:
    """A sentence for each column that gives the target away; none without enough validation rows."""
    if not isinstance(target, ClassTarget | ValueTarget) or len(validation.targets) < LEAST_ROWS:
        return
    classes = len(target.classes) if isinstance(target, ClassTarget) else 0
    scores = {name: _told_by(name, train, validation, classes) for name in train.sample}
    suspects = {name: score for name, score in scores.items() if score >= PERFECT}
    if not suspects or len(suspects) == len(scores):
        return
    others = _told_by_others(train, validation, classes, preprocessor, set(suspects))
    if others >= PERFECT:
        return  # it is easy to tell, and nothing is given away
    measure = "balanced accuracy" if classes else "R²"
    for name, score in suspects.items():
        if 1 - others < _BETTER * (1 - score):
            continue  # nor is it here
        yield (
            f"column {name!r} alone tells {target.name!r} nearly perfectly ({measure} {score:.3f} on "
            f"{len(validation.targets)} validation rows): if it is not known yet when predictions are made, "
            f"leave it out by excluded_columns"
        )


def _told_by(name: str, train: Part, validation: Part, classes: int) -> float:
    """How well one column tells the target of validation rows: see `_score`."""
    learned, judged = _binned(train.sample[name], validation.sample[name])
    bins = 1 + int(max(learned.max(initial=0), judged.max(initial=0)))
    if classes:
        if bins * classes > _MOST_COUNTS:
            return 0.0
        places = learned * classes + train.targets
        counts = np.bincount(places, minlength=bins * classes).reshape(bins, classes).astype(np.float64)
        # As if all classes were as frequent; a bin without rows says the first class.
        counts /= np.maximum(1, counts.sum(axis=0))
        return _score(counts.argmax(axis=1)[judged], validation.targets, classes)
    rows = np.bincount(learned, minlength=bins)
    sums = np.bincount(learned, train.targets.astype(np.float64), minlength=bins)
    means = np.where(rows > 0, sums / np.maximum(1, rows), train.targets.mean())
    return max(_score(means[judged], validation.targets, 0), _told_by_line(name, train, validation))


def _told_by_line(name: str, train: Part, validation: Part) -> float:
    """The same by a straight line: intervals are coarse for a copy whose largest values are far apart."""
    x, new = train.sample[name], validation.sample[name]
    if isinstance(x, Categories) or isinstance(new, Categories) or not np.isfinite(x).all():
        return 0.0
    centre, spread = x.mean(), x.std()
    if not (np.isfinite(spread) and spread > 0 and np.isfinite(new).all()):
        return 0.0
    standard = (x - centre) / spread
    slope = (standard * (train.targets - train.targets.mean())).mean()
    return _score(train.targets.mean() + slope * (new - centre) / spread, validation.targets, 0)


def _told_by_others(
    train: Part, validation: Part, classes: int, preprocessor: Preprocessor, without: set[str]
) -> float:
    """How well trees tell it of all columns but some."""
    # XGBoost takes long to import, and few jobs have a suspect.
    from services.training.compute.estimators.registry import estimator  # noqa: PLC0415

    made = [one.asked for one in preprocessor.transforms if without.intersection(one.asked.columns)]
    without = without.union(*(one.names for one in made))
    hidden = [place for place, name in enumerate(preprocessor.names) if name in without]
    rows = [preprocessor.pack(part.sample) for part in (train, validation)]
    for packed in rows:
        packed[:, hidden] = 0
    learn, judge = (
        Samples(packed, part.targets, classes, expansion=preprocessor.expansion, packed=True)
        for packed, part in zip(rows, (train, validation), strict=True)
    )
    trees = estimator(_TREES, classes)
    learned = trees.fit(learn, judge, 0, NullLoop(), open_backend("numpy"))
    said = trees.predict(learned.arrays, rows[1])
    return _score(said.argmax(axis=1) if classes else said, validation.targets, classes)


def _score(said: npt.NDArray[Any], truth: npt.NDArray[Any], classes: int) -> float:
    """Balanced accuracy over classes with enough rows, 0 unless there are two; or R²."""
    if not classes:
        spread = float(((truth - truth.mean()) ** 2).sum())
        return 1 - float(((truth - said) ** 2).sum()) / spread if spread else 0.0
    rows = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[said == truth], minlength=classes)
    enough = rows >= _LEAST_OF_CLASS
    return float((right[enough] / rows[enough]).mean()) if enough.sum() > 1 else 0.0


def _binned(column: Column, other: Column) -> tuple[IntArray, IntArray]:
    """Both as numbers of bins, which the first makes; bin 0 for no value."""
    if isinstance(column, Categories):
        assert isinstance(other, Categories)
        places = {value: code for code, value in enumerate(column.vocabulary)}
        mapped = [places.get(value, -1) for value in other.vocabulary]
        return column.codes + 1, np.array([*mapped, -1])[other.codes] + 1
    assert not isinstance(other, Categories)
    edges = _edges(column[np.isfinite(column)])
    found = [
        np.where(np.isnan(values), 0, 1 + np.searchsorted(edges, values, side="right"))
        for values in (column, other)
    ]
    return found[0], found[1]


def _edges(values: FloatArray) -> FloatArray:
    """The lowest values of bins but the first, or all values where there are few."""
    ordered = np.sort(values)
    distinct = ordered[np.diff(ordered, prepend=-np.inf) > 0]
    most = max(2, min(_MOST_BINS, len(values) // _ROWS_OF_BIN))
    if len(distinct) <= most:
        return distinct
    found: FloatArray = np.unique(ordered[np.arange(1, most) * len(ordered) // most])
    return found
