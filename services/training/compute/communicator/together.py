"""What the ranks of a fit do as one: add up what each found in its rows, stop, go on from a checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.training.compute.communicator.base import Communicator
from services.training.compute.errors import ComputeError
from services.training.compute.loop import Loop, State, Stopped
from services.training.compute.table import IntArray

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shard:
    """This rank's rows among those of all ranks, which come in the order of the ranks.

    lengths: (world,), how many rows each has.
    """

    communicator: Communicator
    lengths: IntArray

    @classmethod
    def of(cls, communicator: Communicator, rows: int) -> Shard:
        """All ranks call it, with their rows. Raises ComputeError on all of them when one has none."""
        lengths = gathered(communicator, np.array(rows, np.int64))
        if not lengths.all():
            raise ComputeError("train", f"rank {int(lengths.argmin())} of {len(lengths)} has no rows")
        return cls(communicator, lengths)

    @property
    def total(self) -> int:
        """Rows of all ranks."""
        return int(self.lengths.sum())

    def here(self, drawn: IntArray) -> IntArray:
        """Which of `drawn`, rising places among the rows of all, are here: their places among those."""
        return drawn[self._part(drawn)] - self._first

    def collected(self, drawn: IntArray, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """For all ranks, what each found for its part of `drawn`, in the order of `drawn`."""
        whole = np.zeros((len(drawn), *found.shape[1:]), found.dtype)
        whole[self._part(drawn)] = found
        self.communicator.allreduce(whole)
        return whole

    @property
    def _first(self) -> int:
        return int(self.lengths[: self.communicator.rank].sum())

    def _part(self, drawn: IntArray) -> slice:
        ends = self._first, self._first + int(self.lengths[self.communicator.rank])
        return slice(*np.searchsorted(drawn, ends).tolist())


def gathered(communicator: Communicator, own: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(world, …): every rank's array of one shape."""
    found = np.zeros((communicator.world_size, *own.shape), own.dtype)
    found[communicator.rank] = own
    communicator.allreduce(found)
    return found


def added_up(communicator: Communicator, sums: Sums, told: bool) -> Sums:
    """All ranks' `sums`, in one flat array. Raises Stopped on all of them when one was told to stop."""
    whole = np.append(sums, float(told))
    communicator.allreduce(whole)
    if whole[-1]:
        raise Stopped
    return whole[:-1]


def go_on(communicator: Communicator, loop: Loop) -> None:
    """Raises Stopped on all ranks when the loop of one says stop."""
    added_up(communicator, np.zeros(0), loop.should_stop())


def shared_state(communicator: Communicator, state: State | None) -> State | None:
    """Rank 0's state, on every rank."""
    if communicator.world_size == 1:
        return state
    arrays = [(name, np.asarray(array)) for name, array in (state or {}).items()]
    kinds = [(name, array.dtype.str, array.shape) for name, array in arrays]
    said = _shared_bytes(communicator, json.dumps(None if state is None else kinds).encode())
    content = _shared_bytes(communicator, b"".join(array.tobytes() for _, array in arrays))
    found: dict[str, npt.NDArray[Any]] = {}
    place = 0
    for name, dtype, shape in json.loads(said) or []:
        count = int(np.prod(shape))
        found[name] = np.frombuffer(content, dtype, count, place).reshape(shape)
        place += found[name].nbytes
    return None if json.loads(said) is None else found


def alone(communicator: Communicator, algorithm: str) -> None:
    """Raises ComputeError, on every rank, where there are several."""
    if communicator.world_size > 1:
        raise ComputeError("algorithm", f"{algorithm} does not train on several ranks")


def _shared_bytes(communicator: Communicator, content: bytes) -> bytes:
    """Rank 0's."""
    size = np.array(len(content), np.int64)
    communicator.broadcast(size)
    words = np.zeros(-(-int(size) // 8), np.int64)
    if communicator.rank == 0:
        words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    communicator.broadcast(words)
    return words.tobytes()[: int(size)]
