"""A vendor whose every call is counted, timed and, when somebody traces, a span."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import perf_counter

from opentelemetry.trace import Span, Status, StatusCode

from services.ai_gateway.adapters.telemetry import content, names, spans
from services.ai_gateway.adapters.telemetry.metrics import AiMetrics, Series
from services.ai_gateway.adapters.telemetry.server_address import ServerAddress
from services.ai_gateway.application.ports import ChatProvider, Entry, Key, Outcome, VendorError
from services.ai_gateway.domain.chat import Completion, Delta, Embeddings, EmbedRequest
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Deadlines
from services.ai_gateway.domain.usage import PriceList, Usage
from services.chassis import traced

CANCELLED = "cancelled"
_ANSWERS = (Outcome.OK, Outcome.CACHED, Outcome.CUT)


class ObservedVendor:
    """See ChatProvider. server: where it is. capture: whether spans have what is asked and answered."""

    def __init__(
        self,
        inner: ChatProvider,
        metrics: AiMetrics,
        prices: PriceList,
        server: ServerAddress,
        capture: bool = False,
    ) -> None:
        self.vendor, self.dialect = inner.vendor, inner.dialect
        self._inner, self._metrics, self._prices = inner, metrics, prices
        self._server, self._capture = server, capture

    async def complete(self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines) -> Completion:
        attempt = self._begin(names.CHAT, model, key, lambda: spans.of_prompt(prompt, stream=False))
        try:
            answer = await self._inner.complete(prompt, model, key, deadlines)
        except BaseException as error:
            attempt.fail(error)
            raise
        attempt.usage = answer.usage
        if attempt.span:
            attempt.say(spans.of_answer(answer.completion_id, answer.model, [answer.finish]))
            if self._capture:
                attempt.say(content.of_whole(prompt, answer))
        attempt.end()
        return answer

    async def embed(self, request: EmbedRequest, model: str, key: Key, deadlines: Deadlines) -> Embeddings:
        attempt = self._begin(names.EMBEDDINGS, model, key, lambda: spans.of_embedding(request))
        try:
            found = await self._inner.embed(request, model, key, deadlines)
        except BaseException as error:
            attempt.fail(error)
            raise
        attempt.usage = found.usage
        if attempt.span:
            attempt.say(spans.of_answer("", found.model, ()))
        attempt.end()
        return found

    async def stream(
        self, prompt: Prompt, model: str, key: Key, deadlines: Deadlines
    ) -> AsyncIterator[Delta]:
        attempt = self._begin(names.CHAT, model, key, lambda: spans.of_prompt(prompt, stream=True))
        heard = content.Heard(prompt, self._capture) if attempt.span else None
        deltas = self._inner.stream(prompt, model, key, deadlines)
        try:
            async for delta in deltas:
                attempt.chunk(delta)
                if heard:
                    heard.add(delta)
                yield delta
        except BaseException as error:
            if heard:
                attempt.say(heard.attributes())
            attempt.fail(error)
            raise
        finally:
            await deltas.aclose()  # type: ignore[attr-defined]
        if heard:
            attempt.say(heard.attributes())
        attempt.end()

    def _begin(self, operation: str, model: str, key: Key, asked: Callable[[], spans.Attributes]) -> _Attempt:
        series = self._metrics.series(operation, self.vendor, model, self._server)
        call = traced.CALL.get()
        if call is None:
            return _Attempt(series, None, self._cost(model))
        attributes = spans.of_target(operation, self.vendor, model, self._server) | asked()
        attributes |= {names.KEY: key.name, names.ATTEMPT: call.attempts + 1}
        span = call.attempt(f"{operation} {model}", attributes)
        traced.ATTEMPT.set(span)
        return _Attempt(series, span, self._cost(model))

    def _cost(self, model: str) -> Callable[[Usage], int]:
        price = self._prices.find(self.vendor, model)
        return price.cost if price else _free


def _free(usage: Usage) -> int:
    return 0


class _Attempt:
    """One, from its beginning to its end."""

    __slots__ = ("_began", "_cost", "_first", "_last", "_series", "span", "usage")

    def __init__(self, series: Series, span: Span | None, cost: Callable[[Usage], int]) -> None:
        self._series, self.span, self._cost = series, span, cost
        self._first = self._last = 0.0
        self.usage: Usage | None = None
        self._began = perf_counter()

    def chunk(self, delta: Delta) -> None:
        """One came."""
        now = perf_counter()
        if self._first:
            self._series.next_chunk(now - self._last)
        else:
            self._first = now - self._began
            self._series.first_chunk(self._first)
        self._last = now
        if delta.usage is not None:
            self.usage = delta.usage

    def say(self, attributes: spans.Attributes) -> None:
        """Puts them on the span, if there is one."""
        if self.span:
            self.span.set_attributes(attributes)

    def end(self) -> None:
        """It went well."""
        self._close("ok", "")

    def fail(self, error: BaseException) -> None:
        """It did not. What is cancelled, by its caller or because another was faster, is no error of it."""
        if isinstance(error, VendorError):
            outcome = error.failure.label
            type_ = str(error.status) if error.status >= 400 and outcome == "server_error" else outcome
            if self.span:
                # The message is the vendor's own, and may repeat what was asked.
                self.span.set_status(Status(StatusCode.ERROR, outcome))
            self._close(outcome, type_)
        elif isinstance(error, Exception):
            if self.span:
                self.span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            self._close("refused", type(error).__name__)
        else:
            self._close(CANCELLED, CANCELLED)

    def _close(self, outcome: str, error: str) -> None:
        self._series.ended(outcome, error, perf_counter() - self._began)
        if self.usage is not None:
            self._series.used(self.usage)
        if self.span:
            self.say(self._facts(error))
            self.span.end()

    def _facts(self, error: str) -> spans.Attributes:
        found: spans.Attributes = {names.ERROR_TYPE: error} if error else {}
        if self._first:
            found[names.TIME_TO_FIRST_CHUNK] = self._first
        if self.usage is not None:
            found |= spans.of_usage(self.usage, self._series.embeds)
            found[names.COST] = self._cost(self.usage)
        return found


def tell_call(entry: Entry) -> None:
    """Puts an entry of a call on the call's own span. A call has several when several vendors may charge."""
    call = traced.CALL.get()
    if call is None:
        return
    facts: spans.Attributes = {names.ATTEMPTS: call.attempts}
    if entry.outcome in _ANSWERS:
        facts[names.TARGET] = f"{entry.vendor}/{entry.model}"
        facts[names.CACHE] = "hit" if entry.outcome is Outcome.CACHED else "miss"
    traced.tell_own(facts, {names.COST: entry.nano_usd})
