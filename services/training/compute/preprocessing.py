"""A table's feature columns as one float32 matrix.

There are two forms of it. Packed, a row has one number for each column; for a category it is the number of an
output. Expanded, it has all the inputs that a model takes. What does not fit memory is stored packed, because
a column of a thousand categories would otherwise take a thousand times the room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.columns import (
    COUNTING_BYTES,
    CategoryColumn,
    CategoryFit,
    NumericColumn,
    NumericFit,
    Unusable,
    restore_column,
)
from services.training.compute.errors import ComputeError
from services.training.compute.table import Categories, Columns, row_count
from services.training.compute.transforms import Transform, with_made

Matrix: TypeAlias = npt.NDArray[np.float32]
Positions: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Expansion:
    """From packed rows to a model's inputs, of which there are `width`.

    numbers, categories: positions of such columns in a packed row. number_outputs, first_outputs: where each
    one's output, or the first of its outputs, is. slots: how many outputs each category has. marked: which of
    the numbers have a mark for missing ones, in the output after their own.
    """

    width: int
    numbers: Positions
    number_outputs: Positions
    marked: Positions
    categories: Positions
    first_outputs: Positions
    slots: Positions

    def __call__(self, packed: Matrix, out: Matrix | None = None) -> Matrix:
        """(m, width), in `out` or a new array."""
        if out is None:
            out = np.empty((len(packed), self.width), np.float32)
        out[:] = 0
        values = packed[:, self.numbers]
        missing = np.isnan(values)
        out[:, self.number_outputs] = np.where(missing, 0, values)
        out[:, self.number_outputs[self.marked] + 1] = missing[:, self.marked]
        chosen = packed[:, self.categories].astype(np.intp)
        rows, columns = np.nonzero(chosen >= 0)
        out[rows, self.first_outputs[columns] + chosen[rows, columns]] = 1
        return out


@dataclass(frozen=True)
class Preprocessor:
    """What was learned of each column that is used, in the order of its outputs; see `columns`.

    warnings: a sentence for each column that was left out or has no effect.
    transforms: make some of the columns out of those of a table.
    """

    columns: tuple[NumericColumn | CategoryColumn, ...]
    warnings: tuple[str, ...]
    transforms: tuple[Transform, ...] = ()

    @classmethod
    def fit(
        cls, blocks: Iterable[Columns], features: Sequence[str], transforms: Sequence[Transform] = ()
    ) -> Preprocessor:
        """Learns from blocks of the training rows, reading them once; of the features, and what is made.

        Raises ComputeError when no column is left to learn from.
        """
        names = [*features, *(name for one in transforms for name in one.asked.names)]
        fits = _learn((with_made(block, transforms) for block in blocks), names) if names else {}
        columns, warnings = [], []
        for name, fit in fits.items():
            try:
                columns.append(fit.column())
            except Unusable as reason:
                warnings.append(f"column {name!r} {reason}; it is left out")
        if not columns:
            detail = "; ".join(warnings) or "the table has only the target"
            raise ComputeError("features", f"no column is left to learn from: {detail}")
        constant = [c.name for c in columns if isinstance(c, NumericColumn) and not c.inverse_scale]
        warnings += [
            f"column {name!r} is constant in the training rows; it has no effect" for name in constant
        ]
        return cls(tuple(columns), tuple(warnings), tuple(transforms))

    @cached_property
    def reads(self) -> dict[str, bool]:
        """Column of a table that is read → whether it holds text."""
        made = {name for one in self.transforms for name in one.asked.names}
        found = {c.name: isinstance(c, CategoryColumn) for c in self.columns if c.name not in made}
        for one in self.transforms:
            found.update(dict.fromkeys(one.asked.columns, one.reads_text))
        return found

    @property
    def names(self) -> list[str]:
        """Of the columns that are used, those made of others included."""
        return [column.name for column in self.columns]

    @cached_property
    def width(self) -> int:
        """d: how many inputs a row becomes."""
        return sum(column.width for column in self.columns)

    @cached_property
    def expansion(self) -> Expansion | None:
        """What makes inputs of packed rows; None where they are the same."""
        first = np.array([0, *accumulate(column.width for column in self.columns)][:-1], np.intp)
        numeric = [i for i, c in enumerate(self.columns) if isinstance(c, NumericColumn)]
        marked = [i for i, n in enumerate(numeric) if self.columns[n].width == 2]
        if len(numeric) == len(self.columns) and not marked:
            return None
        categories = [i for i, c in enumerate(self.columns) if isinstance(c, CategoryColumn)]
        numbers, texts, marks = (np.array(found, np.intp) for found in (numeric, categories, marked))
        slots = np.array([self.columns[i].width for i in categories], np.intp)
        return Expansion(self.width, numbers, first[numbers], marks, texts, first[texts], slots)

    def pack(self, block: Columns) -> Matrix:
        """(n, columns). Raises as `transform`."""
        self.check(block)
        block = with_made(block, self.transforms) if self.transforms else block
        out = np.empty((row_count(block), len(self.columns)), np.float32)
        for position, column in enumerate(self.columns):
            out[:, position] = column.pack(block[column.name])
        return out

    def transform(self, block: Columns) -> Matrix:
        """(n, width), always finite. Other columns of `block` are not looked at.

        Raises ComputeError naming a column that is not there, or is text where it was numbers or the reverse.
        """
        packed = self.pack(block)
        return self.expansion(packed) if self.expansion else packed

    def check(self, names: Iterable[str]) -> None:
        """Raises ComputeError naming a column that is not among `names`."""
        there = set(names)
        for name in self.reads:
            if name not in there:
                raise ComputeError(name, "the column is missing")

    def arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """The learned numbers; one entry per column, 0 where the column is not numeric."""
        numeric = [
            (c.mean, c.inverse_scale) if isinstance(c, NumericColumn) else (0, 0) for c in self.columns
        ]
        means, inverse_scales = np.array(numeric, np.float64).T
        return {"means": means.copy(), "inverse_scales": inverse_scales.copy()}

    def metadata(self) -> dict[str, Any]:
        """The rest, fit for JSON."""
        return {
            "columns": [column.metadata() for column in self.columns],
            "warnings": list(self.warnings),
            "transforms": [one.metadata() for one in self.transforms],
        }

    @classmethod
    def restore(
        cls, metadata: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.generic]]
    ) -> Preprocessor:
        """The inverse of `metadata()` and `arrays()`."""
        means, inverse_scales = arrays["means"].tolist(), arrays["inverse_scales"].tolist()
        triples = zip(metadata["columns"], means, inverse_scales, strict=True)
        columns = tuple(restore_column(*triple) for triple in triples)
        # Models of earlier releases have none.
        made = tuple(Transform.restore(one) for one in metadata.get("transforms", ()))
        return cls(columns, tuple(metadata["warnings"]), made)


def _learn(blocks: Iterable[Columns], features: Sequence[str]) -> dict[str, NumericFit | CategoryFit]:
    """A column's kind is what it holds in the first block."""
    fits: dict[str, NumericFit | CategoryFit] = {}
    for block in blocks:
        if not fits:
            texts = [name for name in features if isinstance(block[name], Categories)]
            room = COUNTING_BYTES // max(1, len(texts))
            fits = {name: CategoryFit(name, room) if name in texts else NumericFit(name) for name in features}
        for name, fit in fits.items():
            fit.add(block[name])
    return fits
