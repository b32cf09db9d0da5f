"""How the ranks of a training run speak: processes with rows of their own, which take the same steps."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from services.training.compute.kernels.launch import Array


class CommunicatorError(RuntimeError):
    """A rank left, hung, gave up or does something else than the others; says which and why.

    Nothing can be done with the communicator any more: every later call raises the same.
    """


class Communicator(Protocol):
    """Joins `world_size` ranks, 0 to `world_size` − 1. To be used by one thread at a time.

    All ranks make the same calls in the same order, with arrays of one shape and type: float32, float64 or
    int64, C-contiguous. A rank that does otherwise, ends, or gives up is a CommunicatorError on every rank;
    so is one that does not come to a call within `timeout` seconds of another. No call takes longer, so that
    `timeout` has to exceed what a rank does alone between two of them. An error of any kind has to reach the
    others: use it in `with`, which calls `abort` on the way out of one, and then closes it.
    """

    rank: int
    world_size: int
    timeout: float

    def allreduce(self, array: Array) -> None:
        """array ← the sum of all ranks' arrays: the same bits on every rank and in every run."""

    def broadcast(self, array: Array, root: int = 0) -> None:
        """array ← that of rank `root`."""

    def barrier(self) -> None:
        """Returns once all ranks have called it."""

    def abort(self, reason: str) -> None:
        """Tells the others, whose calls raise with the reason, now or next. Does not wait, never raises."""

    def close(self) -> None:
        """Leaves. A rank that still waits for this one is told so."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Leaving:
    """`with` for a communicator: see there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort(f"{type(error).__name__}: {error}")
        self.close()

    def abort(self, reason: str) -> None:
        """See Communicator."""

    def close(self) -> None:
        """See Communicator."""


class Alone(Leaving):
    """A world of one rank, which has nobody to wait for."""

    rank = 0
    world_size = 1
    timeout = 0.0

    def allreduce(self, array: Array) -> None:
        """See Communicator."""

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Communicator."""

    def barrier(self) -> None:
        """See Communicator."""


ALONE = Alone()
