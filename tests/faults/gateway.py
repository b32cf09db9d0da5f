"""AI gateways as processes of their own, to be killed, and vendors who know what they really served."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlapi.ai_gateway.v1 import (
    chat_pb2,
    chat_service_pb2,
    chat_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)

from services.ai_gateway.domain.usage import Usage
from services.ai_gateway.fakes.app import KEY
from services.ai_gateway.prices import catalog
from tests.contract.ledgers import ledger_rows
from tests.faults.service import Service

PATHS = {"openai": "/openai/v1", "xai": "/xai/v1", "anthropic": "/anthropic", "gemini": "/gemini"}
_WORD = re.compile(r"\bcall(\d{5})of([a-z0-9]+)\b")
_PRICES = catalog.load()


class Gateway(Service):
    """One AI gateway. Any number may share a ledger."""

    module = "services.ai_gateway"

    @property
    def address(self) -> str:
        """Of the running instance; empty while there is none that serves."""
        found = re.search(r'"grpc_port": (\d+)', self.log.read_text())
        return f"127.0.0.1:{found[1]}" if found else ""

    def wait(self) -> Gateway:
        super().wait()
        return self


class Vendors:
    """The fakes in a process of their own."""

    def __init__(self, address: str) -> None:
        self._address = address

    def settings(self) -> dict[str, str]:
        """What a gateway has to know to call them."""
        urls = {f"{vendor.upper()}_BASE_URL": self._address + path for vendor, path in PATHS.items()}
        return urls | {f"{vendor.upper()}_API_KEY": KEY for vendor in PATHS}

    def fault(self, **rule: Any) -> None:
        """Adds a rule."""
        self._ask("faults", json.dumps(rule).encode())

    def script(self, **script: Any) -> None:
        """Has a vendor's models say something."""
        self._ask("scripts", json.dumps(script).encode())

    def served(self) -> list[Served]:
        """Every chat, as it was really served."""
        rows = json.loads(self._ask("served?bodies=1"))["served"]
        return [Served(row) for row in rows if row["operation"] == "chat"]

    def in_flight(self) -> int:
        """Calls that have not ended."""
        return int(json.loads(self._ask("totals"))["in_flight"])

    def _ask(self, what: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self._address}/_control/{what}", body, timeout=30) as answer:
            return bytes(answer.read())


@dataclass(frozen=True)
class Served:
    """One call as a vendor knows it. row: see the fakes' `Served`."""

    row: Mapping[str, Any]

    @property
    def call(self) -> tuple[int, str]:
        """The caller's number of it, and the tenant; both are in the prompt."""
        found = _WORD.search(self.row["body"])
        assert found, self.row
        return int(found[1]), found[2]

    @property
    def target(self) -> str:
        """As in `vendor/model`."""
        return f"{self.row['vendor']}/{self.row['model']}"

    @property
    def complete(self) -> bool:
        """Whether all of it was written."""
        return bool(self.row["complete"])

    @property
    def usage(self) -> Usage:
        """In the ledger's terms."""
        row = self.row
        apart = row["cached"] + row["cache_write"] + row["cache_write_1h"]
        return Usage(
            row["input"] - apart,
            row["cached"],
            row["cache_write"],
            row["cache_write_1h"],
            row["output"] + row["reasoning"],
            row["reasoning"],
        )

    @property
    def nano_usd(self) -> int:
        """What the vendor will charge; nothing for a call of which nothing was served."""
        price = _PRICES.find(self.row["vendor"], self.row["model"])
        assert price is not None
        return price.cost(self.usage) if self.usage.total else 0


@dataclass(frozen=True)
class Entry:
    """A line of the ledger. tokens: read and written."""

    tenant: str
    target: str
    outcome: str
    tokens: tuple[int, int]
    nano_usd: int


def ledger_entries(url: str) -> list[Entry]:
    """All of them."""
    statement = (
        "SELECT tenant, vendor, model, outcome, "
        "input + cache_read + cache_write + cache_write_1h, output, nano_usd FROM ledger_entries"
    )
    return [
        Entry(tenant, f"{vendor}/{model}", outcome, (read, written), int(cost))
        for tenant, vendor, model, outcome, read, written, cost in ledger_rows(url, statement)
    ]


@contextmanager
def vendors() -> Iterator[Vendors]:
    """Running ones."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services.ai_gateway.fakes"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it says at length who hung up on it
        text=True,
    )
    assert process.stdout
    try:
        yield Vendors(process.stdout.readline().removeprefix("listening:").strip())
    finally:
        process.kill()
        process.communicate()


@contextmanager
def gateways(names: Sequence[str], data_dir: Path, **settings: str) -> Iterator[list[Gateway]]:
    """Serving instances on one ledger; nothing of them is left at the end."""
    ports = {"AI_GATEWAY_GRPC_PORT": "0", "AI_GATEWAY_METRICS_PORT": "0"}
    made = [Gateway(name, data_dir, **ports, **settings) for name in names]
    with ExitStack() as ending:
        for gateway in made:
            ending.callback(gateway.kill)
            gateway.start()
        for gateway in made:
            gateway.wait()
        yield made


def asked(number: int, tenant: str, model: str, text: str, max_tokens: int) -> Any:
    """A chat that the vendors' records can be searched for."""
    part = chat_pb2.Part(text=f"call{number:05d}of{tenant} {text}")
    return chat_service_pb2.ChatRequest(
        model=model,
        messages=[chat_pb2.Message(role=chat_pb2.Message.USER, parts=[part])],
        max_tokens=max_tokens,
    )


def chat(channel: Any) -> Any:
    """The stub."""
    return chat_service_pb2_grpc.ChatServiceStub(channel)


def put_budget(channel: Any, tenant: str, usd: float) -> None:
    """So much a day."""
    limit = usage_service_pb2.BudgetLimit(period=usage_service_pb2.BudgetLimit.DAY, usd=usd)
    request = usage_service_pb2.PutBudgetRequest(tenant=tenant, limits=[limit])
    usage_service_pb2_grpc.UsageServiceStub(channel).PutBudget(request, timeout=30)
