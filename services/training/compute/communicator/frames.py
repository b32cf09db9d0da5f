"""Messages over one TCP connection, of which each side can have several under way and none for ever.

A frame is a header (kind, length of the note, length of the payload), a note in UTF-8, and the payload. What
is received goes into room that is there already, so no length that somebody else names is ever allocated.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import TypeAlias

from services.training.compute.communicator.base import CommunicatorError

# The most that a frame carries; longer arrays come in several.
PAYLOAD_BYTES = 1 << 20
_NOTE_BYTES = 1000
_HEADER = struct.Struct("!BBHI")
_MARK, _CALL, _ABORT = 0x6D, 1, 2

# Work on a connection: gives what it waits for, a mask of `select.poll`, and gets what came.
Work: TypeAlias = Generator[int, int, None]
Room: TypeAlias = memoryview

NOTHING = memoryview(bytearray())
_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Connection:
    """A connected socket to rank `rank`, which this owns."""

    def __init__(self, sock: socket.socket, rank: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rank, self._socket = rank, sock
        # Within a frame, nothing else can be said.
        self._sending = False

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, note: str, payload: Room) -> Work:
        """Sends a frame. The other side is silent meanwhile, unless it gives up or leaves."""
        self._sending = True
        for part in (memoryview(_head(_CALL, note, len(payload))), payload):
            rest = part
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    came = yield select.POLLOUT | select.POLLIN
                    if came & (select.POLLIN | _BROKEN):
                        yield from self._hear("")
                except OSError:
                    yield from self._hear("")
        self._sending = False

    def receive(self, note: str, room: Room) -> Work:
        """Fills `room` from the next frame; raises CommunicatorError unless that is what it says it is."""
        size = yield from self._hear(note)
        if size != len(room):
            raise CommunicatorError(f"rank {self.rank} sent {size} bytes for {note}, not {len(room)}")
        yield from self._fill(room)

    def look(self) -> bool:
        """Whether the other side has left, without waiting for it; raises CommunicatorError if it gave up."""
        try:
            head = self._socket.recv(_HEADER.size, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if head[1:2] == bytes([_ABORT]):
            next(self.receive("", NOTHING), None)
        return not head

    def tell(self, reason: str) -> None:
        """The last word: why there will be no other. Never waits; the other side may be gone."""
        with suppress(OSError):
            if not self._sending:
                self._socket.send(_head(_ABORT, reason, 0))
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Lets go of the socket."""
        self._socket.close()

    def _hear(self, note: str) -> Generator[int, int, int]:
        """The payload's length of the next frame, which has to be about `note`."""
        head = bytearray(_HEADER.size)
        yield from self._fill(memoryview(head))
        mark, kind, length, size = _HEADER.unpack(head)
        if mark != _MARK or length > _NOTE_BYTES or size > PAYLOAD_BYTES or kind not in {_CALL, _ABORT}:
            raise CommunicatorError(f"rank {self.rank} sent what is no message")
        said = bytearray(length)
        yield from self._fill(memoryview(said))
        text = said.decode(errors="replace")
        if kind == _ABORT:
            raise CommunicatorError(text)
        if text != note:
            raise CommunicatorError(
                f"ranks differ: rank {self.rank} is at {text}, another at {note or 'none'}"
            )
        return int(size)

    def _fill(self, room: Room) -> Work:
        while room:
            try:
                count = self._socket.recv_into(room)
            except BlockingIOError:
                yield select.POLLIN
                continue
            except OSError as error:
                raise CommunicatorError(f"rank {self.rank} is gone: {error.strerror}") from error
            if not count:
                raise CommunicatorError(f"rank {self.rank} has left")
            room = room[count:]


def work_all(tasks: Mapping[Connection, Work], deadline: float, what: str) -> None:
    """Does all of it at once. Raises CommunicatorError as the work does, or at `deadline` (monotonic)."""
    waits = {connection: mask for connection, work in tasks.items() if (mask := _go_on(work))}
    poll = select.poll()
    found = {connection.fileno(): connection for connection in waits}
    while waits:
        for connection, mask in waits.items():
            poll.register(connection, mask)
        left = deadline - time.monotonic()
        came = poll.poll(max(0.0, left) * 1000)
        if not came and left <= 0:
            raise CommunicatorError(f"{_names(waits)} did not come to {what} in time")
        for file, events in came:
            connection = found[file]
            if mask := _go_on(tasks[connection], events):
                waits[connection] = mask
            else:
                poll.unregister(connection)
                del waits[connection]


def _go_on(work: Work, events: int | None = None) -> int:
    """What it waits for next; 0 when it is done."""
    try:
        return next(work) if events is None else work.send(events)
    except StopIteration:
        return 0


def _head(kind: int, note: str, size: int) -> bytes:
    said = note.encode()[:_NOTE_BYTES]
    return _HEADER.pack(_MARK, kind, len(said), size) + said


def _names(connections: Mapping[Connection, int]) -> str:
    return "rank " + " and ".join(str(one) for one in sorted(one.rank for one in connections))
