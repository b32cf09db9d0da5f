"""A vendor that costs next to nothing: `python -m bench.gateway.mock`.

OpenAI's chat API over HTTP/1.1 with keep-alive. A prompt that says `frames 100 every 50` is answered, as a
stream, by so many pieces so many milliseconds apart; each holds `@N@`, the nanosecond of the machine's
monotonic clock at which it was due. Other streams have five pieces, at once.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from typing import Any

import uvloop

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": *true')
_PACE = re.compile(rb"frames (\d+) every (\d+)")
_USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "gpt-5-mini"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word0 word1 word2 word3 word4", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    answer = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def _frame(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice], "usage": None}
    return _chunked(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _last_frames() -> bytes:
    usage = {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    said = b"data: " + json.dumps(usage).encode() + b"\n\n"
    return _frame({}, "stop") + _chunked(said) + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"


WHOLE = _whole()
BEGINNING = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + _frame({"role": "assistant", "content": ""})
)
# Nineteen digits: the length of a chunk does not depend on the time.
_PIECE = _frame({"role": "assistant", "content": " @" + "0" * 19 + "@"})
END = _last_frames()


def _piece(due: float) -> bytes:
    return _PIECE.replace(b"0" * 19, b"%019d" % round(due * 1e9))


class Vendor(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._unread = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (request := self._request()) is not None:
            self._answer(request)

    def _request(self) -> bytes | None:
        """The body of the next request, when all of it is there."""
        end = self._unread.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        found = _LENGTH.search(self._unread, 0, end)
        whole = end + (int(found[1]) if found else 0)
        if len(self._unread) < whole:
            return None
        body, self._unread = self._unread[end:whole], self._unread[whole:]
        return body

    def _answer(self, body: bytes) -> None:
        if not _STREAMED.search(body):
            self._transport.write(WHOLE)
        elif pace := _PACE.search(body):
            self._transport.write(BEGINNING)
            # uvloop's timers have whole milliseconds, so an instant between two of them is not kept.
            self._say(time.monotonic() + 0.001, int(pace[1]), int(pace[2]) / 1000)
        else:
            self._transport.write(BEGINNING + _piece(time.monotonic()) * 5 + END)

    def _say(self, due: float, left: int, interval: float) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(END)
            return
        self._transport.write(_piece(due))
        due += interval
        self._loop.call_later(max(0.0, due - time.monotonic()), self._say, due, left - 1, interval)


async def run() -> None:
    """Says where it listens, and serves until it is told to end."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    server = await loop.create_server(Vendor, "127.0.0.1", 0, backlog=2048)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await end.wait()


if __name__ == "__main__":
    uvloop.run(run())
