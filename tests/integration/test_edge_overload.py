"""Two training services behind a real Envoy, one of which has no memory left: the other has the work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from gateway.stack import free_ports
from tests.contract.waiting import until
from tests.faults.service import Service, services


@contextmanager
def edge_before(addresses: str, folder: Path) -> Iterator[httpx.Client]:
    """A REST caller of an edge that answers."""
    ports = {name: free_ports()[name] for name in ("PORT", "ADMIN_PORT")}
    places = {"DATA_DIR": str(folder), "ACCESS_LOG": str(folder / "access.log")}
    environment = {**os.environ, **ports, **places, "TRAINING_ADDRESS": addresses}
    process = subprocess.Popen([sys.executable, "-m", "gateway.edge"], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{ports['PORT']}", timeout=20) as rest:
            until(lambda: answers(rest), 30)
            yield rest
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(rest: httpx.Client) -> bool:
    try:
        return rest.get("/v1/jobs").status_code == 200
    except httpx.TransportError:
        return False


def reason(rest: httpx.Client) -> str:
    """Why a creation is refused."""
    return str(rest.post("/v1/datasets", json={"dataset_id": "last"}).json()["details"][0]["reason"])


def told(service: Service, what: str) -> str:
    """What a service says of itself as it begins to serve."""
    found = re.search(rf'"{what}": (\d+)', service.log.read_text())
    assert found
    return found[1]


def test_what_one_has_no_memory_for_goes_to_the_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (
        services(["well"], data) as (well,),
        services(["full"], data, MEMORY_HIGH_PERCENT="0.001") as (full,),
    ):
        addresses = ",".join(f"127.0.0.1:{told(one, 'grpc_port')}" for one in (full, well))
        with edge_before(addresses, tmp_path) as rest:
            codes = [rest.post("/v1/datasets", json={"dataset_id": f"d{n}"}).status_code for n in range(12)]
            assert set(codes) == {200}
            pages = httpx.get(f"http://127.0.0.1:{told(full, 'metrics_port')}/metrics").text
            assert "ml_api_calls_shed_total{" in pages  # it was asked, too
            well.end()
            until(lambda: reason(rest) == "OVERLOADED")  # at first the edge still knows of the other
