"""Images of the services, built once, from a folder that also has what may be in none of them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.podman import Podman, missing

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("training", "ai_gateway", "health", "edge", "stack")
PLANTED = "planted-secret-5f0c1d"
# Where people keep what is nobody's business.
HIDING_PLACES = (
    "keys/keys.json",
    "secrets/postgres_password",
    ".env",
    ".data/training.db",
    "services/.env",
    "id_rsa",
)


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    if lacking := missing():
        pytest.skip(f"containers cannot be built here: {lacking}")
    with Podman(tmp_path_factory.mktemp("podman")) as running:
        yield running


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as a developer's may be."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in HIDING_PLACES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PLANTED)
    return folder


@pytest.fixture(scope="session")
def images(podman: Podman, context: Path) -> dict[str, str]:
    """Service → image. What they weigh and took is printed: `pytest -s`."""
    podman.base()
    found = {}
    for service in SERVICES:
        began = time.monotonic()
        found[service] = podman.build(context, service)
        size = int(podman.inspect(found[service])["Size"]) / 1e6
        print(f"\n{service}: {size:.0f} MB, built in {time.monotonic() - began:.0f} s", end="")
    return found
