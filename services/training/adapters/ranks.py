"""The other processes that train an attempt: children of its own, on its machine and in its process group."""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

from services.training.compute.communicator.base import ALONE, Communicator, CommunicatorError
from services.training.compute.communicator.rendezvous import listen
from services.training.compute.communicator.tcp import TcpCommunicator

_SECRET_BYTES = 32
# That a process has left is heard of before it is gone.
_DYING_SECONDS = 0.5


class LocalRanks:
    """Starts ranks 1, 2, … and joins them to this process, which is rank 0. See `Ranks` in `learner`.

    command: what starts one; port, rank, world size and our process id follow it. It finds the secret of the
    run on its standard input, where nobody else sees it. timeout: seconds that one may keep others waiting.

    To be used by the main thread: the system ends the ranks with the thread that started them.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._command, self._timeout = list(command), timeout
        self._children: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def __call__(self, workers: int, stopping: Callable[[], bool]) -> Iterator[Communicator]:
        """None of them is left at the end; whatever they do then is for nothing."""
        if workers == 1:
            yield ALONE
            return
        secret, listening = secrets.token_bytes(_SECRET_BYTES), listen()
        port = listening.getsockname()[1]
        try:
            self._children = []
            for rank in range(1, workers):
                self._children.append(self._start(port, rank, workers, secret))
            with TcpCommunicator.lead(
                listening, workers, secret, self._timeout, lambda: stopping() or bool(self._ended())
            ) as communicator:
                yield communicator
        except CommunicatorError as error:
            raise CommunicatorError("; ".join([str(error), *self._ended(_DYING_SECONDS)])) from error
        finally:
            listening.close()
            for child in self._children:
                child.kill()
                child.wait()

    def cpu_seconds(self) -> float:
        """Processor time of all ranks but this one; of those that are gone, what the system says of them."""
        gone, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), 0.0
        for child in self._children:
            with suppress(psutil.Error):
                if child.returncode is None:
                    times = psutil.Process(child.pid).cpu_times()
                    seconds += times.user + times.system
        return gone.ru_utime + gone.ru_stime + seconds

    def _start(self, port: int, rank: int, workers: int, secret: bytes) -> subprocess.Popen[bytes]:
        facts = map(str, (port, rank, workers, os.getpid()))
        child = subprocess.Popen([*self._command, *facts], stdin=subprocess.PIPE)
        assert child.stdin
        with suppress(BrokenPipeError), child.stdin:  # it has ended, which is seen elsewhere
            child.stdin.write(secret)
        return child

    def _ended(self, patience: float = 0.0) -> list[str]:
        """Those that have gone in another way than they should, for a person. patience: seconds for all."""
        deadline = time.monotonic() + patience
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        codes = {rank: child.returncode for rank, child in enumerate(self._children, 1)}
        return [f"rank {rank} ended with status {code}" for rank, code in codes.items() if code]
