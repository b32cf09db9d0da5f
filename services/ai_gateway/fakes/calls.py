"""The way of a call: key, body, fault, answer, and a line in the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from services.ai_gateway.fakes.delivery import BROKEN, Delivery, respond
from services.ai_gateway.fakes.faults import Fault, Faults
from services.ai_gateway.fakes.scripts import Scripts
from services.ai_gateway.fakes.speech import Ask, speak
from services.ai_gateway.fakes.truth import Served, Truth
from services.ai_gateway.fakes.wire import Dialect, Refused, Reply

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve: TypeAlias = Callable[[web.Request, Served], Awaitable[web.StreamResponse]]

# Two ways to ask for one operation: what a rule and the list of calls name it.
_PLAIN = {"stream": "chat", "embeds": "embed"}
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Calls:
    """What every call needs."""

    keys: Mapping[str, set[str]]  # by vendor
    faults: Faults
    scripts: Scripts
    truth: Truth

    def handler(self, dialect: Dialect, operation: str) -> Handler:
        """Answers calls of that operation, as the dialect does."""

        async def serve(request: web.Request, served: Served) -> web.StreamResponse:
            body = parsed(dialect, served)
            dialect.check(operation, request.headers, body, served.number)
            ask = self._asked(dialect, operation, request.match_info.get("model", ""), body, served)
            served.stream = ask.stream or operation == "stream"
            fault = self._fault(dialect, served, ask)
            if fault.delay:
                await asyncio.sleep(fault.delay)
            _refuse(dialect, served, fault)
            delivery = Delivery(request, served, fault, dialect)
            if fault.ending == "reset":
                await delivery.leave()
            return await _deliver(delivery, operation, ask, body)

        return self.guarded(dialect, _PLAIN.get(operation, operation), serve)

    def guarded(self, dialect: Dialect, name: str, serve: Serve) -> Handler:
        """Notes each call under that name, and serves those with a right key."""

        async def handle(request: web.Request) -> web.StreamResponse:
            served = self.truth.open(dialect.vendor, name, request.path, request.headers)
            try:
                served.body = await request.read()
                self._check_key(dialect, request, served)
                return await serve(request, served)
            except Refused as refused:
                served.status = refused.reply.status
                return respond(refused.reply)
            except (asyncio.CancelledError, ConnectionError):
                served.cancelled = not served.broken_off
                raise
            finally:
                self.truth.close(served)

        return handle

    def answer_batched(self, dialect: Dialect, operation: str, batch: Served, body: dict[str, Any]) -> Reply:
        """One request out of a batch, noted as a call of its own; of faults only a status counts."""
        served = self.truth.open(dialect.vendor, "batch", batch.path, batch.headers)
        served.key, served.body = batch.key, msgspec.json.encode(body)
        try:
            ask = self._asked(dialect, operation, "", body, served)
            _refuse(dialect, served, self._fault(dialect, served, ask))
            content, usage = dialect.whole(operation, ask, body, served.number)
            served.count(usage)
            served.status, served.complete = 200, True
            return Reply(200, content)
        except Refused as refused:
            served.status = refused.reply.status
            return refused.reply
        finally:
            self.truth.close(served)

    def _check_key(self, dialect: Dialect, request: web.Request, served: Served) -> None:
        key = dialect.key(request.headers)
        served.key = key[-4:]
        if key not in self.keys[dialect.vendor]:
            raise Refused(dialect.wrong_key(key, served.number))

    def _asked(
        self, dialect: Dialect, operation: str, model: str, body: dict[str, Any], served: Served
    ) -> Ask:
        try:
            ask = dialect.ask(operation, model, body)
        except (AttributeError, KeyError, TypeError, ValueError):  # fields of another shape than the vendor's
            raise Refused(dialect.failure(400, served.number, model)) from None
        served.model, served.id = ask.model, dialect.id(served.number)
        return changed(ask, line=self.scripts.line(dialect.vendor, ask.model))

    def _fault(self, dialect: Dialect, served: Served, ask: Ask) -> Fault:
        fault = self.faults.choose(dialect.vendor, ask.model, served.key, served.operation, ask.prompt)
        served.fault = fault.name
        return fault


def parsed(dialect: Dialect, served: Served) -> dict[str, Any]:
    """The body as JSON; without one, an empty object. Raises Refused if it is none."""
    try:
        body = _decode(served.body) if served.body else {}
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):
        raise Refused(dialect.failure(400, served.number, ""))
    return body


def _refuse(dialect: Dialect, served: Served, fault: Fault) -> None:
    if fault.status:
        raise Refused(dialect.failure(fault.status, served.number, served.model, fault))


async def _deliver(delivery: Delivery, operation: str, ask: Ask, body: dict[str, Any]) -> web.StreamResponse:
    dialect, number = delivery.dialect, delivery.served.number
    if delivery.served.stream:
        answer = speak(ask)
        return await delivery.stream(dialect.frames(ask, answer, number), answer.usage)
    if delivery.fault.ending == "error":
        raise Refused(changed(dialect.failure(BROKEN, number, ask.model), status=200))
    content, usage = dialect.whole(operation, ask, body, number)
    return await delivery.whole(Reply(200, content, dialect.headers(number)), usage)
