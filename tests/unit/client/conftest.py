"""The fake API and a client of it that does not wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mlapi_client import Client
from mlapi_client.transport import Retry

from tests.unit.client.fake_api import FakeApi

ATTEMPTS = 3


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.hold.clear()
    fake.stop()


@pytest.fixture
def client(api: FakeApi) -> Iterator[Client]:
    with Client(api.address, timeout=5, retry=Retry(ATTEMPTS, ATTEMPTS, first_pause=0.001)) as opened:
        yield opened
