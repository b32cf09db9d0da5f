"""Keys are changed under calls that run, and no call fails for it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from mlapi.ai_gateway.v1 import chat_pb2, chat_service_pb2, chat_service_pb2_grpc

from services.ai_gateway.adapters import key_ring
from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.fakes.app import Fake
from services.ai_gateway.fakes.serving import serving
from tests.integration.test_ai_gateway import serving as gateway

OLD, NEW = "sk-the-old-one-0001", "sk-the-new-one-0002"
CALLERS = 16


class Callers:
    """Sixteen, half of whom stream, until they are told to end. failed: what any of them was told."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = chat_service_pb2_grpc.ChatServiceStub(channel)
        self.answered, self.failed, self.done = 0, [], asyncio.Event()  # type: ignore[var-annotated]

    async def run(self) -> None:
        await asyncio.gather(*(self._one(number % 2 == 0) for number in range(CALLERS)))

    async def _one(self, stream: bool) -> None:
        message = chat_pb2.Message(role=chat_pb2.Message.USER, parts=[chat_pb2.Part(text="say 2")])
        asked = chat_service_pb2.ChatRequest(model="openai/gpt-5-mini", messages=[message], max_tokens=9)
        while not self.done.is_set():
            try:
                if stream:
                    assert [event async for event in self._stub.StreamChat(asked)]
                else:
                    assert (await self._stub.Chat(asked)).parts
                self.answered += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append(error.details())

    async def more(self, calls: int = 60) -> None:
        """Returns when so many more have been answered."""
        wanted = self.answered + calls
        while self.answered < wanted and not self.failed:
            await asyncio.sleep(0.01)


def replace_at_once(file: Path, text: str) -> None:
    """As Kubernetes and Docker do."""
    other = file.with_suffix(".new")
    other.write_text(text)
    os.replace(other, file)


def write_over(file: Path, text: str) -> None:
    """As an editor or `cp` does; for a moment the file is empty."""
    file.write_text("")
    file.write_text(text)


@pytest.mark.parametrize("put", [replace_at_once, write_over])
@pytest.mark.parametrize("revoked_at_once", [False, True])
def test_no_call_fails_while_a_key_file_changes(put: Any, revoked_at_once: bool, tmp_path: Path) -> None:
    file, fake = tmp_path / "key", Fake({"openai": {OLD}})
    file.write_text(OLD)

    async def scenario() -> Callers:
        async with serving(fake) as address:
            settings = {"openai_api_key_file": file, "openai_base_url": f"{address}/openai/v1"}
            async with gateway(data_dir=tmp_path, **settings) as channel:
                callers = Callers(channel)
                running = asyncio.create_task(callers.run())
                await callers.more()
                fake.keys["openai"].add(NEW)
                put(file, NEW)
                while not revoked_at_once and key_of_last(fake) != NEW[-4:]:
                    await callers.more(1)
                fake.keys["openai"].discard(OLD)
                await callers.more()
                callers.done.set()
                await running
                return callers

    callers = asyncio.run(scenario())
    assert callers.failed == []
    assert callers.answered >= 120
    assert key_of_last(fake) == NEW[-4:]


def test_a_refused_key_is_passed_over_for_the_others(tmp_path: Path) -> None:
    fake = Fake({"openai": {OLD, NEW}})

    async def scenario() -> Callers:
        async with serving(fake) as address:
            settings = {"openai_api_key": f"{OLD},{NEW}", "openai_base_url": f"{address}/openai/v1"}
            async with gateway(data_dir=tmp_path, **settings) as channel:
                callers = Callers(channel)
                running = asyncio.create_task(callers.run())
                await callers.more()
                fake.keys["openai"].discard(OLD)
                await callers.more()
                callers.done.set()
                await running
                return callers

    callers = asyncio.run(scenario())
    assert callers.failed == []
    refused = [call for call in fake.truth.calls if call.status == 401]
    # The circuit of the old key is open after a few; nobody asks with it every time.
    assert 0 < len(refused) < 5 + CALLERS


def test_what_cannot_be_a_key_leaves_the_old_ones_in_force(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, now = tmp_path / "keys", 0.0
    file.write_text(f"{OLD}\n")
    ring = KeyRing({}, {"openai": file}, lambda: now)
    for wrong in ("", " \n", "sk-with a-space", "sk-é"):
        file.write_text(wrong)
        now += key_ring.LOOK_SECONDS
        assert [key.secret for key in ring.of("openai")] == [OLD]
    file.unlink()
    now += key_ring.LOOK_SECONDS
    assert [key.secret for key in ring.of("openai")] == [OLD]
    file.write_text(f"{NEW}\n{OLD}")
    assert [key.secret for key in ring.of("openai")] == [OLD]  # looked at a moment ago
    ring.refused(ring.of("openai")[0])
    assert [key.secret for key in ring.of("openai")] == [NEW, OLD]
    said = json.dumps([record.__dict__.get("fields") for record in caplog.records])
    assert "with a-space" not in said
    assert OLD not in said


def key_of_last(fake: Fake) -> str:
    return [call.key for call in fake.truth.calls if call.operation == "chat"][-1]
