"""A communicator of NumPy arrays over TCP, in the form of a star: every rank is connected to rank 0.

Rank 0 adds the arrays in the order of the ranks and sends all the sum that it got. So the order of additions
never depends on who came first, and every rank has the same bits.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.training.compute.communicator.base import CommunicatorError, Leaving
from services.training.compute.communicator.frames import NOTHING, PAYLOAD_BYTES, Connection, Room, work_all
from services.training.compute.communicator.rendezvous import checked, join, welcome_all
from services.training.compute.errors import ComputeError
from services.training.compute.kernels.launch import Array

TYPES = frozenset({"float32", "float64", "int64"})
TIMEOUT = 60.0


@dataclass(frozen=True)
class _Call:
    """What all ranks have to be at.

    senders: whose arrays go to rank 0, which combines its own with each. receivers: who gets the result.
    """

    name: str
    senders: frozenset[int] = frozenset()
    receivers: frozenset[int] = frozenset()
    combine: Callable[[Array, Array], None] | None = None


class TcpCommunicator(Leaving):
    """See Communicator, whose arrays here are NumPy's. `lead` and `join` make one."""

    def __init__(self, rank: int, world_size: int, timeout: float, connections: Sequence[Connection]) -> None:
        self.rank, self.world_size, self.timeout = rank, world_size, timeout
        self._connections = connections
        self._rooms = [memoryview(bytearray(PAYLOAD_BYTES)) for _ in connections] if rank == 0 else []
        self._failure: str | None = None

    @classmethod
    def lead(
        cls,
        listening: socket.socket,
        world_size: int,
        secret: bytes,
        timeout: float = TIMEOUT,
        in_vain: Callable[[], bool] = lambda: False,
    ) -> TcpCommunicator:
        """Rank 0, once the others have come to `listening`, which is closed then; see `listen`.

        secret: 16 bytes at least, the same for all. in_vain: whether not all of them will come. Raises
        CommunicatorError when one does not.
        """
        with listening:
            deadline = time.monotonic() + timeout
            connections = welcome_all(listening, world_size, checked(secret), deadline, in_vain)
        return cls(0, world_size, timeout, connections)

    @classmethod
    def join(
        cls, address: tuple[str, int], rank: int, world_size: int, secret: bytes, timeout: float = TIMEOUT
    ) -> TcpCommunicator:
        """Another rank, once all have come; address: host and port where rank 0 listens, or will."""
        if not 0 < rank < world_size:
            raise ComputeError("rank", f"has to be from 1 to {world_size - 1}, got {rank}")
        connection = join(address, rank, world_size, checked(secret), time.monotonic() + timeout)
        return cls(rank, world_size, timeout, [connection])

    def allreduce(self, array: Array) -> None:
        """See Communicator."""
        everyone = frozenset(range(self.world_size))
        self._share(_Call("a sum", everyone, everyone, _add), array)

    def broadcast(self, array: Array, root: int = 0) -> None:
        """See Communicator."""
        others = frozenset(range(self.world_size)) - {root}
        self._share(_Call(f"a broadcast from rank {root}", frozenset({root}), others, _take), array)

    def barrier(self) -> None:
        """See Communicator."""
        self.agree("a barrier")

    def agree(self, call: str) -> None:
        """Returns once all ranks have said the same; raises CommunicatorError when one says another."""
        self._usable()
        self._exchange(_Call(call), np.empty(0), self._deadline())

    def look(self) -> bool:
        """Whether a rank has left; raises CommunicatorError when one gave up. Waits for none."""
        self._usable()
        try:
            left = [connection.look() for connection in self._connections]
        except CommunicatorError as error:
            self._fail(str(error))
            raise
        return any(left)

    def abort(self, reason: str) -> None:
        """See Communicator."""
        self._fail(f"rank {self.rank} gave up: {reason}")

    def close(self) -> None:
        """See Communicator."""
        self._failure = self._failure or "the communicator is closed"
        for connection in self._connections:
            connection.close()

    def _share(self, call: _Call, array: Array) -> None:
        self._usable()
        flat = self._checked(array)
        call = replace(call, name=f"{call.name} of {array.dtype}{list(array.shape)}")
        deadline, size = self._deadline(), PAYLOAD_BYTES // array.dtype.itemsize
        for start in range(0, max(1, len(flat)), size):
            self._exchange(call, flat[start : start + size], deadline)

    def _exchange(self, call: _Call, piece: Array, deadline: float) -> None:
        """All ranks' messages to rank 0, then its messages to all: a piece each, or nothing."""
        try:
            if self.rank == 0:
                self._lead(call, piece, deadline)
            else:
                self._follow(call, _bytes(piece), deadline)
        except CommunicatorError as error:
            self._fail(str(error))
            raise
        except BaseException as error:
            self.abort(f"{type(error).__name__}: {error}")
            raise

    def _lead(self, call: _Call, piece: Array, deadline: float) -> None:
        senders = [one for one in self._connections if one.rank in call.senders]
        rooms = {one: self._rooms[one.rank - 1][: piece.nbytes] for one in senders}
        tasks = {one: one.receive(call.name, rooms.get(one, NOTHING)) for one in self._connections}
        work_all(tasks, deadline, call.name)
        for one in senders:
            assert call.combine
            call.combine(piece, np.frombuffer(rooms[one], piece.dtype))
        said = {one: _bytes(piece) if one.rank in call.receivers else NOTHING for one in self._connections}
        replies = {one: one.send(call.name, message) for one, message in said.items()}
        work_all(replies, deadline, call.name)

    def _follow(self, call: _Call, piece: Room, deadline: float) -> None:
        (lead,) = self._connections
        for work in (
            lead.send(call.name, piece if self.rank in call.senders else NOTHING),
            lead.receive(call.name, piece if self.rank in call.receivers else NOTHING),
        ):
            work_all({lead: work}, deadline, call.name)

    def _checked(self, array: Array) -> Array:
        """The array as a flat one over the same memory."""
        problem = ""
        if not isinstance(array, np.ndarray):
            problem = "arrays on a device go over NCCL"
        elif array.dtype.name not in TYPES:
            problem = f"sums and broadcasts are of float32, float64 and int64, not of {array.dtype}"
        elif not (array.flags.c_contiguous and array.flags.writeable):
            problem = "an array that is shared has to be contiguous and writeable"
        if problem:
            self.abort(problem)
            self._usable()
        return array.reshape(-1)

    def _usable(self) -> None:
        if self._failure is not None:
            raise CommunicatorError(self._failure)

    def _deadline(self) -> float:
        return time.monotonic() + self.timeout

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            for connection in self._connections:
                connection.tell(reason)


def _add(mine: Array, its: Array) -> None:
    mine += its


def _take(mine: Array, its: Array) -> None:
    mine[:] = its


def _bytes(piece: Array) -> Room:
    return memoryview(piece.view(np.uint8))
