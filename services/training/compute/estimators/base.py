"""What every algorithm of training is, and what it works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator
from services.training.compute.loop import Loop, State
from services.training.compute.preprocessing import Expansion, Matrix
from services.training.compute.storage import FileRows, Rows
from services.training.compute.table import IntArray

__all__ = ["Arrays", "Block", "Estimator", "Matrix", "Outcome", "Samples", "Weights"]

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Weights: TypeAlias = npt.NDArray[np.float64]


# The most that a block of inputs takes.
_BLOCK_BYTES = 16 << 20


class Block(NamedTuple):
    """Consecutive rows: inputs (m, d), or packed rows, targets (m,), and see `Samples.weighing`."""

    inputs: Matrix
    targets: npt.NDArray[Any]
    weights: Weights | None


@dataclass(frozen=True)
class Samples:
    """Preprocessed rows, in memory or in files.

    features: (n, d) float32, C-contiguous; or packed rows, of which `expansion` makes those.
    targets: (n,) int64 class codes, (n,) float32 standardised values, or (n, 0) where nothing is to be told.
    classes: how many classes there are; 0 for regression and clustering.
    unit: what one unit of a standardised target is worth in the target's own units.
    packed: the algorithm takes packed rows; `expansion` then only tells what is in them.
    weights: (n,) float64 ≥ 0, how much each row counts; None where all count 1. Of those that are trained on
    the mean, class weights included, is about 1: what is divided by rows is a mean then.
    class_weights: (classes,) float64, what the weights of each class are multiplied by.
    """

    features: Rows
    targets: Rows
    classes: int
    unit: float = 1.0
    expansion: Expansion | None = None
    packed: bool = False
    weights: Rows | None = None
    class_weights: Weights | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def width(self) -> int:
        """d."""
        return self.expansion.width if self.expansion else int(self.features.shape[1])

    @property
    def in_memory(self) -> bool:
        """Whether all the inputs are there as they are."""
        return self.expansion is None and not isinstance(self.features, FileRows)

    def on(self, backend: Backend) -> Samples:
        """The same where `backend` computes, if it is in memory; else blocks have to be brought there."""
        if not self.in_memory:
            return self
        names = ("features", "targets", "weights", "class_weights")
        there = {name: array for name in names if (array := getattr(self, name)) is not None}
        return replace(self, **{name: backend.to_device(array) for name, array in there.items()})

    @property
    def weighted(self) -> bool:
        """Whether some rows may count more than others."""
        return self.weights is not None or self.class_weights is not None

    def weighing(self, rows: slice, targets: npt.NDArray[Any]) -> Weights | None:
        """How much these rows count (m,), by themselves and by their class; None where all count 1.

        targets: theirs.
        """
        return self.combined(None if self.weights is None else self.weights[rows], targets)

    def combined(self, own: Weights | None, targets: npt.NDArray[Any]) -> Weights | None:
        """Weights that rows have by themselves, times those that their classes have."""
        if self.class_weights is None:
            return own
        factors: Weights = self.class_weights[targets]
        return factors if own is None else own * factors

    def at(self, rows: IntArray) -> Matrix:
        """Inputs (m, d) of the rows at those places, which rise."""
        found = _at(self.features, rows)
        return self.expansion(found) if self.expansion else found

    def weights_at(self, rows: IntArray) -> Weights | None:
        """As `weighing`, of the rows at those places, which rise."""
        own = None if self.weights is None else _at(self.weights, rows)
        return own if self.class_weights is None else self.combined(own, _at(self.targets, rows))

    def taken(self, rows: IntArray) -> Block:
        """What `blocks` gives of the rows at those places, which rise."""
        found = _at(self.features, rows)
        expanded = found if self.expansion is None or self.packed else self.expansion(found)
        return Block(expanded, _at(self.targets, rows), self.weights_at(rows))

    def among(self, rows: IntArray) -> Samples:
        """Those rows alone, which rise, in memory and not packed."""
        own = None if self.weights is None else _at(self.weights, rows)
        found = replace(self, features=self.at(rows), targets=_at(self.targets, rows), weights=own)
        return replace(found, expansion=None, packed=False)

    def part(self, first: int, end: int) -> Samples:
        """Those of the rows, where they are."""
        features, targets = _part(self.features, first, end), _part(self.targets, first, end)
        weights = None if self.weights is None else _part(self.weights, first, end)
        return replace(self, features=features, targets=targets, weights=weights)

    def blocks(self, most: int) -> Iterator[Block]:
        """All rows, at most `most` at a time, in their order."""
        width = int(self.features.shape[1]) if self.packed else self.width
        size = min(most, max(1, _BLOCK_BYTES // (4 * width)))
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            block = self.features[rows]
            inputs = block if self.expansion is None or self.packed else self.expansion(block)
            targets = self.targets[rows]
            yield Block(inputs, targets, self.weighing(rows, targets))


def _part(content: Rows, first: int, end: int) -> Rows:
    return content.part(first, end) if isinstance(content, FileRows) else content[first:end]


def _at(content: Rows, rows: IntArray) -> npt.NDArray[Any]:
    if isinstance(content, FileRows):
        return np.concatenate([content[:0], *(content[row : row + 1] for row in rows.tolist())])
    return content[rows]


@dataclass(frozen=True)
class Outcome:
    """What a fit learned, or nothing when it was told to stop.

    samples: training rows processed by this call on this rank, counting a row once for every pass over it.
    steps: the last one reported.
    """

    arrays: Arrays
    samples: int
    steps: int
    stopped: bool = False


class Estimator(Protocol):
    """An algorithm with its hyperparameters, built as `kind(params, classes)`; 0 classes for regression."""

    def fit(
        self,
        train: Samples,
        validation: Samples | None,
        seed: int,
        loop: Loop,
        backend: Backend,
        *,
        resume: State | None = None,
        start: Arrays | None = None,
        communicator: Communicator = ALONE,
    ) -> Outcome:
        """Learns from `train`. The same arguments give the same arrays, bit for bit, on the same machine.

        resume: a snapshot of an earlier call with the same arguments, which goes on from there and ends with
        the arrays that the other would have had. Raises ComputeError when it is one of another fit.
        start: arrays that an earlier fit of the same shapes learned, to begin with; the optimiser is fresh.
        communicator: joins ranks that all make this call, each with rows of its own in `train` (and in
        `validation`, or none of them); the other arguments are the same, but `resume` counts on rank 0 alone.
        All get the same arrays, bit for bit, if their processors are of one kind. When the loop of one says
        stop, all stop. Raises ComputeError naming `algorithm` where several ranks cannot share the work, and
        CommunicatorError.
        """

    def predict(self, arrays: Arrays, features: Matrix) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes), rows summing to 1; standardised values, or numbers of clusters (n,).

        On the host."""
