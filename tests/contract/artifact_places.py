"""Where artifacts may be, for the suites that every `Artifacts` passes: on disk, under file://, in S3.

S3 is a moto server; where `moto[s3]`, `flask` and `flask-cors` are not installed, those cases are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.artifacts_object import ObjectArtifacts
from services.training.application.ports import Artifacts

ROOM = 1 << 30
PLACES = ("disk", "file", "s3")


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server of its own, over real HTTP."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """What an operator sets for a server that is not Amazon's."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
    }


def fresh_bucket(endpoint: str) -> str:
    """The URL of a new bucket."""
    bucket = f"b{uuid4().hex}"
    httpx.put(f"{endpoint}/{bucket}", timeout=30).raise_for_status()
    return f"s3://{bucket}/some/prefix"


def url_of(place: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """A new empty place, of which the process's environment knows all it has to."""
    if place == "file":
        return f"file://{folder}"
    endpoint: str = request.getfixturevalue("s3_endpoint")
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in environment(endpoint).items():
        patch.setitem(os.environ, name, value)
    return fresh_bucket(endpoint)


def machines(place: str, folder: Path, request: pytest.FixtureRequest) -> Callable[[str], Artifacts]:
    """The artifacts as each machine of an installation sees them, by its name. A disk is one machine's."""
    if place == "disk":
        return lambda _name: DiskArtifacts(folder)
    url = url_of(place, folder, request)
    # Beside what is kept, so that suites may look at that.
    return lambda name: ObjectArtifacts(url, folder.parent / f"{folder.name}-{name}", ROOM)
