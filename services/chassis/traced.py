"""The call that is being traced, for code below its handler. When nobody traces, all of it is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attribute: TypeAlias = str | bool | int | float | list[str]


@dataclass(slots=True)
class Traced:
    """A call. facts: what the spans below it should say as well. attempts: how many those are so far.
    sums: numbers on its own span that grow.
    """

    tracer: Tracer
    span: Span
    facts: dict[str, Attribute] = field(default_factory=dict)
    attempts: int = 0
    sums: dict[str, int] = field(default_factory=dict)

    def attempt(self, name: str, attributes: Mapping[str, Attribute]) -> Span:
        """A span for a call to somebody else, below this one."""
        self.attempts += 1
        return self.tracer.start_span(
            name,
            set_span_in_context(self.span),
            kind=SpanKind.CLIENT,
            attributes={**attributes, **self.facts},
        )


CALL: ContextVar[Traced | None] = ContextVar("traced_call", default=None)
# Whom a request that is being made belongs to. Each attempt sets it anew before it sends.
ATTEMPT: ContextVar[Span | None] = ContextVar("traced_attempt", default=None)
_NOTHING: Mapping[str, str] = {}
_propagator = TraceContextTextMapPropagator()


def tell(name: str, value: Attribute) -> None:
    """Puts a fact on the call's span, and on those of the attempts that are still to come."""
    if (traced := CALL.get()) is not None:
        traced.facts[name] = value
        traced.span.set_attribute(name, value)


def tell_own(facts: Mapping[str, Attribute], more: Mapping[str, int]) -> None:
    """Puts facts on the call's span alone, and adds to its numbers; a span that has ended takes none."""
    traced = CALL.get()
    if traced is None or not traced.span.is_recording():
        return
    for name, amount in more.items():
        traced.sums[name] = traced.sums.get(name, 0) + amount
    traced.span.set_attributes({**facts, **traced.sums})


def traceparent() -> str:
    """Names the call to whoever works for it later; empty when nobody traces."""
    traced = CALL.get()
    if traced is None:
        return ""
    found: dict[str, str] = {}
    _propagator.inject(found, set_span_in_context(traced.span))
    return found.get("traceparent", "")


def headers() -> Mapping[str, str]:
    """`traceparent` and `tracestate` for the request of the attempt that is under way."""
    span = ATTEMPT.get()
    if span is None:
        return _NOTHING
    found: dict[str, str] = {}
    _propagator.inject(found, set_span_in_context(span))
    return found
