"""Writes answers as their faults demand, and notes what was written."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from aiohttp import web

from services.ai_gateway.fakes.faults import Fault
from services.ai_gateway.fakes.speech import Usage
from services.ai_gateway.fakes.truth import Served
from services.ai_gateway.fakes.wire import Dialect, Frame, Reply

BROKEN = 503  # status of errors inside a 200
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def respond(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status, body=reply.body, headers={**reply.headers, "Content-Type": reply.type}
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """One answer on its way."""

    request: web.Request
    served: Served
    fault: Fault
    dialect: Dialect

    async def whole(self, reply: Reply, usage: Usage) -> web.StreamResponse:
        """An answer in one body; with an interval it takes as long as its tokens would."""
        if self.fault.interval:
            await asyncio.sleep(self.fault.interval * (usage.said + usage.thought))
        self.served.status = reply.status
        self.served.count(usage)
        if not self.fault.ending:
            self.served.complete = True
            return respond(reply)
        half = reply.body[: len(reply.body) // 2]
        if self.fault.ending in ("stall", "cut", "drop"):
            response = web.StreamResponse(headers={**reply.headers, "Content-Type": reply.type})
            response.content_length = len(reply.body)
            await response.prepare(self.request)
            await response.write(half)
            await self.leave()
        self.served.broken_off = True
        return respond(Reply(200, half, reply.headers, reply.type))

    async def stream(self, frames: Iterator[Frame], usage: Usage) -> web.StreamResponse:
        """Frame after frame, each counted when written; paced by the clock: lateness does not add up."""
        headers = self.dialect.headers(self.served.number) | {"Cache-Control": "no-cache"}
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(self.request)
        self.served.status = 200
        clock = asyncio.get_running_loop().time
        begun, pieces = clock(), 0
        for frame in frames:
            if self.fault.ending and frame.shown and pieces == self.fault.after:
                return await self._end(response, frame)
            piece = frame.shown and frame.said + frame.thought > 0
            if self.fault.interval and piece:
                await asyncio.sleep(max(0.0, begun + self.fault.interval * pieces - clock()))
            await response.write(frame.data)
            self._count(frame, usage)
            pieces += piece
        await response.write_eof()
        self.served.complete = True
        return response

    def _count(self, frame: Frame, usage: Usage) -> None:
        self.served.count_input(usage)
        self.served.output += frame.said
        self.served.reasoning += frame.thought

    async def _end(self, response: web.StreamResponse, frame: Frame) -> web.StreamResponse:
        """Ends a stream as its fault wants it, in place of that frame."""
        match self.fault.ending:
            case "garble":
                await response.write(frame.data[: len(frame.data) // 2] + b"\n\n")
            case "error":
                await response.write(self.dialect.broken(BROKEN))
            case "stall" | "cut" | "drop":
                await self.leave()
        self.served.broken_off = True
        await response.write_eof()
        return response

    async def leave(self) -> NoReturn:
        """Says no more: for ever, or by closing the connection, which makes aiohttp cancel this call."""
        transport = self.request.transport
        if transport is not None and self.fault.ending != "stall":
            self.served.broken_off = True
            if self.fault.ending in ("cut", "reset"):
                connection = transport.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                transport.abort()
            else:
                transport.close()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets that event")
