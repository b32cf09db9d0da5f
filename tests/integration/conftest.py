from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.integration.chassis_harness import Lines


@pytest.fixture(scope="module")
def log() -> Iterator[Lines]:
    """What is logged."""
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)
