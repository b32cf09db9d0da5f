"""compose.yaml starts, plain and with the profile `scale`, and a job is trained through its edge."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import httpx
import pytest
from mlapi_client import key_file

from tests.containers import compose
from tests.containers.podman import Podman
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload

PASSWORD = "not-guessed"
SCALE = {
    "COMPOSE_PROFILES": "scale",
    "DATABASE_URL": f"postgresql://mlapi:{PASSWORD}@postgres/mlapi",
    "REDIS_URL": "redis://redis:6379/0",
}


@pytest.fixture(scope="module")
def names(podman: Podman, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Images under the names of compose.yaml."""
    if missing := compose.lacking():
        pytest.skip(f"compose cannot be run here: {missing}")
    stand_in = compose.stand_in(podman, tmp_path_factory.mktemp("stand_in") / "context")
    compose.tag(podman, images, stand_in)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout, as far as compose is concerned, with keys and secrets."""
    shutil.copy(compose.ROOT / "compose.yaml", tmp_path)
    for name in ("keys", "secrets"):
        (tmp_path / name).mkdir()
    for name in ("postgres_password", "objects_user", "objects_password"):
        (tmp_path / "secrets" / name).write_text(PASSWORD)
    for closed in (tmp_path, *tmp_path.parents[:2]):  # pytest's folders are its user's alone
        closed.chmod(0o755)
    return tmp_path


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("profile", ["plain", "scale"])
def test_a_job_is_trained_through_the_edge(podman: Podman, folder: Path, profile: str) -> None:
    key = key_file.create(folder / "keys" / "keys.json", "team-a", ["admin"])[1]
    (folder / "keys" / "keys.json").chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"PUBLISH": f"127.0.0.1:{port}", **(SCALE if profile == "scale" else {})}
    project = f"mlapi{profile}{port}"
    with (
        compose.Compose(podman, folder, project, variables),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": key}, timeout=60) as rest,
    ):
        until(lambda: _ready(rest), 180)
        upload(rest, "flowers", flowers())
        assert train(rest, dataset_id="flowers", target="kind", logistic={})["state"] == "SUCCEEDED"
        parts = rest.get("/health").json()["services"]
        assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(parts, "healthy")
        assert ("PostgreSQL" in parts["database"]["message"]) == (profile == "scale")
        backup = ["exec", f"{project}_training_1", "mlapi", "backup"]
        if profile == "plain":
            made = podman(*backup, "create", "/data/backup", "--json")
            assert json.loads(podman(*backup, "verify", "/data/backup", "--json")) == json.loads(made)


def _ready(rest: httpx.Client) -> bool:
    try:
        return rest.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
