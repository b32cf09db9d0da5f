"""The target column as numbers, and predictions back in its own terms; where there is one.

task: what a model does with it. dtype, shape: of what one row of it is encoded as.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.errors import ComputeError
from services.training.compute.moments import Moments
from services.training.compute.table import Categories, Column, Columns, FloatArray, row_count

MOST_CLASSES = 1000


@dataclass(frozen=True)
class ClassTarget:
    """Classes as text, in order: sorted as text when the column holds text, by value when it holds numbers.

    A number's text is its shortest ("3" for 3.0, "0.5"), so a target gives the same classes whether it comes
    as numbers or as text.
    """

    task: ClassVar[str] = "classification"
    dtype: ClassVar[npt.DTypeLike] = np.int64
    shape: ClassVar[tuple[int, ...]] = ()
    name: str
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, pieces: Iterable[Column]) -> ClassTarget:
        """The classes that occur in a column, of which `pieces` are consecutive parts.

        Raises ComputeError for a missing value, for a single class and for more than MOST_CLASSES.
        """
        texts: set[str] = set()
        values: set[float] = set()
        for column in _complete(name, pieces):
            if isinstance(column, Categories):
                texts.update(column.vocabulary[code] for code in np.unique(column.codes))
            else:
                values.update(np.unique(column).tolist())
            if len(texts) + len(values) > MOST_CLASSES:
                raise ComputeError(name, f"there are more than {MOST_CLASSES} classes: is it a regression?")
        found = sorted(texts) or [number_text(value) for value in sorted(values)]
        if len(found) < 2:
            raise ComputeError(name, f"classification needs two classes or more, found {len(found)}")
        return cls(name, tuple(found))

    def encode(self, column: Column) -> npt.NDArray[np.int64]:
        """(n,) positions in `classes`. Raises ComputeError for a missing value or a class not seen in fit."""
        if isinstance(column, Categories):
            texts, inverse = list(column.vocabulary), column.codes
        else:
            values, inverse = np.unique(column, return_inverse=True)
            texts = [number_text(value) for value in values]
        position = {text: code for code, text in enumerate(self.classes)}
        # The last entry is what code −1 picks; a missing number has one of its own.
        codes = np.array([*(position.get(text, -1) for text in texts), -1], np.int64)[inverse]
        if (codes < 0).any():
            [column] = _complete(self.name, [column])
            unseen = texts[inverse[np.argmin(codes)]]
            raise ComputeError(self.name, f"class {unseen!r} is not among those that the model learns")
        return codes

    def of(self, block: Columns) -> npt.NDArray[np.int64]:
        """The target column of a block, encoded."""
        return self.encode(block[self.name])

    def check(self, pieces: Iterable[Column]) -> None:
        """Raises as `encode` does, for a column of which `pieces` are consecutive parts."""
        for column in _complete(self.name, pieces):
            self.encode(column)

    def metadata(self) -> dict[str, Any]:
        return {"kind": "classes", "name": self.name, "classes": list(self.classes)}


@dataclass(frozen=True)
class ValueTarget:
    """A number, standardised: (value − mean) / scale; the scale is 1 when all values are equal."""

    task: ClassVar[str] = "regression"
    dtype: ClassVar[npt.DTypeLike] = np.float32
    shape: ClassVar[tuple[int, ...]] = ()
    name: str
    mean: float
    scale: float

    @classmethod
    def fit(cls, name: str, pieces: Iterable[Column]) -> ValueTarget:
        """Raises ComputeError for text, for a missing value and for one that is not finite."""
        moments = Moments()
        for values in _numbers(name, pieces):
            moments.add(values)
        if not np.isfinite(moments.squares):
            raise ComputeError(name, "values are too large to take their variance")
        mean, scale = moments.mean, moments.spread
        return cls(name, mean, scale if scale > 1e-12 * abs(mean) else 1.0)

    def encode(self, column: Column) -> npt.NDArray[np.float32]:
        """(n,) float32. Raises as `fit` does."""
        [values] = _numbers(self.name, [column])
        standard: npt.NDArray[np.float32] = ((values - self.mean) / self.scale).astype(np.float32)
        return standard

    def of(self, block: Columns) -> npt.NDArray[np.float32]:
        """The target column of a block, encoded."""
        return self.encode(block[self.name])

    def check(self, pieces: Iterable[Column]) -> None:
        """Raises as `encode` does, for a column of which `pieces` are consecutive parts."""
        for _ in _numbers(self.name, pieces):
            pass

    def decode(self, standard: FloatArray) -> npt.NDArray[np.float64]:
        """The inverse of `encode`, in float64."""
        return np.asarray(standard, np.float64) * self.scale + self.mean

    def metadata(self) -> dict[str, Any]:
        return {"kind": "values", "name": self.name, "mean": self.mean, "scale": self.scale}


@dataclass(frozen=True)
class NoTarget:
    """Nothing is to be told: rows are grouped by their features alone."""

    task: ClassVar[str] = "clustering"
    dtype: ClassVar[npt.DTypeLike] = np.float32
    shape: ClassVar[tuple[int, ...]] = (0,)
    name: ClassVar[str] = ""

    def of(self, block: Columns) -> npt.NDArray[np.float32]:
        """(n, 0)."""
        return np.empty((row_count(block), 0), np.float32)

    def check(self, pieces: Iterable[Column]) -> None:
        """Reads none of them."""

    def metadata(self) -> dict[str, Any]:
        return {"kind": "none"}


Target: TypeAlias = ClassTarget | ValueTarget | NoTarget


def restore_target(metadata: Mapping[str, Any]) -> Target:
    """The inverse of `metadata()`."""
    if metadata["kind"] == "none":
        return NoTarget()
    if metadata["kind"] == "classes":
        return ClassTarget(metadata["name"], tuple(metadata["classes"]))
    return ValueTarget(metadata["name"], metadata["mean"], metadata["scale"])


def number_text(value: float) -> str:
    """The shortest text that reads back as `value`, without a point where there is no fraction."""
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _numbers(name: str, pieces: Iterable[Column]) -> Iterator[npt.NDArray[np.float64]]:
    """The pieces as numbers. At the end, raises ComputeError saying how many are missing or infinite."""
    rows = infinite = 0
    for column in _complete(name, pieces):
        if isinstance(column, Categories):
            raise ComputeError(name, "regression needs numbers, the column holds text")
        values = np.asarray(column, np.float64)
        rows, infinite = rows + len(values), infinite + int(np.isinf(values).sum())
        yield values if not infinite else values[:0]
    if infinite:
        raise ComputeError(name, f"{infinite} of {rows} values are infinite")


def _complete(name: str, pieces: Iterable[Column]) -> Iterator[Column]:
    """The pieces, until a value is missing. At the end, raises ComputeError saying how many are."""
    rows = missing = 0
    for column in pieces:
        gaps = column.codes < 0 if isinstance(column, Categories) else np.isnan(column)
        rows, missing = rows + len(column), missing + int(gaps.sum())
        if not missing:
            yield column
    if missing:
        raise ComputeError(name, f"the target is missing in {missing} of {rows} rows")
