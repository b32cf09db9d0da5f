"""Every deadline of a call is kept, told apart, and settled: connect, first, between, whole, total."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.ledgers import ledger_rows
from tests.contract.waiting import until
from tests.faults.gateway import Gateway, Vendors, asked, chat, gateways, ledger_entries, vendors
from tests.faults.service import refusal

CONNECT, FIRST, BETWEEN, WHOLE, TOTAL = 0.4, 0.8, 0.6, 1.4, 2.0
TIMEOUT = ("DEADLINE_EXCEEDED", "PROVIDER_TIMEOUT")
AWAY = ("UNAVAILABLE", "PROVIDER_UNAVAILABLE")
LATE = ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Case:
    """seconds: when it ends at the earliest. charged: whether the vendor may charge. left: of the caller."""

    name: str
    target: str
    text: str
    error: tuple[str, str]
    seconds: float
    outcome: str
    streams: tuple[bool, ...] = (False, True)
    charged: bool = True
    left: float | None = None


CASES = [
    Case("closed", "xai/grok-4", "say 2", AWAY, 0.0, "failed", charged=False),
    Case("deaf", "gemini/gemini-2.5-flash", "say 2", TIMEOUT, CONNECT, "failed", charged=False),
    Case("first", "openai/gpt-5-mini", "fault hang", TIMEOUT, FIRST, "failed", (True,)),
    Case("whole", "openai/gpt-5-mini", "fault hang", TIMEOUT, WHOLE, "failed", (False,)),
    Case("between", "openai/gpt-5", "say 9 fault stall-3", TIMEOUT, BETWEEN, "cut", (True,)),
    Case("total", "openai/gpt-4o", "say 900 fault drip-0.05", TIMEOUT, TOTAL, "cut", (True,)),
    Case("callers", "openai/gpt-4o-mini", "say 900 fault drip-0.05", LATE, 0.2, "cancelled", left=0.3),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Vendors, str]]:
    folder: Path = tmp_path_factory.mktemp("deadlines")
    url = f"sqlite:///{folder / 'ledger.db'}"
    with vendors() as fakes, deaf() as nobody:
        settings = {
            **fakes.settings(),
            "XAI_BASE_URL": "http://127.0.0.1:9",  # nobody listens
            "GEMINI_BASE_URL": nobody,
            "DATABASE_URL": url,
            "AI_CONNECT_TIMEOUT": f"{CONNECT:g}",
            "AI_FIRST_TOKEN_TIMEOUT": f"{FIRST:g}",
            "AI_BETWEEN_TOKENS_TIMEOUT": f"{BETWEEN:g}",
            "AI_WHOLE_ANSWER_TIMEOUT": f"{WHOLE:g}",
            "REQUEST_TIMEOUT": f"{TOTAL:g}",
        }
        with gateways("A", folder, **settings) as [gateway]:
            yield gateway, fakes, url


@contextmanager
def deaf() -> Iterator[str]:
    """A port that takes no more connections, and refuses none."""
    with ExitStack() as held:
        server = held.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_deadline(running: tuple[Gateway, Vendors, str], case: Case, stream: bool) -> None:
    if stream not in case.streams:
        pytest.skip("it is a deadline of the other kind of answer")
    gateway, fakes, url = running
    tenant = f"{case.name}{int(stream)}"
    request = asked(len(case.name), tenant, case.target, case.text, max_tokens=1000)
    channel, began = gateway.channel(), time.monotonic()
    assert refusal(lambda: call(channel, request, stream, tenant, case.left)) == case.error
    seconds = time.monotonic() - began
    assert case.seconds <= seconds < max(case.seconds, TOTAL) + 5
    until(lambda: fakes.in_flight() == 0)  # nobody works on
    until(lambda: not ledger_rows(url, f"SELECT 1 FROM ledger_claims WHERE tenant = '{tenant}'"))
    [entry] = [one for one in ledger_entries(url) if one.tenant == tenant]
    assert (entry.outcome, entry.target) == (case.outcome, case.target)
    assert (entry.nano_usd > 0) is case.charged
    assert entry.nano_usd >= sum(one.nano_usd for one in fakes.served() if one.call[1] == tenant)


def call(channel: Any, request: Any, stream: bool, tenant: str, left: float | None) -> None:
    metadata = (("x-tenant", tenant),)
    stub = chat(channel)
    if stream:
        list(stub.StreamChat(request, metadata=metadata, timeout=left))
    else:
        stub.Chat(request, metadata=metadata, timeout=left)


def test_who_is_in_a_hurry_shuts_no_circuit(running: tuple[Gateway, Vendors, str]) -> None:
    gateway = running[0]
    channel, slow = gateway.channel(), asked(0, "hurry", "openai/gpt-4.1", "say 2 fault slow-0.5", 100)
    for _ in range(8):
        with pytest.raises(grpc.RpcError):
            call(channel, slow, stream=True, tenant="hurry", left=0.2)
    call(channel, slow, stream=True, tenant="hurry", left=None)


def test_an_answer_in_one_body_may_take_longer_than_a_first_token(
    running: tuple[Gateway, Vendors, str],
) -> None:
    slow = asked(1, "patient", "openai/gpt-4.1", f"say 2 fault slow-{(FIRST + WHOLE) / 2:g}", 100)
    call(running[0].channel(), slow, stream=False, tenant="patient", left=None)
