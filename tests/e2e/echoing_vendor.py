"""A vendor that repeats the key it was sent, in every way that an error can."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The caller names one in the text it asks with: `echo-refused`.
MODES = ("refused", "part", "bad", "limited", "broken", "page", "reason", "stream", "moved", "cut", "garbled")
_MODE = re.compile(rb"echo-([a-z]+)")
_STATUS = {"refused": 401, "part": 401, "bad": 400, "limited": 429, "broken": 500, "reason": 403}


class EchoingVendor(ThreadingHTTPServer):
    """asked: (key, mode) of every call."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: set[tuple[str, str]] = set()


class _Handler(BaseHTTPRequestHandler):
    server: EchoingVendor

    def do_GET(self) -> None:
        """Of models, for the stack to be healthy."""
        body = json.dumps({"data": [], "for": self._key()}).encode()
        self.send_response(200)
        self._headers("application/json", len(body))
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        found, key = _MODE.search(body), self._key()
        mode = found[1].decode() if found else "refused"
        self.server.asked.add((key, mode))
        if mode == "part":
            key = f"{key[:16]}****{key[-4:]}"
        if mode in _STATUS:
            self._refuse(_STATUS[mode], f"Incorrect API key provided: {key}. Authorization: Bearer {key}")
        else:
            getattr(self, f"_{mode}")(key)

    def _key(self) -> str:
        bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
        return bearer or self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or ""

    def _refuse(self, status: int, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": message, "status": "X"}
        body = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(status, message[:60])  # the reason phrase has it too
        self._headers("application/json", len(body))
        self.wfile.write(body)

    def _page(self, key: str) -> None:
        body = f"<html><body>502 for {key}</body></html>".encode()
        self.send_response(502)
        self._headers("text/html", len(body))
        self.wfile.write(body)

    def _stream(self, key: str) -> None:
        event = {"type": "error", "error": {"type": "overloaded_error", "message": f"gone: {key}", "code": 1}}
        body = f"event: error\ndata: {json.dumps(event)}\n\n".encode()
        self.send_response(200)
        self._headers("text/event-stream", len(body))
        self.wfile.write(body)

    def _moved(self, key: str) -> None:
        self.send_response(307)
        self.send_header("location", f"http://127.0.0.1:9/?key={key}")
        self._headers("text/plain", 0)

    def _cut(self, key: str) -> None:
        self.send_response(200)
        self._headers("application/json", 1000)
        self.wfile.write(f'{{"id": "{key}'.encode())
        self.close_connection = True

    def _garbled(self, key: str) -> None:
        body = f'{{"id": {key}'.encode()
        self.send_response(200)
        self._headers("application/json", len(body))
        self.wfile.write(body)

    def _headers(self, kind: str, length: int) -> None:
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        self.send_header("x-request-id", f"req-{self._key()}")
        self.send_header("retry-after", self._key())
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echoing() -> Iterator[tuple[EchoingVendor, str]]:
    """The vendor and its address."""
    server = EchoingVendor()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
