"""Who is let in, with real sockets, and what is done with what is no message."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pytest

from services.training.compute.communicator.base import CommunicatorError
from services.training.compute.communicator.frames import Connection, work_all
from services.training.compute.communicator.rendezvous import listen
from services.training.compute.communicator.tcp import TcpCommunicator
from services.training.compute.errors import ComputeError

SECRET = b"known to both sides"
LONG, SHORT = 20.0, 0.5


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def lead(
    threads: ThreadPoolExecutor, size: int, timeout: float = LONG
) -> tuple[Future[TcpCommunicator], tuple[str, int]]:
    listening = listen()
    return threads.submit(TcpCommunicator.lead, listening, size, SECRET, timeout), listening.getsockname()


def test_strangers_keep_nobody_out(threads: ThreadPoolExecutor) -> None:
    leading, address = lead(threads, 2)
    with socket.create_connection(address), socket.create_connection(address) as loud:
        loud.sendall(b"GET / HTTP/1.1\r\nHost: rank-0.example\r\nAccept: */*\r\n\r\n")
        with TcpCommunicator.join(address, 1, 2, SECRET, LONG) as joined, leading.result() as led:
            assert (led.rank, joined.rank, led.world_size, joined.world_size) == (0, 1, 2, 2)


@pytest.mark.parametrize("answer", [slice(32, 64), slice(0, 32)])
def test_a_newcomer_who_does_not_know_the_secret_is_turned_away(
    threads: ThreadPoolExecutor, answer: slice
) -> None:
    leading, address = lead(threads, 2)
    with socket.create_connection(address) as false:
        false.sendall(struct.pack("!8sII32s", b"mlapi-c1", 1, 2, b"n" * 32))
        said = false.makefile("rb").read(64)
        # Rank 0's own proof, and its nonce, sent back.
        false.sendall(said[answer])
        assert false.recv(1000) == b""
    with TcpCommunicator.join(address, 1, 2, SECRET, LONG), leading.result():
        pass


def test_a_rank_without_a_place_is_told_so(threads: ThreadPoolExecutor) -> None:
    leading, address = lead(threads, 3)
    with pytest.raises(CommunicatorError, match="no place for rank 2 of 4 among 3"):
        TcpCommunicator.join(address, 2, 4, SECRET, LONG)
    both = [threads.submit(TcpCommunicator.join, address, 1, 3, SECRET, LONG) for _ in range(2)]
    # Whoever came second is refused at once; the other waits for rank 2.
    refused = wait(both, return_when=FIRST_COMPLETED).done
    with pytest.raises(CommunicatorError, match="no place for rank 1 of 3"):
        refused.pop().result()
    with TcpCommunicator.join(address, 2, 3, SECRET, LONG), leading.result():
        assert sum(one.exception() is None for one in both) == 1


def test_whoever_listens_has_to_know_the_secret_too(threads: ThreadPoolExecutor) -> None:
    with listen() as false:
        joining = threads.submit(TcpCommunicator.join, false.getsockname(), 1, 2, SECRET, LONG)
        sock, _ = false.accept()
        with sock:
            hello = sock.recv(1000)
            # The newcomer's own nonce, sent back.
            sock.sendall(hello[-32:] * 2)
            with pytest.raises(CommunicatorError, match="another secret"):
                joining.result()
            assert sock.recv(1000) == b""


def test_a_rank_that_never_comes_is_waited_for_in_vain(threads: ThreadPoolExecutor) -> None:
    leading, address = lead(threads, 3, SHORT)
    joining = threads.submit(TcpCommunicator.join, address, 2, 3, SECRET, LONG)
    for waiting in (leading, joining):
        with pytest.raises(CommunicatorError, match="rank 1 did not come in time"):
            waiting.result()


def test_nobody_listens() -> None:
    with listen() as closed:
        address = closed.getsockname()
    with pytest.raises(CommunicatorError, match="nobody listens"):
        TcpCommunicator.join(address, 1, 2, SECRET, SHORT)


@pytest.mark.parametrize(
    ("rank", "secret", "field"), [(0, SECRET, "rank"), (2, SECRET, "rank"), (1, b"short", "secret")]
)
def test_what_cannot_be_is_refused(rank: int, secret: bytes, field: str) -> None:
    with pytest.raises(ComputeError) as refused:
        TcpCommunicator.join(("127.0.0.1", 1), rank, 2, secret)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "sent", [b"\x6d\x01" + struct.pack("!HI", 0, 2**32 - 1), b"\x6d\x01\xff\xff" + b"\0" * 4, b"\r\n" * 9]
)
def test_what_is_no_message_is_not_waited_for(sent: bytes) -> None:
    with listen() as listening, socket.create_connection(listening.getsockname()) as its:
        its.sendall(sent)
        ours = Connection(listening.accept()[0], 3)
        room = memoryview(bytearray(1000))
        with pytest.raises(CommunicatorError, match="rank 3 sent what is no message"):
            work_all({ours: ours.receive("a sum", room)}, time.monotonic() + LONG, "a sum")
        ours.close()
