"""How steeply the loss of `logistic` bends, estimated on some of the rows: what a walk's steps are scaled by.

A walk that knows it needs a few passes over the rows where one that has to learn it needs dozens, and what it
ends at is the same: the estimate decides the way only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.kernels.cross_entropy import softmax

Vector: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Those of this rank that an estimate is taken of: features (n, d), and weights (n,) if they have any."""

    features: npt.NDArray[np.float32]
    weights: Vector | None = None

    @property
    def with_ones(self) -> npt.NDArray[np.float32]:
        """(n, d + 1)."""
        return np.column_stack([self.features, np.ones(len(self.features), np.float32)])

    def rooted(self, table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Rows (n, m) times the roots of their weights, which in products of two of them are the weights."""
        if self.weights is None:
            return table
        return table * np.sqrt(self.weights).astype(np.float32)[:, None]


# Takes the inverse of the estimate times a flat (d + 1, free) table.
Inverse: TypeAlias = Callable[[Vector], Vector]

# The largest matrix that is inverted.
WIDEST = 1024
# What keeps it from being singular, beside its mean diagonal.
_FLOOR = 1e-6


def even_curvature(few: Rows, free: int, penalty: float, communicator: Communicator = ALONE) -> Inverse:
    """That at weights of zero, where all classes are as likely: of each class, the inputs' Gram matrix.

    free: columns of weights. penalty: on half the squared weights, beside the mean loss.
    """
    rows = few.rooted(few.with_ones)
    scale = 1 / 4 if free == 1 else 1 / free
    gram = scale * (rows.T @ rows).astype(np.float64)
    inverse = _inverse(_mean(gram, len(rows), communicator), 1, penalty)
    return lambda flat: (inverse @ flat.reshape(-1, free)).ravel()


def diagonal_curvature(squares: Vector, free: int, penalty: float) -> Inverse:
    """The same for each input by itself, which is all that can be had of many.

    squares: (d,), the mean of each input's square.
    """
    scale = 1 / 4 if free == 1 else 1 / free
    diagonal = scale * np.append(squares, 1)
    inverse = 1 / (diagonal + _FLOOR * diagonal.mean() + np.append(np.full(len(squares), penalty), 0))
    return lambda flat: (inverse[:, None] * flat.reshape(-1, free)).ravel()


def curvature(few: Rows, table: Vector, penalty: float, communicator: Communicator = ALONE) -> Inverse:
    """That at `table`, weights (d + 1, free) with the intercepts in the last row: all second derivatives."""
    rows, free = few.with_ones, table.shape[1]
    logits = rows @ table.astype(np.float32)
    if free == 1:
        logits = np.column_stack([np.zeros_like(logits), logits])
    shares, rows = softmax(np, logits)[:, -free:], few.rooted(rows)
    spread = (rows[:, :, None] * shares[:, None, :]).reshape(len(rows), -1)
    hessian = -(spread.T @ spread).astype(np.float64)
    for column in range(free):
        hessian[column::free, column::free] += spread[:, column::free].T @ rows
    hessian = _mean(hessian, len(rows), communicator)
    if free > 1:
        # To add one number to all intercepts changes nothing, and no gradient points that way. Left flat, it
        # would be a direction in which rounding decides.
        hessian[-free:, -free:] += 1 / free
    inverse = _inverse(hessian, free, penalty)
    return lambda flat: inverse @ flat


def _mean(sums: Vector, rows: int, communicator: Communicator) -> Vector:
    """Over the rows of all ranks; sums: over those of this one."""
    whole = np.append(sums, rows)
    communicator.allreduce(whole)
    return np.asarray(whole[:-1].reshape(sums.shape) / whole[-1])


def _inverse(matrix: Vector, free: int, penalty: float) -> Vector:
    """Of `matrix` with the penalty on all but the last `free` variables."""
    diagonal = np.arange(len(matrix))
    floor = _FLOOR * float(matrix[diagonal, diagonal].mean())
    matrix[diagonal, diagonal] += floor
    matrix[diagonal[:-free], diagonal[:-free]] += penalty
    inverse = np.linalg.inv(matrix)
    symmetric: Vector = (inverse + inverse.T) / 2
    return symmetric
