"""A real Prometheus scrapes a stack that works; every query of every dashboard answers with data."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from gateway.stack import SERVICES, Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload
from tests.watching.tools import ROOT, prometheus

VARIABLES = {"$__rate_interval": "30s", "$__range": "5m"}
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
QUERIES = [
    (f"{board.stem}: {panel['title']}", target["expr"])
    for board in BOARDS
    for panel in json.loads(board.read_text())["panels"]
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The query API of a Prometheus that has seen a job train and an AI call answered."""
    folder = tmp_path_factory.mktemp("watching")
    with serving_in_thread(Fake()) as address:
        overrides = {"OPENAI_BASE_URL": f"{address}/openai/v1", "OPENAI_API_KEY": KEY}
        with (
            Stack(folder / "data", overrides) as stack,
            httpx.Client(base_url=stack.url, timeout=60) as rest,
            scraping(folder, stack) as client,
        ):
            load(rest)
            yield client


def load(rest: httpx.Client) -> None:
    """A little of everything that has a metric."""
    upload(rest, "flowers", flowers())
    assert train(rest, dataset_id="flowers", target="kind", logistic={})["state"] == "SUCCEEDED"
    for _ in range(3):
        body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "say 4"}]}
        assert rest.post("/v1/ai/chat/completions", json=body).status_code == 200
    assert rest.get("/v1/jobs/none").status_code == 404


@contextmanager
def scraping(folder: Path, stack: Stack) -> Iterator[httpx.Client]:
    """The committed configuration, with the stack's ports and no patience."""
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ROOT / "deploy" / "prometheus" / "rules.yaml")]
    for target, name in zip(config["scrape_configs"][0]["static_configs"], SERVICES, strict=True):
        assert target["labels"]["service"] == name
        target["targets"] = [f"127.0.0.1:{stack.metrics_port(name)}"]
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [prometheus("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as it,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        try:
            until(lambda: _ready(client), 30)
            # Before the load: what a counter had grown by then nobody would see.
            until(lambda: len(result(client, 'up{job="ml-training-api"} == 1')) == len(SERVICES), 30)
            yield client
        finally:
            it.terminate()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def result(client: httpx.Client, query: str) -> list[object]:
    """Series that the query has now."""
    answer = client.get("/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_it_has_data(asked: httpx.Client, where: str, query: str) -> None:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    until(lambda: result(asked, query), 30)


def test_no_alert_fires_on_a_stack_that_is_well(asked: httpx.Client) -> None:
    rules = asked.get("/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}
    assert result(asked, 'ALERTS{alertstate="firing",alertname!~"Disk.*"}') == []
