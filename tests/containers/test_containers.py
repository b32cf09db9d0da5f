"""Containers as an operator runs them: read-only, without rights, with keys."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlapi_client import key_file
from sklearn.datasets import load_iris

from tests.containers.conftest import PLANTED, SERVICES
from tests.containers.podman import Podman

USER = 65532
# Of the product's secrets, one that is given to a container and would be noticed anywhere.
VENDOR_KEY = "sk-vendor-3b1f0a77c2"
PORTS = (
    "PORT",
    "ADMIN_PORT",
    "TRAINING_GRPC_PORT",
    "TRAINING_METRICS_PORT",
    "AI_GATEWAY_GRPC_PORT",
    "AI_GATEWAY_METRICS_PORT",
    "HEALTH_GRPC_PORT",
    "HEALTH_METRICS_PORT",
)


@dataclass
class Product:
    """Running containers, by service. key: of an admin."""

    podman: Podman
    names: dict[str, str]
    url: str
    key: str

    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str]:
    """A folder for containers to read, and the key whose hash is in it."""
    folder = tmp_path / "keys"
    folder.mkdir()
    _, key = key_file.create(folder / "keys.json", "team-a", ["admin"])
    (folder / "keys.json").chmod(0o644)
    (folder / "openai").write_text(VENDOR_KEY)
    for closed in (tmp_path, *tmp_path.parents[:2]):  # pytest's folders are its user's alone
        closed.chmod(0o755)
    return folder, key


@pytest.fixture
def product(podman: Podman, images: dict[str, str], keys: tuple[Path, str]) -> Iterator[Product]:
    """Each service in a container of its own."""
    folder, key = keys
    ports = _free_ports()
    addresses = {
        f"{name.upper()}_ADDRESS": f"127.0.0.1:{ports[f'{name.upper()}_GRPC_PORT']}" for name in SERVICES[:3]
    }
    vendor = {"OPENAI_API_KEY_FILE": "/etc/mlapi/keys/openai"}
    common = _flags(folder, {**ports, **addresses, "HOST": "127.0.0.1", "ACCESS_LOG": "/dev/stdout"})
    names = {service: f"mlapi-{service}-{ports['PORT']}" for service in SERVICES[:4]}
    # Health looks at training's disk and database.
    volumes = {service: f"{names['training' if service == 'health' else service]}" for service in names}
    with ExitStack() as after:
        after.callback(_remove, podman, list(names.values()))
        for service, name in names.items():
            own = _environment(vendor) if service == "ai_gateway" else []
            began = time.monotonic()
            podman.start(name, images[service], *common, *own, f"--volume={volumes[service]}:/data")
            if service != "edge":
                podman.wait_until_healthy(name)
                print(f"\n{service}: well after {time.monotonic() - began:.1f} s", end="")
        podman.wait_until_healthy(names["edge"])
        print(f"\nedge: well after {time.monotonic() - began:.1f} s", end="")
        yield Product(podman, names, f"http://127.0.0.1:{ports['PORT']}", key)


def test_a_model_is_trained_and_everything_ends_when_told(product: Product) -> None:
    with product.client() as client:
        assert httpx.get(f"{product.url}/v1/jobs").status_code == 401
        job = _train(client, {"mlp": {"max_epochs": 20}})
        assert job["state"] == "SUCCEEDED", job
        assert float(job["test_metrics"]["accuracy"]) > 0.8
        row = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
        answer = client.post(f"/v1/models/{job['model_id']}:predict", json={"rows": [row]})
        assert answer.json()["predictions"][0]["value"] == "setosa"
    for service in reversed(product.names):
        assert _restrained(product, service)
    _holds_no_secret(product)
    # The edge first, as an orchestrator would.
    assert {
        service: product.podman.stop(name) for service, name in reversed(product.names.items())
    } == dict.fromkeys(product.names, 0)
    for service in ("training", "ai_gateway", "health"):
        assert '"stopped"' in product.podman.logs(product.names[service])


def test_all_in_one(podman: Podman, images: dict[str, str], keys: tuple[Path, str]) -> None:
    folder, key = keys
    ports = _free_ports()
    name = f"mlapi-stack-{ports['PORT']}"
    began = time.monotonic()
    podman.start(
        name, images["stack"], *_flags(folder, {**ports, "HOST": "127.0.0.1"}), f"--volume={name}:/data"
    )
    podman.wait_until_healthy(name)
    print(f"\nstack: well after {time.monotonic() - began:.1f} s", end="")
    url = f"http://127.0.0.1:{ports['PORT']}"
    with httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=120) as client:
        job = _train(client, {"logistic": {}})
        assert job["state"] == "SUCCEEDED", job
    assert podman.stop(name) == 0
    _remove(podman, [name])


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_no_secret_and_no_root(podman: Podman, images: dict[str, str], service: str) -> None:
    image = images[service]
    about = podman.inspect(image)
    config = about["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert about["Healthcheck"]["Test"] == ["CMD", "python", "-m", "services.chassis.probe"]
    told = podman("history", "--no-trunc", "--format=json", image) + str(about)
    assert PLANTED not in told
    root = podman("image", "mount", image)
    try:
        found = subprocess.run(["grep", "-rlF", PLANTED, root], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout) == (1, "")
        writable = subprocess.run(
            ["find", f"{root}/opt", "-perm", "/022", "-not", "-type", "l"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert writable.stdout == ""
    finally:
        podman("image", "unmount", image)


def test_without_keys_it_refuses_to_start(podman: Podman, images: dict[str, str]) -> None:
    done = podman.run("run", "--rm", images["stack"])
    assert done.returncode == 2
    assert "API_KEYS_FILE: Value error, No such file or directory" in done.stderr


def _train(client: httpx.Client, algorithm: dict[str, Any]) -> dict[str, Any]:
    iris = load_iris()
    rows = [
        ",".join([*map(str, row), str(iris.target_names[kind])])
        for row, kind in zip(iris.data, iris.target, strict=True)
    ]
    table = "\n".join(["sepal_length,sepal_width,petal_length,petal_width,kind", *rows])
    client.post("/v1/datasets/iris:upload", content=table).raise_for_status()
    made = client.post("/v1/jobs", json={"dataset_id": "iris", "target": "kind", **algorithm})
    job: dict[str, Any] = made.raise_for_status().json()
    deadline = time.monotonic() + 240  # the first use of a network compiles its kernels
    while job["state"] in ("QUEUED", "RUNNING") and time.monotonic() < deadline:
        time.sleep(0.2)
        job = client.get(f"/v1/jobs/{job['job_id']}").raise_for_status().json()
    return job


def _restrained(product: Product, service: str) -> bool:
    """Whether its first process has no right that it does not need, by what the kernel says."""
    pid = product.podman.inspect(product.names[service])["State"]["Pid"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Uid"].split() == [str(USER)] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    options = [line.split()[3].split(",") for line in Path(f"/proc/{pid}/mounts").read_text().splitlines()]
    assert "ro" in options[0]
    return True


def _holds_no_secret(product: Product) -> None:
    """Neither key is in what a process list, a log or `inspect` shows."""
    lists = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    for name in product.names.values():
        shown = product.podman.logs(name) + str(product.podman.inspect(name))
        for secret in (VENDOR_KEY, product.key):
            assert secret not in shown
    for secret in (VENDOR_KEY, product.key):
        assert not [line for line in lists if secret.encode() in line]


def _flags(keys: Path, environment: dict[str, str]) -> list[str]:
    return [f"--volume={keys}:/etc/mlapi/keys:ro", *_environment(environment)]


def _environment(values: dict[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in values.items()]


def _free_ports() -> dict[str, str]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in PORTS]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {name: str(one.getsockname()[1]) for name, one in zip(PORTS, sockets, strict=True)}


def _remove(podman: Podman, names: list[str]) -> None:
    for name in names:
        podman("rm", "--force", "--time=2", name, check=False)
        podman("volume", "rm", "--force", name, check=False)
