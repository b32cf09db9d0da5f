"""What is measured, and how each is started: the vendor itself, and gateways in front of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlapi.ai_gateway.v1 import chat_pb2, chat_service_pb2
from mlapi_client import key_file

from bench.gateway.caller import Caller, CallFailed, Channels, HttpCaller
from bench.gateway.processes import running
from gateway.stack import Stack, free_ports

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".bench" / "gateway"
LOCK = ROOT / "requirements" / "bench-gateway.lock"
PORTKEY = Path(__file__).parent / "portkey"
MODEL, PROMPT, KEY = "gpt-5-mini", "Say five words, please.", "sk-fake"
CHANNELS = 4
START_SECONDS = 240.0


@dataclass(frozen=True)
class Contender:
    """Something that answers chats. pids: the processes that do.

    body: a request, for a prompt and whether it is to be streamed. opened: so many callers.
    """

    name: str
    pids: Sequence[int]
    body: Callable[[str, bool], bytes]
    opened: Callable[[int], Awaitable[list[Caller]]]


Start = Callable[[], AbstractAsyncContextManager[Contender]]


class Grounds:
    """Where contenders run. vendor: the port of the mock. folder: for logs and data."""

    def __init__(self, vendor: int, folder: Path) -> None:
        self.vendor, self.folder = vendor, folder

    def direct(self, pid: int) -> Contender:
        """The vendor, without anything before it."""
        return _over_http("direct", self.vendor, "/v1/chat/completions", {}, MODEL, [pid])

    @asynccontextmanager
    async def ours(self) -> AsyncIterator[tuple[Contender, Contender]]:
        """The whole product: by gRPC, and by REST through Envoy."""
        ports = free_ports()
        data = self.folder / f"ours-{time.monotonic_ns()}"
        settings, key = self._our_settings()
        with Stack(data, {**settings, **ports}, on_free_ports=False) as stack:
            service, edge = stack.pid("ai_gateway"), stack.pid("edge")
            path, model = "/v1/ai/chat/completions", f"openai/{MODEL}"
            headers = {"authorization": f"Bearer {key}"}
            rest = _over_http("ours, REST", stack.settings.port, path, headers, model, [service, edge])
            async with _over_grpc("ours, gRPC", int(ports["AI_GATEWAY_GRPC_PORT"]), key, [service]) as grpc_:
                yield grpc_, rest

    @asynccontextmanager
    async def ours_alone(self) -> AsyncIterator[Contender]:
        """The AI gateway's process alone, to see how fast it starts."""
        ports = free_ports()
        data = self.folder / f"alone-{time.monotonic_ns()}"
        data.mkdir()
        ours, key = self._our_settings()
        settings = {**ours, **ports, "DATA_DIR": str(data)}
        command = [sys.executable, "-m", "services.ai_gateway"]
        with _logged(data / "log", command, settings) as pid:
            async with _over_grpc("ours, gRPC", int(ports["AI_GATEWAY_GRPC_PORT"]), key, [pid]) as contender:
                yield contender

    def _our_settings(self) -> tuple[dict[str, str], str]:
        """Keys that are checked, limits that are reckoned with at every call and never reached; and a key."""
        keys = self.folder / "keys.json"
        _, key = key_file.create(keys, "bench", ("ai:call",))
        settings = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self.vendor}/v1",
            "OPENAI_API_KEY": KEY,
            "AUTH_MODE": "keys",
            "API_KEYS_FILE": str(keys),
            "RATE_LIMIT_ENABLED": "true",
            "AI_REQUESTS": "1000000000/day, 1000000000/hour",
            "AI_TOKENS": "1000000000000/minute",
        }
        return settings, key

    @asynccontextmanager
    async def litellm(self) -> AsyncIterator[Contender]:
        """Two workers, as it advises for two cores; with a key of its own to check, without a database."""
        port = free_ports()["PORT"]
        config = self.folder / "litellm.json"  # JSON is YAML
        config.write_text(json.dumps(_litellm_settings(self.vendor)))
        command = [str(ENVIRONMENT / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        command += ["--port", port, "--num_workers", "2", "--telemetry", "False"]
        # Its workers need longer to start on a busy machine than their supervisor has patience.
        command += ["--timeout_worker_healthcheck", "60"]
        with _logged(self.folder / "litellm.log", command, quiet) as pid:
            key = {"authorization": f"Bearer {KEY}"}
            yield _over_http("LiteLLM", int(port), "/v1/chat/completions", key, MODEL, [pid])

    @asynccontextmanager
    async def portkey(self) -> AsyncIterator[Contender]:
        """As it comes: it checks no key of its own, and keeps no books."""
        port = free_ports()["PORT"]
        script = ENVIRONMENT / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build"
        command = ["node", str(script / "start-server.js"), "--headless", f"--port={port}"]
        settings = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "localhost,127.0.0.1"}
        with _logged(self.folder / "portkey.log", command, settings) as pid:
            headers = {
                "authorization": f"Bearer {KEY}",
                "x-portkey-provider": "openai",
                "x-portkey-custom-host": f"http://127.0.0.1:{self.vendor}/v1",
            }
            yield _over_http("Portkey", int(port), "/v1/chat/completions", headers, MODEL, [pid])


async def answered(contender: Contender) -> Caller:
    """A caller of a contender that has just begun to start, once it has been answered; raises CallFailed."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        caller: Caller | None = None
        try:
            (caller,) = await contender.opened(1)
            await asyncio.wait_for(caller.ask(), 30)
            return caller
        except (OSError, CallFailed, TimeoutError) as error:
            if caller:
                await caller.close()
            if time.monotonic() > deadline:
                raise CallFailed(f"{contender.name} does not start: {error}") from error
            await asyncio.sleep(0.02)


def install() -> dict[str, str]:
    """Puts the peers into an environment of their own; the product needs none of them. Peer → why it is left
    out."""
    uv = str(Path(sys.executable).parent / "uv")
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT)], check=True)
    sync = [
        "pip",
        "sync",
        "--quiet",
        "--compile-bytecode",
        "--python",
        str(python),
        "--require-hashes",
        str(LOCK),
    ]
    subprocess.run([uv, *sync], check=True)
    if not (shutil.which("node") and shutil.which("npm")):
        return {"Portkey": "node and npm are not on this machine"}
    place = ENVIRONMENT / "portkey"
    place.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PORTKEY / name, place / name)
    if not (place / "node_modules").exists():
        npm = ["npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(npm, cwd=place, check=True)
    return {}


def _litellm_settings(vendor: int) -> dict[str, object]:
    target = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{vendor}/v1", "api_key": KEY}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": target}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0, "set_verbose": False},
    }


def _json_body(model: str, prompt: str, stream: bool) -> bytes:
    asked: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps({**asked, "max_tokens": 100}).encode()


def _message(prompt: str, stream: bool) -> bytes:
    part = chat_pb2.Part(text=prompt)
    turn = chat_pb2.Message(role=chat_pb2.Message.USER, parts=[part])
    asked = chat_service_pb2.ChatRequest(model=f"openai/{MODEL}", messages=[turn], max_tokens=100)
    return bytes(asked.SerializeToString())


def _over_http(  # noqa: PLR0917 (an address, and what is said there)
    name: str, port: int, path: str, headers: dict[str, str], model: str, pids: Sequence[int]
) -> Contender:
    async def opened(count: int) -> list[Caller]:
        body = _json_body(model, PROMPT, False)
        return [await HttpCaller.opened(port, path, headers, body) for _ in range(count)]

    return Contender(name, pids, lambda prompt, stream: _json_body(model, prompt, stream), opened)


@asynccontextmanager
async def _over_grpc(name: str, port: int, key: str, pids: Sequence[int]) -> AsyncIterator[Contender]:
    channels = Channels(f"127.0.0.1:{port}", CHANNELS)

    async def opened(count: int) -> list[Caller]:
        return [channels.caller(_message(PROMPT, False), key) for _ in range(count)]

    try:
        yield Contender(name, pids, _message, opened)
    finally:
        await channels.close()


@contextmanager
def _logged(log: Path, command: Sequence[str], settings: Mapping[str, str]) -> Iterator[int]:
    """The process id of a command that writes to a file."""
    with log.open("wb") as file, running(command, file, settings, ROOT) as process:
        yield process.pid
