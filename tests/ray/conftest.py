from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ray.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One for all tests, with a head and no machine; who needs one adds it, and takes it away."""
    running = Cluster()
    yield running
    running.end()
