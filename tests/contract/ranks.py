"""What the ranks of a test do. A module of its own: spawned processes import it, and it alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from services.training.compute.communicator.base import Communicator, CommunicatorError
from services.training.compute.communicator.nccl import NcclCommunicator

# Many messages, the last one not full.
LARGE = (8 << 20) // 8 + 3


def mine(rank: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array of rank `rank`, such that sums in another order have other bits."""
    random = np.random.default_rng([rank, len(shape), *shape])
    if dtype == "int64":
        return np.asarray(random.integers(-(2**62), 2**62, shape))
    return np.asarray(random.normal(0, 10.0 ** random.integers(-3, 4), shape).astype(dtype))


def sums(communicator: Communicator, kinds: list[tuple[tuple[int, ...], str]]) -> list[bytes]:
    """The sum of arrays of each kind."""
    return [_shared(communicator, kind, communicator.allreduce) for kind in kinds]


def broadcasts(
    communicator: Communicator, kinds: list[tuple[tuple[int, ...], str]], root: int
) -> list[bytes]:
    """Arrays of rank `root`, of each kind."""
    return [_shared(communicator, kind, lambda array: communicator.broadcast(array, root)) for kind in kinds]


def meets(communicator: Communicator, folder: Path) -> list[int]:
    """How many had come when this rank went on, three times."""
    found = []
    for turn in range(3):
        (folder / f"{turn}-{communicator.rank}").touch()
        communicator.barrier()
        found.append(len(list(folder.glob(f"{turn}-*"))))
        communicator.barrier()
    return found


def call(communicator: Communicator, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """One call with an array of zeros."""
    array = _there(communicator, np.zeros(shape, dtype))
    calls = {
        "allreduce": lambda: communicator.allreduce(array),
        "broadcast": lambda: communicator.broadcast(array),
        "broadcast from 1": lambda: communicator.broadcast(array, 1),
        "barrier": communicator.barrier,
        "strided": lambda: communicator.allreduce(array[::2]),
    }
    calls[name]()


def differs(
    communicator: Communicator, odd: int, usual: tuple[Any, ...], other: tuple[Any, ...]
) -> list[str]:
    """Rank `odd` makes another call; what is said then, and what at the next call."""
    communicator.barrier()
    said = []
    for arguments in (other if communicator.rank == odd else usual, ("barrier", (), "int64")):
        try:
            call(communicator, *arguments)
        except CommunicatorError as error:
            said.append(str(error))
    return said


def dies(communicator: Communicator, victim: int, number: int, size: int) -> None:
    """Rank `victim` gets a signal while the others wait for it."""
    communicator.barrier()
    if communicator.rank == victim:
        os.kill(os.getpid(), number)
    call(communicator, "allreduce", (size,), "float64")


def gives_up(communicator: Communicator, who: int, size: int) -> None:
    """Rank `who` raises while the others wait for it."""
    if communicator.rank == who:
        raise CommunicatorError("out of memory")
    call(communicator, "allreduce", (size,), "float64")


def aborts(communicator: Communicator, who: int) -> str:
    """Rank `who` aborts; what its own next call says."""
    if communicator.rank == who:
        communicator.abort("the disk is full")
    try:
        communicator.barrier()
    except CommunicatorError as error:
        return str(error)
    return "nothing"


def leaves(communicator: Communicator, who: int) -> None:
    """Rank `who` has fewer calls than the others."""
    communicator.barrier()
    if communicator.rank != who:
        communicator.barrier()


def _shared(communicator: Communicator, kind: tuple[tuple[int, ...], str], share: Any) -> bytes:
    array = _there(communicator, mine(communicator.rank, *kind))
    share(array)
    host = array.get() if hasattr(array, "get") else array
    return bytes(host.tobytes())


def _there(communicator: Communicator, array: np.ndarray) -> Any:
    if not isinstance(communicator, NcclCommunicator):
        return array
    import cupy  # noqa: PLC0415 (only where there is one)

    return cupy.asarray(array)
