from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.postgres import Postgres


# A suite that several modules run; its assertions are to be as telling as theirs.
pytest.register_assert_rewrite("tests.contract.executors")


# How much memory the machine has left is no part of what a test says; those of memory say it themselves.
os.environ.setdefault("MEMORY_HIGH_PERCENT", "0")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one PostgreSQL server of the session. Who stops it starts it again."""
    from tests.contract.postgres import postgres_server  # noqa: PLC0415 (most folders do without)

    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The one S3 server of the session; skips where there is none."""
    from tests.contract.artifact_places import s3_server  # noqa: PLC0415 (likewise)

    with s3_server() as endpoint:
        yield endpoint
