"""What happens around every call, once: identity, deadline, body, limits, errors, log line, metrics, span.

A handler is a plain function or a coroutine. A plain function may block: it runs in a thread. A coroutine
runs on the event loop and must not. A handler that answers with a stream is an asynchronous generator.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc
from opentelemetry import trace

from services.chassis import callers
from services.chassis.auth import Door
from services.chassis.callers import CALLER
from services.chassis.errors import AppError, DeadlineExceeded, Internal, Unimplemented
from services.chassis.json_body import RequestReader
from services.chassis.logs import REQUEST_ID, TRACE_ID
from services.chassis.patience import Patience
from services.chassis.shedding import Shedding
from services.chassis.status import to_status, trailers
from services.chassis.telemetry import RequestMetrics, Tracing, trace_id

if TYPE_CHECKING:  # it needs a database's driver, which not every service has
    from services.chassis.audit.auditor import Auditor

log = logging.getLogger("call")
Result = TypeVar("Result")
Handler = Any  # grpc.RpcMethodHandler, whose fields grpc does not type
# Answers a caller who is not let in, for a method whose errors have a form of their own. The handler is not
# called: one that forgot to ask would be open.
Refusal: TypeAlias = Callable[[AppError, Any], Awaitable[Any]]
# Asked before a handler, with the called method and the request that was read; raises what refuses it.
Limit: TypeAlias = Callable[[str, Any], Awaitable[None]]
# Nothing is done there, so that nobody need be known.
UNKNOWN = "unknown"
# Time kept back from the deadline to say DEADLINE_EXCEEDED with its details: gRPC itself says it without any.
DEADLINE_MARGIN = 0.1
# A label takes no other values, whatever callers send.
VERBS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
# How the names of methods that change nothing begin; `Check` is the standard health probe.
READS = ("Get", "List", "Check")
# Codes that tell a caller nothing of what became of the call; they are for nobody, or in a hurry.
UNTOLD = ("CANCELLED", "DEADLINE_EXCEEDED")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server; see the module.

    door: who may call; everyone without one. refusals: `/package.Service/Method` → how it refuses a caller.
    recorded: services that keep a record of each call themselves. audit: who writes down the others that
    change something. limit: of callers, if there is one.
    shedding: what is refused for want of memory; nothing without.
    """

    def __init__(
        self,
        reader: RequestReader,
        metrics: RequestMetrics,
        tracing: Tracing,
        door: Door | None = None,
        refusals: Mapping[str, Refusal] | None = None,
        *,
        recorded: Collection[str] = (),
        audit: Auditor | None = None,
        limit: Limit | None = None,
        shedding: Shedding | None = None,
    ) -> None:
        self.recorded = recorded
        self.audit = audit
        self._limit = limit
        self._reader = reader
        self._metrics = metrics
        self._tracing = tracing
        self._door = door
        self._refusals = refusals or {}
        self._shedding = shedding
        self._wrapped: dict[tuple[str, bool], Handler] = {}

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Handler]], details: Any
    ) -> Handler:
        """The wrapped handler of the called method; wrapped once, and once more to be refused."""
        method = details.method
        wanted = method, self._shedding is not None and self._shedding.due(method)
        if wanted not in self._wrapped:
            handler = await continuation(details)
            if handler is None:  # not kept: callers choose the name
                return grpc.unary_unary_rpc_method_handler(self._unary(UNKNOWN, _unknown_method(method)))
            self._wrapped[wanted] = self._wrap(*wanted, handler)
        return self._wrapped[wanted]

    def _wrap(self, method: str, shed: bool, handler: Handler) -> Handler:
        codec = (handler.request_deserializer, handler.response_serializer)
        # A request that is taken as a stream is received when its handler asks for it, so one that is to be
        # refused never is.
        match handler.request_streaming or shed, handler.response_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), *codec)
            case False, True:
                return grpc.unary_stream_rpc_method_handler(
                    self._stream(method, handler.unary_stream), *codec
                )
            case True, False:
                behavior = handler.stream_unary or handler.unary_unary
                return grpc.stream_unary_rpc_method_handler(self._unary(method, behavior, shed), *codec)
            case _:
                behavior = handler.stream_stream or handler.unary_stream
                return grpc.stream_stream_rpc_method_handler(self._stream(method, behavior, shed), *codec)

    def _unary(
        self, method: str, behavior: Callable[..., Any], shed: bool = False
    ) -> Callable[..., Awaitable[Any]]:
        blocking = not inspect.iscoroutinefunction(behavior)

        async def answer(request: Any, context: Any) -> Any:
            call = _Call(self, method, context, request)
            try:
                if (refusal := await self._refused(call, context, shed)) is not None:
                    return refusal
                request = await self._take_in(request, call)
                response = await call.in_time(
                    asyncio.to_thread(behavior, request, context) if blocking else behavior(request, context)
                )
                await call.on_record("OK", response)
            except BaseException as error:
                await call.fail(error)
                raise
            call.end("OK")
            return response

        return answer

    def _stream(
        self, method: str, behavior: Callable[..., Any], shed: bool = False
    ) -> Callable[..., AsyncIterator[Any]]:
        async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
            call = _Call(self, method, context, request)
            try:
                if (refusal := await self._refused(call, context, shed)) is not None:
                    yield refusal
                    return
                request = await self._take_in(request, call)
                # Left to the garbage collector, the work behind it would go on for a while.
                async with aclosing(behavior(request, context)) as responses:
                    while (response := await call.in_time(anext(responses, None))) is not None:
                        yield response
                await call.on_record("OK")
            except BaseException as error:
                await call.fail(error)
                raise
            call.end("OK")

        return answer

    async def _refused(self, call: _Call, context: Any, shed: bool) -> Any:
        """The answer that turns the caller away, in the method's own form; None when the caller may go on.

        Raises Unauthenticated, PermissionDenied and Unavailable where the method has no such form.
        """
        try:
            if call.method != UNKNOWN:
                caller = self._door.admit(call.method, call.metadata) if self._door else None
                callers.enter(caller, call.metadata)
            if shed and self._shedding:
                raise self._shedding.refusal(call.method)
            return None
        except AppError as error:
            call.refusal = error
            if (refuse := self._refusals.get(call.method)) is None:
                raise
            answer = await refuse(error, context)
            await call.on_record(error.code)
            call.end(error.code, error.message)
            return answer

    async def _take_in(self, request: Any, call: _Call) -> Any:
        """The request for its handler; one that can be read takes of its caller's limits.

        A stream of requests is read by the handler.
        """
        if hasattr(request, "DESCRIPTOR"):
            self._reader.read(request, call.metadata.get("idempotency-key", ""))
        else:
            request = call.with_first(request)
        if self._limit and call.method != UNKNOWN:
            await call.in_time(self._limit(call.method, request))
        return request

    def finish(self, call: _Call, code: str, message: str, level: int) -> None:
        """Writes the log line, counts the call and ends its span."""
        seconds = time.perf_counter() - call.began
        verb = call.metadata.get("x-envoy-original-method", "")
        self._metrics.record(verb if verb in VERBS else "GRPC", call.method, code, seconds)
        if call.span:
            self._tracing.end(call.span, code, message)
        if log.isEnabledFor(level):
            fields = {"method": call.method, "code": code, "seconds": round(seconds, 6)}
            if caller := CALLER.get():
                fields |= {"tenant": caller.tenant, "key": caller.key}
            log.log(level, message or "answered", extra={"fields": fields})

    def start_span(self, call: _Call) -> trace.Span | None:
        """The call's span, when traces are sent anywhere."""
        return self._tracing.start(call.method, call.metadata)


