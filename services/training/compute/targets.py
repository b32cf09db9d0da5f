"""The target column as numbers, and predictions back in its own terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.table import Categories, Column, FloatArray

MOST_CLASSES = 1000


@dataclass(frozen=True)
class ClassTarget:
    """Classes as text, in order: sorted as text when the column holds text, by value when it holds numbers.

    A number's text is its shortest ("3" for 3.0, "0.5"), so a target gives the same classes whether it comes
    as numbers or as text.
    """

    name: str
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, column: Column) -> ClassTarget:
        """The classes that occur in `column`.

        Raises ComputeError for a missing value, for a single class and for more than MOST_CLASSES.
        """
        _reject_missing(name, column)
        if isinstance(column, Categories):
            found = sorted({column.vocabulary[code] for code in np.unique(column.codes)})
        else:
            found = [number_text(value) for value in np.unique(column)]
        if len(found) < 2:
            raise ComputeError(name, f"classification needs two classes or more, found {len(found)}")
        if len(found) > MOST_CLASSES:
            raise ComputeError(
                name, f"{len(found)} classes are more than {MOST_CLASSES}: is it a regression?"
            )
        return cls(name, tuple(found))

    def encode(self, column: Column) -> npt.NDArray[np.int64]:
        """(n,) positions in `classes`. Raises ComputeError for a missing value or a class not seen in fit."""
        _reject_missing(self.name, column)
        position = {text: code for code, text in enumerate(self.classes)}
        if isinstance(column, Categories):
            texts, inverse = list(column.vocabulary), column.codes
        else:
            values, inverse = np.unique(column, return_inverse=True)
            texts = [number_text(value) for value in values]
        codes = np.array([position.get(text, -1) for text in texts], np.int64)[inverse]
        if (codes < 0).any():
            unseen = texts[inverse[np.argmin(codes)]]
            raise ComputeError(self.name, f"class {unseen!r} does not occur in the training rows")
        return codes

    def metadata(self) -> dict[str, Any]:
        return {"kind": "classes", "name": self.name, "classes": list(self.classes)}


@dataclass(frozen=True)
class ValueTarget:
    """A number, standardised: (value − mean) / scale; the scale is 1 when all values are equal."""

    name: str
    mean: float
    scale: float

    @classmethod
    def fit(cls, name: str, column: Column) -> ValueTarget:
        """Raises ComputeError for text, for a missing value and for one that is not finite."""
        values = _numbers(name, column)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(values.mean()), float(values.std())
        if not np.isfinite([mean, scale]).all():
            raise ComputeError(name, "values are too large to take their variance")
        return cls(name, mean, scale if scale > 1e-12 * abs(mean) else 1.0)

    def encode(self, column: Column) -> npt.NDArray[np.float32]:
        """(n,) float32. Raises as `fit` does."""
        standard = (_numbers(self.name, column) - self.mean) / self.scale
        return standard.astype(np.float32)

    def decode(self, standard: FloatArray) -> npt.NDArray[np.float64]:
        """The inverse of `encode`, in float64."""
        return np.asarray(standard, np.float64) * self.scale + self.mean

    def metadata(self) -> dict[str, Any]:
        return {"kind": "values", "name": self.name, "mean": self.mean, "scale": self.scale}


Target: TypeAlias = ClassTarget | ValueTarget


def restore_target(metadata: Mapping[str, Any]) -> Target:
    """The inverse of `metadata()`."""
    if metadata["kind"] == "classes":
        return ClassTarget(metadata["name"], tuple(metadata["classes"]))
    return ValueTarget(metadata["name"], metadata["mean"], metadata["scale"])


def number_text(value: float) -> str:
    """The shortest text that reads back as `value`, without a point where there is no fraction."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _numbers(name: str, column: Column) -> npt.NDArray[np.float64]:
    if isinstance(column, Categories):
        raise ComputeError(name, "regression needs numbers, the column holds text")
    _reject_missing(name, column)
    values = np.asarray(column, np.float64)
    if infinite := int(np.isinf(values).sum()):
        raise ComputeError(name, f"{infinite} of {len(values)} values are infinite")
    return values


def _reject_missing(name: str, column: Column) -> None:
    missing = column.codes < 0 if isinstance(column, Categories) else np.isnan(column)
    if count := int(missing.sum()):
        raise ComputeError(name, f"the target is missing in {count} of {len(column)} rows")
