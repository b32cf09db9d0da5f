"""Batches of rows in random order, from any place in an epoch on.

Rows in memory are shuffled all together. Rows in a file are shuffled on two levels, so that reading them is
nearly sequential: chunks of consecutive rows come in random order, and as many of them as make a window are
read at once and shuffled together. A window holds hundreds of chunks from all over the file, so that even a
file that is sorted by its target gives mixed batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.backend import Backend, open_backend
from services.training.compute.estimators.base import Samples
from services.training.compute.estimators.inputs import Inputs
from services.training.compute.kernels.gather import gather
from services.training.compute.kernels.launch import Array
from services.training.compute.storage import FileRows, Rows
from services.training.compute.table import IntArray

# Bounds what shuffling takes. With chunks of this size, even a disk that has to seek spends its time reading.
WINDOW_BYTES = 64 << 20
CHUNK_BYTES = 256 << 10
# Inputs of rows in memory are made once, if they take no more than this.
READY_BYTES = 512 << 20
# Tell the streams of the order of rows and of chunks apart from the others that one seed gives.
_ORDER, _CHUNKS = 1, 2


@dataclass(frozen=True)
class Batch:
    """Rows of one step, overwritten by the next one: what `Inputs` gives of them, and their targets.

    shares: (rows,) float32, how much each counts in the loss of the step; 1/rows where all count alike.
    """

    x: Array
    codes: Array
    targets: Array
    shares: Array


class Batches:
    """Batches of one size, where the backend computes.

    Each row comes once in an epoch; the last batch is filled up with rows that were there, so that a step
    always has the same shapes. The order depends on the seed and the epoch alone, and a resumed run sees it
    again. Each of several ranks has batches of its own rows: as many of them, and as large, as the rank has
    that has most rows, `longest`, which is one more than here or none; shares are of the rows of all `ranks`.

    ready: every batch is made where the backend computes, from arrays that stay, into arrays that stay.
    """

    def __init__(
        self,
        samples: Samples,
        inputs: Inputs,
        batch_size: int,
        seed: int,
        backend: Backend,
        *,
        longest: int | None = None,
        ranks: int = 1,
    ) -> None:
        self._longest = longest or len(samples)
        self.steps = -(-self._longest // batch_size)
        self.rows = -(-self._longest // self.steps)
        self._samples, self._inputs, self._seed, self._backend = samples, inputs, seed, backend
        row_bytes = int(samples.features.shape[1]) * samples.features.dtype.itemsize
        self._chunk = max(1, CHUNK_BYTES // row_bytes)
        self._bounds = self._windows(self._longest * row_bytes)
        ready = not isinstance(samples.features, FileRows) and _ready_bytes(samples, inputs) <= READY_BYTES
        # Inputs that are made batch by batch are made on the host, and each batch then goes to the device.
        self._at = backend if ready else open_backend("numpy")
        self._whole = not isinstance(samples.features, FileRows)
        self._all = self.rows * ranks
        self._even = backend.xp.full(self.rows, 1 / self._all, np.float32)
        self._window: tuple[Array, ...] = ()
        if self._whole:
            features, *rest = self._read([slice(None)])
            made = inputs(features) if ready else (features,)
            self._window = tuple(map(self._at.to_device, (*made, *rest)))
        self.ready = ready
        self._place = np.zeros(1, np.int64)
        self._order: Array | None = None
        kinds = [(one.shape[1:], one.dtype) for one in self._window or self._read([])]
        self._room = [self._at.xp.empty((self.rows, *shape), dtype) for shape, dtype in kinds]

    @property
    def plan(self) -> tuple[int, ...]:
        """What the order of the rows depends on beside seed and epoch."""
        return self._longest, self.rows, len(self._bounds) - 1

    def passed(self, batches: int) -> int:
        """How many rows of an epoch its first `batches` hold."""
        return min(batches * self.rows, len(self._samples))

    def epoch(self, epoch: int, first: int) -> Iterator[int]:
        """Comes to the epoch's batches one by one, from number `first` on."""
        for window, (begin, end) in enumerate(pairwise(self._bounds)):
            if end <= first:
                continue
            # Where the last window is one row, which only other ranks have, the row before it comes again.
            places = min(self.passed(begin), len(self._samples) - 1), self.passed(end)
            self._load(epoch, *places)
            order = _shuffled(places[1] - places[0], self._seed, _ORDER, epoch, window)
            filled = np.resize(order, (end - begin) * self.rows)
            # Where each batch is made from this, its place has to stay.
            self._order = self._at.refill(self._order if self.ready else None, filled)
            for batch in range(max(first - begin, 0), end - begin):
                self._place[0] = batch
                yield begin + batch

    def fetch(self, at: Array) -> Batch:
        """The batch that `epoch` has come to; at: (1,) int64, its number, where the backend computes."""
        place = at if self.ready else self._place
        for source, into in zip(self._window, self._room, strict=True):
            gather(self._at.kernels, source, self._order, place, into)
        room = self._room
        if not self.ready:
            packed, *rest = room
            room = [self._backend.to_device(one) for one in (*self._inputs(packed), *rest)]
        shares = [] if self._samples.weighted else [self._even]
        return Batch(*room, *shares)

    def _windows(self, size: int) -> list[int]:
        """Which batch each window begins with, and where the last one ends."""
        on_disk = isinstance(self._samples.features, FileRows)
        windows = min(self.steps, -(-size // WINDOW_BYTES)) if on_disk else 1
        return [self.steps * window // windows for window in range(windows + 1)]

    def _load(self, epoch: int, first: int, last: int) -> None:
        """Makes the rows at places `first` to `last` of the epoch the window."""
        if not self._whole:
            pieces = list(self._pieces(epoch, first, last))
            # The old window goes before the new one comes.
            self._window = ()
            self._window = self._read(pieces)

    def _read(self, pieces: Sequence[slice]) -> tuple[Array, ...]:
        """Features and targets of those rows, and their shares where they are not all the same."""
        samples = self._samples
        found = [_joined(rows, pieces) for rows in (samples.features, samples.targets)]
        own = None if samples.weights is None else _joined(samples.weights, pieces)
        weights = samples.combined(own, found[1])
        if weights is not None:
            found.append((weights / self._all).astype(np.float32))
        return tuple(found)

    def _pieces(self, epoch: int, first: int, last: int) -> Iterator[slice]:
        """The rows at those places, when the chunks come in the order of the epoch."""
        rows = len(self._samples)
        chunks = _shuffled(-(-rows // self._chunk), self._seed, _CHUNKS, epoch).astype(np.int64)
        ends = np.cumsum(np.minimum(self._chunk, rows - chunks * self._chunk))
        begins = np.concatenate([[0], ends[:-1]])
        for index in np.flatnonzero((begins < last) & (ends > first)):
            start = chunks[index] * self._chunk - begins[index]
            yield slice(int(start + max(first, begins[index])), int(start + min(last, ends[index])))


def random(*key: int) -> np.random.Generator:
    """The stream that `key` names."""
    return np.random.Generator(np.random.PCG64(list(key)))


def _ready_bytes(samples: Samples, inputs: Inputs) -> int:
    return len(samples) * 4 * (inputs.features + len(inputs.tabled))


def _shuffled(count: int, *key: int) -> IntArray:
    """0 to `count` − 1 in the order that `key` names."""
    order: IntArray = np.arange(count, dtype=np.int32)
    random(*key).shuffle(order)
    return order


def _joined(rows: Rows, pieces: Sequence[slice]) -> npt.NDArray[Any]:
    if len(pieces) == 1:
        return rows[pieces[0]]
    found = np.empty((sum(piece.stop - piece.start for piece in pieces), *rows.shape[1:]), rows.dtype)
    place = 0
    for piece in pieces:
        found[place : place + piece.stop - piece.start] = rows[piece]
        place += piece.stop - piece.start
    return found
