"""The table of what still works when something is away is what a real stack does, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.contract.artifact_places import environment, fresh_bucket, s3_server
from tests.contract.postgres import Postgres
from tests.contract.redis_server import binary, redis_server
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload
from tests.operations import guide

ROW = {"rows": [{"length": 0.9, "width": 0.7, "color": "red"}]}
TARGETS = '{"fast": ["anthropic/claude-haiku-4-5", "openai/gpt-5-mini"]}'
# Trains until the test is over.
ENDLESS = {"architecture": "PLAIN", "hidden_sizes": [16], "ensemble_size": 1, "max_epochs": 100_000}
ENDLESS |= {"early_stopping_patience": 100_000, "batch_size": 2}


@dataclass
class World:
    """A stack with all that it may stand on; anthropic is away from the beginning."""

    stack: Stack
    rest: httpx.Client
    postgres: Postgres
    redis_ends: ExitStack
    storage_ends: ExitStack
    models: list[str] = field(default_factory=list)
    job_id: str = ""
    asked: int = 0

    def asks(self, model: str = "openai/gpt-5-mini") -> int:
        """Status of an AI call that no cache can answer."""
        self.asked += 1
        said = [{"role": "user", "content": f"say {self.asked}"}]
        return self.rest.post("/v1/ai/chat/completions", json={"model": model, "messages": said}).status_code

    def predicts(self, which: int = 0) -> int:
        """Status of a prediction. The model 0 is in memory."""
        return self.rest.post(f"/v1/models/{self.models[which]}:predict", json=ROW).status_code

    def uploads(self) -> int:
        """Status of an upload."""
        headers = {"content-type": "text/csv"}
        return self.rest.post("/v1/datasets/more:upload", content=flowers(20), headers=headers).status_code

    def gets(self, path: str) -> int:
        """Status."""
        return self.rest.get(path).status_code

    def says(self, status: str, ready: int) -> bool:
        """Whether /health and /readyz answer so; they may be a second old."""
        report = self.rest.get("/health")
        well = report.status_code == (200 if status == "healthy" else 503)
        return well and report.json()["status"] == status and self.gets("/readyz") == ready


@pytest.fixture(scope="module")
def world(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    program = binary()
    if program is None:
        pytest.skip("this machine has no Redis")
    folder, database = tmp_path_factory.mktemp("degraded"), postgres.empty()
    with ExitStack() as running:
        redis, storage = (running.enter_context(ExitStack()) for _ in range(2))
        vendor = running.enter_context(serving_in_thread(Fake()))
        settings = {
            "DATABASE_URL": database,
            "REDIS_URL": redis.enter_context(redis_server(program)),
            "RATE_LIMIT_ENABLED": "true",
            "AI_REQUESTS": "1000/hour",
            "AI_ROUTES": TARGETS,
            "OPENAI_BASE_URL": f"{vendor}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
            "ANTHROPIC_API_KEY": KEY,
            **_bucket(storage, folder),
        }
        stack = running.enter_context(Stack(folder / "data", settings))
        rest = running.enter_context(httpx.Client(base_url=stack.url, timeout=60))
        found = World(stack, rest, postgres, redis, storage)
        upload(rest, "flowers", flowers())
        for seed in (1, 2):
            job = train(rest, dataset_id="flowers", target="kind", seed=seed, logistic={})
            found.models.append(job["model_id"])
        asked = {"dataset_id": "flowers", "target": "kind", "mlp": ENDLESS}
        found.job_id = rest.post("/v1/jobs", json=asked).json()["job_id"]
        until(lambda: int(rest.get(f"/v1/jobs/{found.job_id}").json()["step"]) > 0, 60)
        assert found.predicts() == 200
        yield found


def _bucket(ends: ExitStack, folder: Path) -> dict[str, str]:
    """In S3 where there is a server of it, which can be taken away; else in a folder."""
    if find_spec("moto") is None:
        return {"ARTIFACTS_URL": f"file://{folder / 'bucket'}"}
    endpoint = ends.enter_context(s3_server())
    return {"ARTIFACTS_URL": fresh_bucket(endpoint), **environment(endpoint)}


def an_ai_vendor(world: World) -> None:
    assert world.asks("anthropic/claude-haiku-4-5") == 503
    assert world.asks("fast") == world.asks() == 200
    until(lambda: world.says("degraded", ready=200))


def object_storage(world: World) -> None:
    if find_spec("moto") is None:
        pytest.skip("moto is not installed")
    world.storage_ends.close()
    assert world.predicts() == world.gets("/v1/jobs") == world.asks() == 200
    assert world.predicts(1) == world.uploads() == 503
    asked = {"dataset_id": "flowers", "target": "kind", "logistic": {}}
    job_id = world.rest.post("/v1/jobs", json=asked).json()["job_id"]
    until(lambda: _state(world, job_id) == "FAILED", 60)


def _state(world: World, job_id: str) -> str:
    return str(world.rest.get(f"/v1/jobs/{job_id}").json()["state"])


def postgresql(world: World) -> None:
    world.postgres.stop()
    try:
        assert world.gets("/v1/jobs") == world.predicts() == world.asks() == world.gets("/v1/ai/usage") == 503
        assert world.gets("/v1/ai/models") == world.gets("/v1/ai/status") == 200
        until(lambda: world.says("unhealthy", ready=200))
    finally:
        world.postgres.start()
    until(lambda: world.gets("/v1/jobs") == 200 == world.asks())
    job = world.rest.get(f"/v1/jobs/{world.job_id}").json()
    assert (job["state"], job["attempt"]) == ("RUNNING", 1)  # it did not notice


def training(world: World) -> None:
    world.stack.kill("training")
    assert world.asks() == world.gets("/v1/ai/usage") == 200
    assert world.gets("/v1/jobs") == world.predicts() == 503
    until(lambda: world.says("unhealthy", ready=503))
    world.stack.start_service("training")
    until(lambda: world.gets("/v1/jobs") == 200, 60)
    assert world.rest.get(f"/v1/jobs/{world.job_id}").json()["attempt"] == 1  # nor this


def redis(world: World) -> None:
    world.redis_ends.close()
    assert world.asks() == 503
    assert world.gets("/v1/ai/usage") == world.gets("/v1/ai/models") == world.gets("/v1/jobs") == 200


def the_ai_gateway(world: World) -> None:
    world.stack.kill("ai_gateway")
    assert world.gets("/v1/jobs") == 200
    assert world.asks() == world.gets("/v1/ai/usage") == 503
    until(lambda: world.says("degraded", ready=503))


def the_health_service(world: World) -> None:
    world.stack.kill("health")
    assert world.gets("/v1/jobs") == 200
    assert world.gets("/livez") == world.gets("/readyz") == world.gets("/health") == 503


# In this order: what is away for good leaves the later ones what they need.
CASES: dict[str, Callable[[World], None]] = {
    "an AI vendor": an_ai_vendor,
    "object storage": object_storage,
    "PostgreSQL": postgresql,
    "`training`": training,
    "Redis": redis,
    "`ai_gateway`": the_ai_gateway,
    "`health`": the_health_service,
}


@pytest.mark.parametrize("away", CASES)
def test_what_works_meanwhile(world: World, away: str) -> None:
    CASES[away](world)


def test_the_table_has_these_rows() -> None:
    assert {row[0] for row in guide.rows("What still works when something is away")} == set(CASES)
