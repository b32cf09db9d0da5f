"""A table's feature columns as one float32 matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.columns import (
    CategoryColumn,
    NumericColumn,
    Unusable,
    fit_column,
    restore_column,
)
from services.training.compute.errors import ComputeError
from services.training.compute.table import Table, row_count


@dataclass(frozen=True)
class Preprocessor:
    """What was learned of each column that is used, in the order of its outputs; see `columns`.

    warnings: a sentence for each column that was left out or has no effect.
    """

    columns: tuple[NumericColumn | CategoryColumn, ...]
    warnings: tuple[str, ...]

    @classmethod
    def fit(cls, table: Table, features: Sequence[str]) -> Preprocessor:
        """Learns from the training rows. Raises ComputeError when no column is left to learn from."""
        columns, warnings = [], []
        for name in features:
            try:
                columns.append(fit_column(name, table[name]))
            except Unusable as reason:
                warnings.append(f"column {name!r} {reason}; it is left out")
        if not columns:
            detail = "; ".join(warnings) or "the table has only the target"
            raise ComputeError("features", f"no column is left to learn from: {detail}")
        constant = [c.name for c in columns if isinstance(c, NumericColumn) and not c.inverse_scale]
        warnings += [
            f"column {name!r} is constant in the training rows; it has no effect" for name in constant
        ]
        return cls(tuple(columns), tuple(warnings))

    @property
    def width(self) -> int:
        """d: how many numbers a row becomes."""
        return sum(column.width for column in self.columns)

    def transform(self, table: Table) -> npt.NDArray[np.float32]:
        """(n, width) float32, always finite. Other columns of `table` are not looked at.

        Raises ComputeError naming a column that is not there, or is text where it was numbers or the reverse.
        """
        for column in self.columns:
            if column.name not in table:
                raise ComputeError(column.name, "the column is missing")
        out = np.empty((row_count(table), self.width), np.float32)
        start = 0
        for column in self.columns:
            column.write(table[column.name], out[:, start : start + column.width])
            start += column.width
        return out

    def arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """The learned numbers; one entry per column, 0 where the column is not numeric."""
        numeric = [
            (c.mean, c.inverse_scale) if isinstance(c, NumericColumn) else (0, 0) for c in self.columns
        ]
        means, inverse_scales = np.array(numeric, np.float64).T
        return {"means": means.copy(), "inverse_scales": inverse_scales.copy()}

    def metadata(self) -> dict[str, Any]:
        """The rest, fit for JSON."""
        return {"columns": [column.metadata() for column in self.columns], "warnings": list(self.warnings)}

    @classmethod
    def restore(
        cls, metadata: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.generic]]
    ) -> Preprocessor:
        """The inverse of `metadata()` and `arrays()`."""
        means, inverse_scales = arrays["means"].tolist(), arrays["inverse_scales"].tolist()
        triples = zip(metadata["columns"], means, inverse_scales, strict=True)
        columns = tuple(restore_column(*triple) for triple in triples)
        return cls(columns, tuple(metadata["warnings"]))
