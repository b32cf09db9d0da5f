"""A link that breaks: passes TCP on, and resets connections after so many bytes from the caller."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread
from typing import Self

PIECE = 64 * 1024


class CuttingProxy:
    """Listens at `address`. cuts: after how many bytes each connection is cut; those beyond the list last."""

    def __init__(self, upstream: str, cuts: Iterable[int]) -> None:
        host, port = upstream.rsplit(":", 1)
        self._upstream = (host, int(port))
        self.cuts = list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads = [Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for one in self._sockets:
            _reset(one)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            service = socket.create_connection(self._upstream)
            self._sockets += [caller, service]
            cut = self.cuts.pop(0) if self.cuts else None
            for source, sink, most in ((caller, service, cut), (service, caller, None)):
                thread = Thread(target=_pump, args=(source, sink, most))
                self._threads.append(thread)
                thread.start()


def _pump(source: socket.socket, sink: socket.socket, most: int | None) -> None:
    passed = 0
    with suppress(OSError):
        while data := source.recv(PIECE):
            passed += len(data)
            if most is not None and passed > most:
                break
            sink.sendall(data)
    _reset(source)
    _reset(sink)


def _reset(one: socket.socket) -> None:
    """As a link that breaks: without a word of goodbye."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    one.close()
