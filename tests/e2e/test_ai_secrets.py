"""Keys that nothing may show: every way a call can fail, then a search of everything that is written."""

from __future__ import annotations

import sqlite3
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from mlapi.ai_gateway.v1 import chat_pb2, chat_service_pb2, chat_service_pb2_grpc

from gateway.stack import SERVICES, Stack
from services.ai_gateway.prices import catalog
from tests.e2e.echoing_vendor import MODES, EchoingVendor, echoing
from tests.e2e.otlp_receiver import Receiver, receiving

# Each tells itself from all others in its first twelve characters.
KEYS = {
    "openai": ["sk-Canary1aQx7ZpLm4Rt9VwKe2Ys", "sk-proj-C2nWb8Hd5Jf3Gk6Lq1Zx0"],
    "anthropic": ["sk-ant-C3tYu7Io9Pa1Sd5Fg8Hj2", "sk-ant-D4kLz6Xc8Vb0Nm2Qw4Er6"],
    "gemini": ["AIzaCanary5bNmQw8Er2Ty6Ui0Op4As9Df3Gh7Jk", "AIzaDanary6vCx1Zl5Kj9Hg3Fd7Sa2Po6Iu0Yt4"],
    "perplexity": ["pplx-Canary7rTy5Ui9Op3As7Df1Gh5Jk9"],
    "xai": ["xai-Canary8wErTy4Ui8Op2As6Df0Gh4Jk8Lz", "xai-Danary9qWe3Rt7Yu1Io5Pa9Sd3Fg7Hj"],
}
IN_FILES = ("anthropic", "xai")
CALLER = "sk-Caller0mNb4Vc8Xz2As6Df1Gh5"  # what the caller shows; nobody's business either
MAIL = "very.private@canary-mail.example"
TENANT = "canary-tenant"
PATHS = {"openai": "/v1", "anthropic": "", "gemini": "", "perplexity": "", "xai": "/v1"}


