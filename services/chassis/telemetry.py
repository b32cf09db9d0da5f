"""Request metrics for Prometheus and traces for OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.chassis.redaction import redacted
from services.chassis.traced import CALL, Attribute, Traced

VERSION = "1.0.0"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_TRACEPARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# The caller's mistakes are not this server's errors: OpenTelemetry's rule for RPC server spans.
_SERVER_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}


class RequestMetrics:
    """`ml_api_requests_total{method,endpoint,code}` and `ml_api_request_duration_seconds{method,endpoint}`.

    method: the HTTP verb behind Envoy, `GRPC` for a native call. endpoint: the RPC. code: its gRPC code.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["method", "endpoint"]
        total = Counter("ml_api_requests_total", "Requests answered", [*labels, "code"], registry=registry)
        duration = Histogram(
            "ml_api_request_duration_seconds", "Time to answer", labels, buckets=BUCKETS, registry=registry
        )
        # `labels()` takes a lock and builds a tuple; a request should not pay for that again.
        self._total = cache(total.labels)
        self._duration = cache(duration.labels)

    def record(self, method: str, endpoint: str, code: str, seconds: float) -> None:
        """Counts one answered request."""
        self._total(method, endpoint, code).inc()
        self._duration(method, endpoint).observe(seconds)


class Tracing:
    """Server spans by OTLP/gRPC when an endpoint is set; nothing at all otherwise."""

    def __init__(self, service: str, endpoint: str) -> None:
        self._provider = _provider(service) if endpoint else None
        self._tracer = self._provider.get_tracer("ml-training-api", VERSION) if self._provider else None
        self._propagator = TraceContextTextMapPropagator()

    def start(self, endpoint: str, metadata: Mapping[str, str]) -> Span | None:
        """A span for a call to `/package.Service/Method`, child of the caller's `traceparent`.

        From here on code below the handler finds it in `traced`.
        """
        if self._tracer is None:
            return None
        context = self._propagator.extract(metadata)
        service, _, method = endpoint.lstrip("/").partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        span = self._tracer.start_span(endpoint, context, kind=SpanKind.SERVER, attributes=attributes)
        CALL.set(Traced(self._tracer, span))
        return span

    def end(self, span: Span, code: str, message: str) -> None:
        """Ends `span` with the call's gRPC code."""
        span.set_attribute("rpc.response.status_code", code)
        if code in _SERVER_ERRORS:
            span.set_status(Status(StatusCode.ERROR, redacted(message)))
        span.end()

    def begin(self, name: str, traceparent: str, attributes: Mapping[str, Attribute]) -> Span | None:
        """A span for work of this process that nobody waits for, part of the trace that asked for it.

        From here on code below finds it in `traced`; whoever ends it calls `end`.
        """
        if self._tracer is None:
            return None
        context = self._propagator.extract({"traceparent": traceparent})
        span = self._tracer.start_span(name, context, kind=SpanKind.CONSUMER, attributes=attributes)
        CALL.set(Traced(self._tracer, span))
        return span

    def close(self) -> None:
        """Sends what is left."""
        if self._provider:
            self._provider.shutdown()


def trace_id(span: Span | None, metadata: Mapping[str, str]) -> str:
    """The trace that a call belongs to, as 32 hex digits; empty when nobody traces."""
    if span is not None:
        return trace.format_trace_id(span.get_span_context().trace_id)
    found = _TRACEPARENT.fullmatch(metadata.get("traceparent", ""))
    return found[1] if found else ""


def resource(service: str) -> Resource:
    """Who says it: the service, and what OTEL_RESOURCE_ATTRIBUTES adds."""
    return Resource.create({SERVICE_NAME: service, SERVICE_VERSION: VERSION})


def _provider(service: str) -> TracerProvider:
    # A fifth of a second at start that only those who trace should pay.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    provider = TracerProvider(resource=resource(service))
    # The exporter reads the standard OTEL_EXPORTER_OTLP_* variables itself.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
