"""What was measured is printed at the end."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.postgres import Postgres

_LINES: list[str] = []


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind that there is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'training.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.empty()
    yield url
    server.drop(url)


@pytest.fixture
def chance() -> random.Random:
    """Random numbers, those of FAULTS_SEED where it is set. A test that fails shows the seed."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"FAULTS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def say() -> list[str]:
    """Lines for the summary."""
    return _LINES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured."""
    if _LINES:
        terminalreporter.section("faults")
        terminalreporter.write("\n".join([*_LINES, ""]))
