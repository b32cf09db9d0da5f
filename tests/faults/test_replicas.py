"""Three processes of each service, with PostgreSQL and Redis: killed, and restarted by turns."""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.stack import SERVICES, Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.contract.postgres import Postgres
from tests.contract.redis_server import binary, redis_server
from tests.contract.waiting import until
from tests.e2e.journeys import flowers, train, upload
from tests.faults.extent import LONG

ROUNDS = 5 if LONG else 1
JOBS = 12
LIMIT = 400
CHEAP = "openai/gpt-5-mini"
SAID = [{"role": "user", "content": "say 2"}]


@pytest.fixture
def stack(postgres: Postgres, tmp_path: Path) -> Iterator[Stack]:
    program = binary()
    if program is None:
        pytest.skip("this machine has no Redis")
    database = postgres.empty()
    with redis_server(program) as redis, serving_in_thread(Fake()) as address:
        settings = {
            "MAX_WORKERS": "3",
            "DATABASE_URL": database,
            "REDIS_URL": redis,
            "RATE_LIMIT_ENABLED": "true",
            "AI_REQUESTS": f"{LIMIT}/hour",
            "TRAINING_REQUESTS": f"{LIMIT}/hour",
            "TRAINING_PREDICTIONS": "100000/hour",
            "OPENAI_BASE_URL": f"{address}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "TRAINING_LEASE_SECONDS": "3",
            "READY_TIMEOUT": "90",
        }
        with Stack(tmp_path, settings) as running:
            yield running
    postgres.drop(database)


@dataclass
class Load:
    """Callers who ask once: nobody but the edge may ask again for them."""

    url: str
    calls: dict[str, Callable[[httpx.Client, str], httpx.Response]]
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """One thread for each kind of call."""
        ended = Event()
        threads = [Thread(target=self._ask, args=(kind, ended)) for kind in self.calls]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _ask(self, kind: str, ended: Event) -> None:
        numbers = itertools.count()
        with httpx.Client(base_url=self.url, timeout=60) as rest:
            while not ended.wait(0.05):
                try:
                    answer = self.calls[kind](rest, f"{kind}-{next(numbers)}-{time.monotonic_ns()}")
                except httpx.HTTPError as error:
                    self.failures.append(f"{kind}: {error!r}")
                    continue
                self.answers[kind] += 1
                if answer.status_code != 200:
                    self.failures.append(f"{kind}: {answer.status_code} {answer.text}")


def load(stack: Stack, job: dict[str, Any]) -> Load:
    """Reads, predictions, and changes and AI calls that have an idempotency key."""
    rows = {"rows": [{"length": 0.5, "width": 0.5, "color": "red"}]}
    chat = {"model": CHEAP, "messages": SAID}
    return Load(
        stack.url,
        {
            "read": lambda rest, _: rest.get(f"/v1/jobs/{job['job_id']}"),
            "list": lambda rest, _: rest.get("/v1/models"),
            "predict": lambda rest, _: rest.post(f"/v1/models/{job['model_id']}:predict", json=rows),
            "create": lambda rest, once: rest.post("/v1/datasets", json={}, headers=by_turns(once)),
            "chat": lambda rest, once: rest.post(
                "/v1/ai/chat/completions", json=chat, headers=by_turns(once)
            ),
            "usage": lambda rest, _: rest.get("/v1/ai/usage"),
        },
    )


def by_turns(once: str) -> dict[str, str]:
    """Of several tenants, so that none comes to its limit."""
    return {"idempotency-key": once, "x-tenant": f"load-{int(time.monotonic()) % 7}"}


def serving(stack: Stack, name: str) -> bool:
    """Whether a process says so itself."""
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port(name)}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def restart(stack: Stack, name: str, how: signal.Signals) -> None:
    stack.kill(name, how)
    stack.start_service(name)
    until(lambda: serving(stack, name), 60)


def test_nobody_notices_that_processes_die_or_are_restarted(stack: Stack, say: list[str]) -> None:
    with httpx.Client(base_url=stack.url, timeout=60) as rest:
        upload(rest, "flowers", flowers())
        job = train(rest, dataset_id="flowers", target="kind", logistic={})
        running = load(stack, job)
        began = time.monotonic()
        with running.going_on():
            made = [
                rest.post(
                    "/v1/jobs",
                    json={"dataset_id": "flowers", "target": "kind", "seed": number, "logistic": {}},
                    headers={"idempotency-key": f"job-{number}"},
                ).json()["job_id"]
                for number in range(JOBS)
            ]
            for number in range(ROUNDS):
                for service in SERVICES:
                    restart(stack, stack.workers(service)[number % 3], signal.SIGKILL)
            killed = dict(running.answers)
            for service in SERVICES:
                for name in stack.workers(service):
                    restart(stack, name, signal.SIGTERM)
            until(
                lambda: all(rest.get(f"/v1/jobs/{one}").json()["state"] == "SUCCEEDED" for one in made), 120
            )
        say.append(
            f"replicas: {sum(running.answers.values())} calls in {time.monotonic() - began:.0f} s, "
            f"{sum(killed.values())} of them while processes were killed; {len(running.failures)} failed; "
            f"{len(set(made))} jobs, none lost"
        )
        assert running.failures == []
        assert min(running.answers.values()) > 10
        assert len(set(made)) == JOBS
        assert all(rest.get(f"/v1/jobs/{one}").json()["model_id"] for one in made)
        exactly_the_limit(stack, "/v1/ai/chat/completions", {"model": CHEAP, "messages": SAID}, 200)
        exactly_the_limit(stack, "/v1/jobs/none:resume", {}, 404)


def exactly_the_limit(stack: Stack, path: str, body: dict[str, Any], answer: int) -> None:
    """However many callers and processes there are. answer: to a call that is let through."""

    def ask(_: int) -> int:
        return rest.post(path, json=body, headers={"x-tenant": "eager"}).status_code

    limits = httpx.Limits(max_connections=16)
    with httpx.Client(base_url=stack.url, timeout=60, limits=limits) as rest, ThreadPoolExecutor(16) as pool:
        assert Counter(pool.map(ask, range(LIMIT + 50))) == {answer: LIMIT, 429: 50}
