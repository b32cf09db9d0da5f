"""Processes that become the ranks of a world, one world after the other. Spawned, never forked."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from services.training.compute.backend import open_backend
from services.training.compute.communicator.base import Communicator, CommunicatorError
from services.training.compute.communicator.nccl import NcclCommunicator
from services.training.compute.communicator.rendezvous import listen
from services.training.compute.communicator.tcp import TcpCommunicator

SECRET = b"a secret that only these ranks know"
# Longer than any test: what does not end before it hangs.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Failed:
    """What a rank's CommunicatorError said."""

    reason: str


@dataclass(frozen=True)
class Broken:
    """Any other error, with where it came from."""

    trace: str


@dataclass(frozen=True)
class World:
    """How the ranks meet. secrets: one for each of them."""

    size: int
    adapter: str = "tcp"
    timeout: float = 30.0
    secrets: Sequence[bytes] = ()

    def enter(self, rank: int, pipe: Connection) -> Communicator:
        """Becomes rank `rank`; rank 0 tells its address to the pipe, the others get it there.

        Nobody begins before all are ready: a process that starts takes longer than some timeouts.
        """
        secret = self.secrets[rank] if self.secrets else SECRET
        pipe.send("ready")
        if rank == 0:
            pipe.recv()
            listening = listen()
            pipe.send(listening.getsockname())
            communicator = TcpCommunicator.lead(listening, self.size, secret, self.timeout)
        else:
            communicator = TcpCommunicator.join(pipe.recv(), rank, self.size, secret, self.timeout)
        if self.adapter == "tcp":
            return communicator
        open_backend("cupy").xp.cuda.Device(rank).use()
        return NcclCommunicator(communicator)


class Crew:
    """Runs a function on every rank: `body(communicator, *arguments)`."""

    def __init__(self) -> None:
        self._members: list[tuple[BaseProcess, Connection]] = []

    def run(
        self, world: World, body: Callable[..., Any], *arguments: Any, lost: int | None = None
    ) -> list[Any]:
        """What each rank returned, or `Failed`. lost: a rank that will not answer, and is ended here."""
        pipes = [self._member(rank) for rank in range(world.size)]
        for rank, pipe in enumerate(pipes):
            pipe.send((world, rank, body, arguments))
        for pipe in pipes:
            assert _answer(pipe) == "ready"
        pipes[0].send("go")
        address = _answer(pipes[0])
        for pipe in pipes[1:]:
            pipe.send(address)
        results = [None if rank == lost else _answer(pipe) for rank, pipe in enumerate(pipes)]
        if lost is not None:
            self._end(lost)
        for result in results:
            assert not isinstance(result, Broken), result.trace
        return results

    def close(self) -> None:
        """Ends all."""
        for rank in range(len(self._members)):
            self._end(rank)

    def _member(self, rank: int) -> Connection:
        if rank == len(self._members):
            self._members.append(_spawn())
        elif not self._members[rank][0].is_alive():
            self._members[rank] = _spawn()
        return self._members[rank][1]

    def _end(self, rank: int) -> None:
        process, pipe = self._members[rank]
        process.kill()
        process.join()
        pipe.close()


def _spawn() -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_serve, args=(its,), daemon=True)
    process.start()
    its.close()
    return process, ours


def _serve(pipe: Connection) -> None:
    while True:
        try:
            world, rank, body, arguments = pipe.recv()
        except EOFError:
            return
        try:
            with world.enter(rank, pipe) as communicator:
                result = body(communicator, *arguments)
        except CommunicatorError as error:
            result = Failed(str(error))
        except Exception:
            result = Broken(traceback.format_exc())
        pipe.send(result)


def _answer(pipe: Connection) -> Any:
    assert pipe.poll(_PATIENCE), "a rank hangs"
    return pipe.recv()
