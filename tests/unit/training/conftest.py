from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.store_sql import SqlStore
from tests.unit.training.samples import sqlite_store
from tests.unit.training.stand_ins import HandClock, Outage, Processes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with sqlite_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def outage(store: SqlStore) -> Outage:
    return Outage(store)


@pytest.fixture
def artifacts(tmp_path: Path) -> DiskArtifacts:
    return DiskArtifacts(tmp_path)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def processes() -> Processes:
    return Processes()
