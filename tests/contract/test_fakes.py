"""What the fakes promise whatever the vendor: faults by rule, the truth about what was served, a process."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from services.ai_gateway.fakes.app import KEY
from services.ai_gateway.fakes.faults import Rule
from tests.contract.vendors import Vendors
from tests.contract.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CHAT = {
    "openai": "/openai/v1/chat/completions",
    "xai": "/xai/v1/chat/completions",
    "perplexity": "/perplexity/chat/completions",
    "anthropic": "/anthropic/v1/messages",
    "gemini": "/gemini/v1beta/models/m:generateContent",
}
HEADERS = {"Authorization": f"Bearer {KEY}", "x-goog-api-key": KEY, "anthropic-version": "2023-06-01"}


def body(text: str, **more: Any) -> dict[str, Any]:
    """A request that each of them understands."""
    message = {"role": "user", "content": text}
    contents = [{"parts": [{"text": text}]}]
    return {"model": "m", "max_tokens": 500, "messages": [message], "contents": contents} | more


def send(vendors: Vendors, vendor: str, text: str, **more: Any) -> httpx.Response:
    return vendors.http.post(CHAT[vendor], json=body(text, **more), headers=HEADERS)


@pytest.mark.parametrize("vendor", list(CHAT))
def test_the_same_request_has_the_same_answer(vendors: Vendors, vendor: str) -> None:
    first, second = (send(vendors, vendor, "say 3 think 2 cached 1").text for _ in range(2))
    changing = re.compile(r'"(id|created|responseId)":("[^"]*"|\d+)')
    assert changing.sub("", first) == changing.sub("", second)
    assert "word2" in first
    assert "word3" not in first
    before, after = vendors.settled()
    assert (before.input, before.output, before.reasoning) == (3 + 6, 3, 2)
    assert (after.input, after.output, after.reasoning) == (3 + 6, 3, 2)


def test_what_reached_the_vendor_is_kept_to_the_byte(vendors: Vendors) -> None:
    raw = b'{"model" : "m","new_field":1.50e3,  "messages":[{"role":"user","content":"caf\\u00e9"}]}'
    headers = HEADERS | {"traceparent": "00-abc-def-01"}
    response = vendors.http.post(CHAT["openai"], content=raw, headers=headers)
    assert response.status_code == 200
    assert vendors.only().body == raw
    (listed,) = vendors.http.get("/_control/served?bodies=1").json()["served"]
    assert (listed["body"].encode(), listed["headers"]["traceparent"]) == (raw, "00-abc-def-01")
    assert KEY not in json.dumps(listed)


@pytest.mark.parametrize("fault", ["stall-2", "drip-0.01"])
def test_a_client_that_leaves_a_stream_is_noticed(vendors: Vendors, fault: str) -> None:
    content = body(f"say 400 fault {fault}", stream=True)
    with vendors.http.stream("POST", CHAT["openai"], json=content, headers=HEADERS) as response:
        heard = b""
        for chunk in response.iter_raw():
            heard += chunk
            if heard.count(b"word") >= 2:
                break
    served = vendors.only()
    assert (served.cancelled, served.complete, served.status) == (True, False, 200)
    assert served.input == 3 + 4
    assert served.output == 2 if fault == "stall-2" else 2 <= served.output < 400
    assert served.ended_at is not None
    (total,) = vendors.fake.truth.totals.values()
    assert (total.calls, total.cancelled, total.output) == (1, 1, served.output)


@pytest.mark.parametrize("vendor", list(CHAT))
def test_a_client_that_leaves_before_the_first_byte_is_not_charged(vendors: Vendors, vendor: str) -> None:
    content = json.dumps(body("fault hang")).encode()
    address = urlsplit(vendors.address)
    head = [f"POST {CHAT[vendor]} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}"]
    head += [f"{name}: {value}" for name, value in HEADERS.items()]
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + content)
        until(lambda: [served for served in vendors.fake.truth.calls if served.fault == "hang"])
    served = vendors.only()
    assert (served.cancelled, served.status, served.input, served.output) == (True, 0, 0, 0)


@pytest.mark.parametrize("vendor", list(CHAT))
@pytest.mark.parametrize(("fault", "end"), [("cut", "reset"), ("reset", "reset"), ("drop", "closed")])
def test_connections_are_reset_or_closed(vendors: Vendors, vendor: str, fault: str, end: str) -> None:
    with pytest.raises(httpx.ReadError if end == "reset" else httpx.RemoteProtocolError):
        send(vendors, vendor, f"say 3 fault {fault}")
    served = vendors.only()
    assert (served.complete, served.cancelled) == (False, False)
    assert (served.status, served.output) == ((0, 0) if fault == "reset" else (200, 3))


@pytest.mark.parametrize("vendor", list(CHAT))
def test_bodies_are_spoilt(vendors: Vendors, vendor: str) -> None:
    response = send(vendors, vendor, "fault garble")
    assert response.status_code == 200
    with pytest.raises(ValueError, match=r"line 1|char"):
        response.json()
    response = send(vendors, vendor, "fault error")
    assert response.status_code == 200
    assert "error" in response.json()
    assert [served.complete for served in vendors.settled()] == [False, False]


@pytest.mark.parametrize("vendor", list(CHAT))
@pytest.mark.parametrize("wrong", [b"{", b"[]", b'{"model":"m","max_tokens":5,"messages":[7],"contents":7}'])
def test_what_is_malformed_is_refused(vendors: Vendors, vendor: str, wrong: bytes) -> None:
    response = vendors.http.post(CHAT[vendor], content=wrong, headers=HEADERS)
    assert response.status_code == 400
    assert "error" in response.json()


def test_a_rule_strikes_whom_it_names(vendors: Vendors) -> None:
    vendors.fake.faults.add(Rule("503", vendor="xai", model="m", key="fake", operation="chat", count=2))
    statuses = [send(vendors, vendor, "hello").status_code for vendor in ("openai", "xai")]
    assert statuses == [200, 503]
    assert send(vendors, "xai", "hello", model="other").status_code == 200
    assert [send(vendors, "xai", "hello").status_code for _ in range(2)] == [503, 200]
    with pytest.raises(ValueError, match="no fault"):
        vendors.fake.faults.add(Rule("fire"))


def test_faults_add_up(vendors: Vendors) -> None:
    vendors.fake.faults.add(Rule("slow-0.01"))
    response = send(vendors, "openai", "hello fault drip-0.001", model="m--close-2", stream=True)
    assert response.text.count("word") == 2
    assert vendors.only().fault == "slow-0.01 close-2 drip-0.001"


def test_totals_are_what_the_vendors_said(vendors: Vendors) -> None:
    """Under concurrency, with faults by chance: the chance is seeded, so the same number of calls fails."""
    vendors.fake.faults.add(Rule("429", probability=0.3, seed=5))
    wanted = [(vendor, number) for number in range(12) for vendor in CHAT]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: send(vendors, one[0], f"say {one[1]}"), wanted))
    failed = sum(answer.status_code == 429 for answer in answers)
    words = sum(
        number for answer, (_, number) in zip(answers, wanted, strict=True) if answer.status_code == 200
    )
    vendors.settled()
    totals = vendors.fake.truth.totals
    chance = random.Random(5)
    expected = sum(chance.random() < 0.3 for _ in wanted)
    assert set(totals) == {(vendor, "m") for vendor in CHAT}
    assert sum(total.calls for total in totals.values()) == 60
    assert sum(total.failed for total in totals.values()) == failed == expected
    assert sum(total.output for total in totals.values()) == words
    assert sum(total.input for total in totals.values()) == (60 - failed) * (3 + 2)


@pytest.fixture
def address() -> Iterator[str]:
    """Of fakes in a process of their own."""
    command = [sys.executable, "-m", "services.ai_gateway.fakes", "--port", "0", "--key", "openai=sk-one"]
    with subprocess.Popen([*command, "--kept", "2"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening: ").strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_process_is_governed_over_http(address: str) -> None:
    with httpx.Client(base_url=address, headers={"Authorization": "Bearer sk-one"}) as http:

        def status() -> int:
            return http.post(CHAT["openai"], json=body("say 2")).status_code

        assert http.post("/_control/faults", json={"fault": "500", "count": 1}).status_code == 200
        assert [status(), status()] == [500, 200]
        assert http.post("/_control/faults", json={"fault": "500"}).status_code == 200
        assert status() == 500
        http.delete("/_control/faults")
        assert status() == 200
        assert http.post("/_control/faults", json={"falt": "500"}).status_code == 400
        http.post("/_control/keys", json={"openai": ["sk-two"]})
        assert status() == 401
        totals = http.get("/_control/totals").json()
        assert totals["in_flight"] == 0
        refused, model = totals["totals"]
        assert (refused["model"], refused["failed"]) == ("", 1)
        assert (model["calls"], model["failed"], model["output"]) == (4, 2, 4)
        served = http.get("/_control/served").json()["served"]
        assert [(one["number"], one["status"]) for one in served] == [(4, 200), (5, 401)]
        http.post("/_control/reset")
        assert http.get("/_control/totals").json() == {"totals": [], "in_flight": 0}
