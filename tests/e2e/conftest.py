"""One real stack for every test of this folder: three services and Envoy, on free ports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from gateway.stack import Stack
from tests.e2e.keyed import job, key, keyed  # noqa: F401 (fixtures of several files)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running product. REQUEST_TIMEOUT is short, so that tests of deadlines are."""
    folder: Path = tmp_path_factory.mktemp("stack")
    slots = str(max(2, os.cpu_count() or 1))  # a test needs two
    with Stack(folder, {"REQUEST_TIMEOUT": "20", "TRAINING_SLOTS": slots}) as running:
        yield running


@pytest.fixture(scope="session")
def rest(stack: Stack) -> Iterator[httpx.Client]:
    """A REST caller."""
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    """A native gRPC caller, on the same port."""
    with grpc.insecure_channel(stack.address) as opened:
        yield opened
