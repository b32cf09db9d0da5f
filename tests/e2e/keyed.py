"""A stack that asks for keys, and two fake vendors behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from mlapi_client import key_file

from gateway.stack import Stack
from services.ai_gateway.fakes.app import KEY, Fake
from services.ai_gateway.fakes.serving import serving_in_thread
from tests.e2e.journeys import flowers, upload

EVERYTHING = ("training:read", "training:write", "ai:call", "ai:budgets")


@dataclass
class Keyed:
    """A stack that asks for keys. shown: every key that was made."""

    stack: Stack
    file: Path
    shown: list[str] = field(default_factory=list)

    def key(self, *scopes: str, tenant: str = "team-a", requests: str = "") -> str:
        """A new key, which the services know already."""
        made = key_file.create(self.file, tenant, scopes, requests=requests)[1]
        self.shown.append(made)
        self.wait(made, 200)
        return made

    def wait(self, key: str, status: int) -> None:
        """Returns when a key is answered with `status` everywhere; a key of any scope is known."""
        deadline = time.monotonic() + 10
        while {self._known(key, route) for route in ("/v1/jobs", "/v1/ai/models")} != {status == 200}:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _known(self, key: str, route: str) -> bool:
        with self.rest(key) as rest:
            return rest.get(route).status_code != 401

    def rest(self, key: str = "", **headers: str) -> httpx.Client:
        """A REST caller."""
        shown = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.stack.url, timeout=30, headers={**shown, **headers})


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    file, own = folder / "keys.json", folder / "health.key"
    health_key = key_file.create(file, "health", ["ai:call"])[1]
    own.write_text(health_key + "\n")
    with serving_in_thread(Fake()) as address:
        settings = {
            "AUTH_MODE": "keys",
            "API_KEYS_FILE": str(file),
            "AI_TRAINING_API_KEY": key_file.create(file, "gateway", ["training:delegate"])[1],
            "HEALTH_API_KEY_FILE": str(own),
            "LOG_LEVEL": "DEBUG",
            "RATE_LIMIT_ENABLED": "true",
            **dict.fromkeys(("TRAINING_REQUESTS", "AI_REQUESTS", "AI_ENHANCE_REQUESTS"), "100000/day"),
            "OPENAI_BASE_URL": f"{address}/openai/v1",
            "ANTHROPIC_BASE_URL": f"{address}/anthropic",
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": KEY,
        }
        with Stack(folder / "data", settings) as stack:
            yield Keyed(stack, file, [health_key])


@pytest.fixture(scope="module")
def key(keyed: Keyed) -> str:
    """A key of team-a for everything but other tenants."""
    return keyed.key(*EVERYTHING)


@pytest.fixture(scope="module")
def job(keyed: Keyed, key: str) -> str:
    """A job of team-a."""
    with keyed.rest(key) as rest:
        upload(rest, "flowers", flowers())
        made = rest.post("/v1/jobs", json={"dataset_id": "flowers", "target": "kind", "logistic": {}})
        assert made.status_code == 200, made.text
        return str(made.json()["job_id"])