class _Call:
    """One call on its way."""

    def __init__(self, interceptor: CallInterceptor, method: str, context: Any, request: Any) -> None:
        self.began = time.perf_counter()
        self.method = method
        self.request = request if hasattr(request, "DESCRIPTOR") else None
        self.refusal: AppError | None = None
        self._noted = False
        self.metadata = dict(context.invocation_metadata() or ())
        self.span = interceptor.start_span(self)
        self.request_id = self.metadata.get("x-request-id", "")[:128] or str(uuid.uuid4())
        self._interceptor = interceptor
        self._context = context
        self._patience = Patience(self._deadline())
        REQUEST_ID.set(self.request_id)
        TRACE_ID.set(trace_id(self.span, self.metadata))

    async def in_time(self, work: Awaitable[Result]) -> Result:
        """What `work` gives; raises DeadlineExceeded when the caller's deadline, less the margin, comes."""
        try:
            return await self._patience.wait(work)
        except TimeoutError:
            if not self._patience.ended:  # a time limit of the handler's own
                raise
            message = "The deadline passed before the answer was ready."
            raise DeadlineExceeded("DEADLINE_EXCEEDED", message) from None

    def _deadline(self) -> float | None:
        """Once for each call: a stream that took a tenth of what was left at each of its messages would have
        no margin in the end."""
        left: float | None = self._context.time_remaining()
        if left is None:
            return None
        return asyncio.get_running_loop().time() + max(left - min(DEADLINE_MARGIN, left / 10), 0)

    async def with_first(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """`requests`; the first says what the call is about."""
        async for request in requests:
            self.request = self.request or request
            yield request

    async def on_record(self, code: str, answer: Any = None) -> None:
        """Returns when the call is written down, if it is to be, and its caller is still to be told `code`.

        Raises DeadlineExceeded. The first code counts: what is done is done, whoever then goes away.
        """
        audit = self._interceptor.audit
        if audit is None or self._noted or self.method == UNKNOWN:
            return
        self._noted = True
        storing = audit.note(self, code, answer, recorded=self._is_recorded())
        if storing and code not in UNTOLD:
            await self.in_time(asyncio.wait((storing,)))

    def end(self, code: str, message: str = "") -> None:
        """Closes the books on the call."""
        self._patience.close()
        quiet = code == "OK" and self._is_no_news()
        level = logging.DEBUG if quiet else logging.INFO
        self._interceptor.finish(self, code, message, level)

    def _is_no_news(self) -> bool:
        """That it went well: of a read, the edge's access log has it, and a line costs a third of it; other
        calls may be on record elsewhere."""
        return self.method.rpartition("/")[2].startswith(READS) or self._is_recorded()

    def _is_recorded(self) -> bool:
        return self.method.removeprefix("/").rpartition("/")[0] in self._interceptor.recorded

    async def fail(self, error: BaseException) -> None:
        """Answers `error` as a status with details; returns when the call is beyond answering."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            await self.on_record("CANCELLED")
            self.end("CANCELLED", "the caller went away")
            return
        if isinstance(error, grpc.aio.AbortError):  # a standard servicer has answered
            code = self._context.code()
            self.end(code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN")
            return
        known = as_app_error(error)
        if isinstance(known, Internal):
            log.error("call failed", exc_info=error)
        status = to_status(known, self.request_id)
        with suppress(DeadlineExceeded):
            await self.on_record(known.code)
        self.end(known.code, status.message)
        await self._context.abort(grpc.StatusCode[known.code], status.message, trailers(status))


def as_app_error(error: BaseException) -> AppError:
    """`error` itself when it is of the family, else INTERNAL without its text."""
    if isinstance(error, AppError):
        return error
    # What went wrong is in the log, under the request id; callers learn nothing of our insides.
    return Internal("INTERNAL", "The service failed on this call; its request id finds it in the logs.")


def _unknown_method(method: str) -> Callable[..., Awaitable[None]]:
    async def refuse(_request: Any, _context: Any) -> None:
        raise Unimplemented("METHOD_UNKNOWN", f"There is no method {method}.", method=method)

    return refuse
