"""A stack as the guide's reader has one, and a folder in which its commands are run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlapi_client import key_file

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.operations.guide import ROOT


@dataclass(frozen=True)
class Desk:
    """Where commands are run, and with which variables."""

    folder: Path
    environment: Mapping[str, str]


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    keys, health = folder / "keys.json", folder / "health.key"
    admin = key_file.create(keys, "operators", ["admin"])[1]
    health.write_text(key_file.create(keys, "health", ["ai:call"])[1])
    (folder / "openai").write_text("sk-of-before\n")
    (folder / "new-openai").write_text(f"{KEY}\n")
    with serving_in_thread(Fake({"openai": {KEY, "sk-of-before"}})) as vendor:
        settings = {
            "AUTH_MODE": "keys",
            "API_KEYS_FILE": str(keys),
            "AI_TRAINING_API_KEY": key_file.create(keys, "gateway", ["training:delegate"])[1],
            "HEALTH_API_KEY_FILE": str(health),
            "OPENAI_BASE_URL": f"{vendor}/openai/v1",
            "OPENAI_API_KEY_FILE": str(folder / "openai"),
            "DISK_MIN_FREE_BYTES": "0",
        }
        with Stack(folder / "data", settings) as stack:
            shown = {
                "PATH": f"{_programs(folder)}:{os.environ['PATH']}",
                "PYTHONPATH": os.environ.get("PYTHONPATH") or str(ROOT),
                "HOME": str(folder),
                "MLAPI_ADDRESS": stack.address,
                "MLAPI_API_KEY": admin,
                "API_KEYS_FILE": str(keys),
                "DATA_DIR": str(folder / "data"),
            }
            yield Desk(folder, shown)


def _programs(folder: Path) -> Path:
    """`mlapi` and `python` of this checkout, whatever is installed."""
    place = folder / "bin"
    place.mkdir()
    start = f'#!/bin/sh\nexec {sys.executable} -c "from mlapi_client.cli import main; main()" "$@"\n'
    for name, text in {"mlapi": start, "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return place
