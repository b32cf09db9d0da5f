"""Rows as `logistic` multiplies them: of a category that has an input for each value, the one that is 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.estimators.base import Matrix, Samples
from services.training.compute.kernels.launch import Array
from services.training.compute.kernels.one_hot import add_chosen, add_to_chosen
from services.training.compute.preprocessing import Expansion
from services.training.compute.storage import FileRows

_DEVICE_BYTES = 8 << 30


@dataclass(frozen=True)
class Inputs:
    """m rows of d inputs.

    dense: (m, p) float32, the inputs that are written out; places: which of the d they are. chosen: (m, c)
    int32, which of the others are 1, and −1 for none; None when there are no others.
    """

    dense: Array
    places: Any = ...
    chosen: Array | None = None

    @classmethod
    def of(cls, packed: Matrix, expansion: Expansion) -> Inputs:
        """Packed rows, on the host."""
        values = packed[:, expansion.numbers]
        missing = np.isnan(values)
        marks = missing[:, expansion.marked].astype(np.float32)
        dense = np.column_stack([np.where(missing, np.float32(0), values), marks])
        marked = expansion.number_outputs[expansion.marked] + 1
        codes = packed[:, expansion.categories].astype(np.int32)
        chosen = np.where(codes >= 0, codes + expansion.first_outputs, -1).astype(np.int32)
        return cls(dense, np.concatenate([expansion.number_outputs, marked]), chosen)

    def __len__(self) -> int:
        return len(self.dense)

    def rows(self, rows: slice) -> Inputs:
        """Some of them."""
        return replace(
            self, dense=self.dense[rows], chosen=None if self.chosen is None else self.chosen[rows]
        )

    def multiply(self, xp: Any, weights: Array, out: Array) -> None:
        """out (m, k) ← the inputs times `weights` (d, k)."""
        xp.matmul(self.dense, weights[self.places], out=out)
        if self.chosen is not None:
            add_chosen(weights, self.chosen, out)

    def add_products(self, backend: Backend, errors: Array, gradient: npt.NDArray[np.float64]) -> None:
        """gradient (d, k) ← gradient + inputsᵀ times `errors` (m, k)."""
        # This way round, BLAS has nothing to turn.
        gradient[self.places] += backend.to_host(errors.T @ self.dense).T
        if self.chosen is not None:
            add_to_chosen(errors, self.chosen, gradient)

    def add_squares(
        self, backend: Backend, squares: npt.NDArray[np.float64], weights: Array | None = None
    ) -> None:
        """squares (d,) ← squares + the sum of each input's squares, which count by their row's weight."""
        found = self.dense * self.dense
        sums = found.sum(axis=0, dtype=np.float64) if weights is None else weights @ found
        squares[self.places] += backend.to_host(sums)
        if self.chosen is not None:
            there = self.chosen >= 0
            counted = None if weights is None else np.broadcast_to(weights[:, None], there.shape)[there]
            squares += np.bincount(self.chosen[there], counted, len(squares))


class Blocks:
    """Rows, their targets and weights where `backend` computes, `most` at a time, as often as wanted.

    Packed rows are split on the host, once if they are in memory. On a device they are expanded, and stay
    there if they take no more than _DEVICE_BYTES.
    """

    def __init__(self, train: Samples, backend: Backend, most: int) -> None:
        self._train, self._backend, self._most = train.on(backend), backend, most
        self._split = train.expansion if backend.name == "numpy" else None
        fits = self._split or 4 * train.width * len(train) <= _DEVICE_BYTES
        keep = train.expansion and fits and not isinstance(train.features, FileRows)
        self._kept = list(self._read()) if keep else None

    def __iter__(self) -> Iterator[tuple[Inputs, Array, Array | None]]:
        return iter(self._kept) if self._kept is not None else self._read()

    def _read(self) -> Iterator[tuple[Inputs, Array, Array | None]]:
        to_device = self._backend.to_device
        if self._split:
            for packed, targets, weights in replace(self._train, packed=True).blocks(self._most):
                yield Inputs.of(packed, self._split), targets, weights
        else:
            for x, targets, weights in self._train.blocks(self._most):
                yield (
                    Inputs(to_device(x)),
                    to_device(targets),
                    weights if weights is None else to_device(weights),
                )
