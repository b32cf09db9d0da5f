"""The chart as real helm renders it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helm import render, tools

Rendered = list[dict[str, Any]]
SCALE = {
    "database": {"existingSecret": "postgres"},
    "artifacts": {"url": "s3://bucket/prefix"},
}


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    """Fetches it, once; where that cannot be, every test is skipped and says why."""
    try:
        tools.helm()
    except tools.ToolMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def example(helm: None) -> Callable[[str], Rendered]:
    """Renders ci/NAME-values.yaml; `default` is the values as they come."""
    known: dict[str, Rendered] = {}

    def rendered(name: str) -> Rendered:
        if name not in known:
            files = [file for file in render.value_files() if file.name == f"{name}-values.yaml"]
            assert len(files) == (name != "default")
            known[name] = render.template(*files)
        return known[name]

    return rendered