@dataclass
class Scene:
    """A stack whose vendors repeat every key. said: what its callers were told."""

    stack: Stack
    folder: Path
    vendor: EchoingVendor
    receiver: Receiver
    said: list[bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, secrets = tmp_path_factory.mktemp("secrets"), tmp_path_factory.mktemp("keys")
    with (
        receiving() as (receiver, endpoint),
        echoing() as (vendor, address),
        Stack(folder, overrides(address, secrets, endpoint)) as stack,
    ):
        made = Scene(stack, folder, vendor, receiver)
        fail_in_every_way(made)
        made.said.extend(pages(made))
        yield made


def overrides(address: str, secrets: Path, collector: str) -> Mapping[str, str]:
    found = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "LOG_LEVEL": "DEBUG",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "AI_BETWEEN_TOKENS_TIMEOUT": "2",
    }
    found["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "true"
    for vendor, keys in KEYS.items():
        found[f"{vendor.upper()}_BASE_URL"] = address + PATHS[vendor]
        if vendor in IN_FILES:
            (secrets / vendor).write_text("\n".join(keys))
            found[f"{vendor.upper()}_API_KEY_FILE"] = str(secrets / vendor)
        else:
            found[f"{vendor.upper()}_API_KEY"] = ",".join(keys)
    return found


def fail_in_every_way(scene: Scene) -> None:
    listed = catalog.load().listed
    models = {vendor: [model for name, model in listed if name == vendor] for vendor in KEYS}
    # Each mode its own model as far as they go, whose circuit may open.
    calls = [
        (f"{vendor}/{models[vendor][place % len(models[vendor])]}", f"echo-{mode} from {MAIL}")
        for vendor in KEYS
        for place, mode in enumerate(MODES)
    ]
    with httpx.Client(base_url=scene.stack.url, timeout=30) as rest, ThreadPoolExecutor(6) as pool:
        with grpc.insecure_channel(scene.stack.address) as channel:
            stub = chat_service_pb2_grpc.ChatServiceStub(channel)
            for answers in pool.map(lambda call: fail(rest, stub, *call), calls):
                scene.said.extend(answers)
        for path in ("/v1/ai/status", "/health", "/v1/ai/models", "/v1/ai/usage", "/v1/ai/nowhere"):
            scene.said.append(rest.get(path).content)


def fail(rest: httpx.Client, stub: Any, model: str, text: str) -> list[bytes]:
    headers = {"x-tenant": TENANT, "authorization": f"Bearer {CALLER}", "x-api-key": CALLER}
    body = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": text}]}
    found = [
        rest.post("/v1/ai/chat/completions", json=body, headers=headers),
        rest.post("/v1/ai/chat/completions", json={**body, "stream": True}, headers=headers),
        rest.post("/anthropic/v1/messages", json={**body, "stream": True}, headers=headers),
        rest.post("/v1/ai/embeddings", json={"model": model, "input": text}, headers=headers),
        rest.post("/v1/ai/chat/completions", json={**body, "temperature": text}, headers=headers),
    ]
    message = chat_pb2.Message(role=chat_pb2.Message.USER, parts=[chat_pb2.Part(text=text)])
    asked = chat_service_pb2.ChatRequest(model=model, messages=[message], max_tokens=5)
    told = [str(answer.headers).encode() + answer.content for answer in found]
    for call in (stub.Chat, lambda *args, **more: list(stub.StreamChat(*args, **more))):
        try:
            call(asked, metadata=(("x-tenant", TENANT),), timeout=30)
        except grpc.RpcError as error:
            told.append(
                f"{error.details()} {error.trailing_metadata()} {error.debug_error_string()}".encode()
            )
    return told


def pages(scene: Scene) -> Iterator[bytes]:
    """What processes tell those who operate them."""
    ports = [scene.stack.metrics_port(name) for name in SERVICES]
    urls = [f"http://127.0.0.1:{port}/metrics" for port in ports]
    admin = f"http://127.0.0.1:{scene.stack.settings.admin_port}"
    urls += [f"{admin}/{page}" for page in ("config_dump?include_eds", "stats", "clusters", "server_info")]
    for url in urls:
        with urllib.request.urlopen(url) as answer:
            yield answer.read()


def sinks(scene: Scene) -> dict[str, bytes]:
    """Everything that is written anywhere, by where."""
    scene.receiver.wait(lambda spans: [span for span in spans if span.name.startswith("chat ")])
    found = {str(path): path.read_bytes() for path in scene.folder.rglob("*") if path.is_file()}
    for name in (*SERVICES, "edge"):
        process = Path(f"/proc/{scene.stack.pid(name)}")
        found[f"command line of {name}"] = (process / "cmdline").read_bytes()
        if name != "ai_gateway":  # which has to be told them somehow
            found[f"environment of {name}"] = (process / "environ").read_bytes()
    found["spans"] = b"".join(scene.receiver.raw)
    found["answers and pages"] = b"".join(scene.said)
    return found


def test_no_key_is_in_any_sink(scene: Scene) -> None:
    asked = scene.vendor.asked
    assert {key for key, _ in asked} == {key for keys in KEYS.values() for key in keys}
    assert {mode for _, mode in asked} == set(MODES)
    found = sinks(scene)
    leaks = {
        (where, needle)
        for where, text in found.items()
        for key in (*(key for keys in KEYS.values() for key in keys), CALLER)
        for needle in (key[:12], key[-12:])
        if needle.encode() in text
    }
    assert leaks == set()


def test_the_search_finds_what_is_there(scene: Scene) -> None:
    found = sinks(scene)
    (database,) = [where for where in found if where.endswith("ai_gateway.db")]
    with sqlite3.connect(database) as opened:  # what was committed may be in the log beside it only
        assert (
            opened.execute("select count(*) from ledger_entries where tenant = ?", (TENANT,)).fetchone()[0]
            > 50
        )
    for where in ("spans", "answers and pages"):
        assert b"openai" in found[where], where
    assert any(TENANT.encode() in text for where, text in found.items() if "ai_gateway.db" in where)
    logs = {where.rsplit("/")[-1]: text for where, text in found.items() if where.endswith(".log")}
    assert b"/v1/ai/chat/completions" in logs["access.log"]
    assert b"ChatCompletions" in logs["ai_gateway.log"]
    assert b"[email]" in found["spans"]  # content is captured here, and redacted
    assert not [where for where, text in found.items() if MAIL.encode() in text and "answers" not in where]
