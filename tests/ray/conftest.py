from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ray.cluster import Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and no machine; who needs one adds it. Nothing that waits in it comes to another module's."""
    running = Cluster()
    yield running
    running.end()
