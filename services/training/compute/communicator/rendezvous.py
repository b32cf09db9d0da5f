"""How ranks find each other: rank 0 listens, the others come, and each proves that it knows the secret.

Both sides send a nonce and answer the other's with an HMAC-SHA256 over both nonces and the rank, under a key
of their own role, so that no answer can be used twice or sent back. It keeps out whoever does not know the
secret. What follows is neither encrypted nor signed: a network on which others read along needs a tunnel.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from services.training.compute.communicator.base import CommunicatorError
from services.training.compute.communicator.frames import NOTHING, Connection, work_all
from services.training.compute.errors import ComputeError

_HELLO = struct.Struct("!8sII32s")
_MAGIC = b"mlapi-c1"
_NONCE_BYTES = _PROOF_BYTES = 32
_SECRET_BYTES = 16
# Who does not prove himself within so many seconds is a stranger, of whom so many are heard at once.
_PATIENCE, _STRANGERS = 5.0, 64
_RETRY_SECONDS = 0.05
_LOOK_SECONDS = 0.1
WELCOME = "welcome"


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Where rank 0 will hear the others; port 0 takes one that is free. Raises OSError."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family)


def checked(secret: bytes) -> bytes:
    """`secret`; raises ComputeError when it is too short to be one."""
    if len(secret) < _SECRET_BYTES:
        raise ComputeError("secret", f"takes {_SECRET_BYTES} bytes at least, got {len(secret)}")
    return secret


def welcome_all(
    listening: socket.socket, world_size: int, secret: bytes, deadline: float, in_vain: Callable[[], bool]
) -> list[Connection]:
    """For rank 0: connections to ranks 1, 2, …, once all have come. Raises CommunicatorError."""
    door = _Door(world_size, secret)
    asyncio.run(door.wait(listening, deadline, in_vain))
    connections = [door.admitted[rank] for rank in sorted(door.admitted)]
    if missing := set(range(1, world_size)) - set(door.admitted):
        names = " and ".join(map(str, sorted(missing)))
        late = " in time" if time.monotonic() >= deadline else ""
        reason = f"rank {names} did not come{late}; {door.refused} other connections were refused"
        for connection in connections:
            connection.tell(reason)
            connection.close()
        raise CommunicatorError(reason)
    tasks = {connection: connection.send(WELCOME, NOTHING) for connection in connections}
    work_all(tasks, deadline, WELCOME)
    return connections


def join(address: tuple[str, int], rank: int, world_size: int, secret: bytes, deadline: float) -> Connection:
    """For the others: the connection to rank 0, once all ranks have come. Raises CommunicatorError."""
    sock = _connect(address, deadline)
    try:
        with _as_lost("rank 0 is gone"):
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            hello = _HELLO.pack(_MAGIC, rank, world_size, secrets.token_bytes(_NONCE_BYTES))
            sock.sendall(hello)
            nonce, proof = _read(sock, _NONCE_BYTES), _read(sock, _PROOF_BYTES)
            if not hmac.compare_digest(proof, _proof(secret, b"lead", hello, nonce)):
                raise CommunicatorError(f"whoever listens at {address[0]}:{address[1]} has another secret")
            sock.sendall(_proof(secret, b"join", hello, nonce))
        connection = Connection(sock, 0)
        work_all({connection: connection.receive(WELCOME, NOTHING)}, deadline, WELCOME)
    except BaseException:
        sock.close()
        raise
    return connection


class _Door:
    """Hears many strangers at once, so that none keeps the others out."""

    def __init__(self, world_size: int, secret: bytes) -> None:
        self.admitted: dict[int, Connection] = {}
        self.refused = 0
        self._world_size, self._secret = world_size, secret
        self._full = asyncio.Event()
        self._room = asyncio.Semaphore(_STRANGERS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait(self, listening: socket.socket, deadline: float, in_vain: Callable[[], bool]) -> None:
        """Until all are there, or the deadline, or it is in vain."""
        listening.setblocking(False)
        self._look()
        self._tasks.add(asyncio.create_task(self._accept(listening)))
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                while not (self._full.is_set() or in_vain()):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._full.wait(), _LOOK_SECONDS)
        except TimeoutError:
            return
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            await self._room.acquire()
            try:
                sock, _ = await asyncio.get_running_loop().sock_accept(listening)
            except ConnectionError:
                self._room.release()
                continue
            sock.setblocking(False)
            hearing = asyncio.create_task(self._hear(sock))
            self._tasks.add(hearing)
            hearing.add_done_callback(self._tasks.discard)

    def _look(self) -> None:
        if len(self.admitted) == self._world_size - 1:
            self._full.set()

    async def _hear(self, sock: socket.socket) -> None:
        rank = -1
        try:
            async with asyncio.timeout(_PATIENCE):
                rank = await self._proven(sock)
        except (OSError, TimeoutError, EOFError):
            self.refused += 1
        finally:
            self._room.release()
            if rank < 0:
                sock.close()
        if rank > 0:
            self.admitted[rank] = Connection(sock, rank)
            self._look()

    async def _proven(self, sock: socket.socket) -> int:
        """Its rank; raises EOFError for a stranger."""
        loop = asyncio.get_running_loop()
        hello = await _receive(sock, _HELLO.size)
        magic, rank, world_size, _ = _HELLO.unpack(hello)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        if magic != _MAGIC:
            raise EOFError
        await loop.sock_sendall(sock, nonce + _proof(self._secret, b"lead", hello, nonce))
        proof = await _receive(sock, _PROOF_BYTES)
        if not hmac.compare_digest(proof, _proof(self._secret, b"join", hello, nonce)):
            raise EOFError
        if world_size != self._world_size or not 0 < rank < world_size or rank in self.admitted:
            reason = f"there is no place for rank {rank} of {world_size} among {self._world_size}"
            Connection(sock, rank).tell(reason)
            raise EOFError
        return int(rank)


async def _receive(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = await asyncio.get_running_loop().sock_recv(sock, size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def _connect(address: tuple[str, int], deadline: float) -> socket.socket:
    """Tries until somebody listens."""
    while True:
        left = deadline - time.monotonic()
        try:
            return socket.create_connection(address, timeout=max(0.001, left))
        except OSError as error:
            if left <= _RETRY_SECONDS:
                raise CommunicatorError(f"nobody listens at {address[0]}:{address[1]}: {error}") from error
        time.sleep(_RETRY_SECONDS)


def _read(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = sock.recv(size - len(got))
        if not more:
            raise CommunicatorError("rank 0 refused this rank, or is gone")
        got += more
    return got


def _proof(secret: bytes, role: bytes, hello: bytes, nonce: bytes) -> bytes:
    return hmac.digest(secret, role + hello + nonce, "sha256")


@contextmanager
def _as_lost(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommunicatorError(f"{what}: {error}") from error
