"""What calls a gateway, one call after the other. Cheap: it shares the machine with what it measures."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import Any, Protocol

import grpc

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
# Of a stream no more is kept: it ends with `[DONE]`.
_LAST_BYTES = 600
Saw = Callable[[bytes], None]


class CallFailed(Exception):
    """A call was not answered as it should be."""


class Caller(Protocol):
    """One of many that call at once."""

    async def ask(self) -> None:
        """A whole answer; raises CallFailed."""

    async def stream(self, body: bytes, saw: Saw) -> None:
        """An answer in pieces, each shown to `saw` as it comes; raises CallFailed."""

    async def close(self) -> None: ...


class HttpCaller(asyncio.Protocol):
    """See Caller: one connection of HTTP/1.1, kept alive. asyncio sets TCP_NODELAY."""

    def __init__(self, port: int, head: bytes, whole: bytes) -> None:
        self._port, self._head, self._whole = port, head, self._request(head, whole)
        self._done: asyncio.Future[None] | None = None
        self._saw: Saw | None = None

    @staticmethod
    def _request(head: bytes, body: bytes) -> bytes:
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    @staticmethod
    async def opened(port: int, path: str, headers: dict[str, str], whole: bytes) -> HttpCaller:
        lines = {"host": f"127.0.0.1:{port}", "content-type": "application/json", **headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = f"POST {path} HTTP/1.1\r\n{text}".encode()
        caller = HttpCaller(port, head, whole)
        await caller._connect()
        return caller

    async def ask(self) -> None:
        await self._sent(self._whole, None)

    async def stream(self, body: bytes, saw: Saw) -> None:
        await self._sent(self._request(self._head, body), saw)

    async def close(self) -> None:
        self._transport.close()

    async def _connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    async def _sent(self, request: bytes, saw: Saw | None) -> None:
        if self._transport.is_closing():  # LiteLLM hangs up on idle connections now and then
            await self._connect()
        self._said, self._left, self._well, self._saw = b"", -1, False, saw
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._done and not self._done.done():
            self._done.set_exception(CallFailed(f"the connection was closed ({error})"))

    def data_received(self, data: bytes) -> None:
        self._said += data
        if self._left < 0:
            self._begin()
        if self._saw:
            self._saw(data)
            if self._left == 0:
                self._said = self._said[-_LAST_BYTES:]
        if self._is_all() and self._done and not self._done.done():
            self._end(self._done)

    def _begin(self) -> None:
        """Reads the head of the answer. _left: bytes of all of it; 0 while that is not known."""
        end = self._said.find(b"\r\n\r\n") + 4
        if end >= 4:
            self._well = self._said.startswith(b"HTTP/1.1 200")
            length = _LENGTH.search(self._said, 0, end)
            self._left = end + int(length[1]) if length else 0

    def _is_all(self) -> bool:
        if self._left > 0:
            return len(self._said) >= self._left
        return self._left == 0 and self._said.endswith(b"\r\n0\r\n\r\n")

    def _end(self, done: asyncio.Future[None]) -> None:
        if self._well and (not self._saw or b"[DONE]" in self._said):
            done.set_result(None)
        else:
            done.set_exception(CallFailed(self._said[:600].decode(errors="replace")))


class GrpcCaller:
    """See Caller: calls of ChatService over a channel that a few callers share."""

    def __init__(self, channel: grpc.aio.Channel, whole: bytes, key: str) -> None:
        self._key = (("authorization", f"Bearer {key}"),)
        service = "/mlapi.ai_gateway.v1.ChatService/"
        self._whole = whole
        # Neither parses: what the answer holds is looked for in its bytes.
        self._chat: Any = channel.unary_unary(service + "Chat")
        self._stream: Any = channel.unary_stream(service + "StreamChat")

    async def ask(self) -> None:
        try:
            answer = await self._chat(self._whole, metadata=self._key, timeout=60, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise CallFailed(str(error.details())) from None
        if b"word4" not in answer:
            raise CallFailed("an answer without its words")

    async def stream(self, body: bytes, saw: Saw) -> None:
        try:
            async for event in self._stream(body, metadata=self._key, timeout=300):
                saw(event)
        except grpc.aio.AioRpcError as error:
            raise CallFailed(str(error.details())) from None

    async def close(self) -> None:
        pass


class Channels:
    """Connections that gRPC callers share in turn."""

    def __init__(self, address: str, count: int) -> None:
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        # A gateway that has only begun to start is tried often.
        options += [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("initial", "min", "max")]
        self._channels = [grpc.aio.insecure_channel(address, options) for _ in range(count)]
        self._next = itertools.cycle(self._channels)

    def caller(self, whole: bytes, key: str) -> GrpcCaller:
        return GrpcCaller(next(self._next), whole, key)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
