"""A collector: keeps the spans, logs and metrics that it is sent by OTLP/gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Seen:
    """A span. attributes: their values, lists as lists."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    status: int
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """A log record."""

    service: str
    body: str
    trace_id: str
    attributes: dict[str, Any]


@dataclass
class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """See the module."""

    spans: list[Seen] = field(default_factory=list)
    logs: list[Said] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)  # service → name → its newest data
    raw: list[bytes] = field(default_factory=list)  # of all three

    def Export(self, request: Any, context: Any) -> Any:
        self.raw.append(request.SerializeToString())
        for resource in request.resource_spans:
            service = _service(resource)
            for scope in resource.scope_spans:
                self.spans.extend(_seen(service, span) for span in scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def take_logs(self, request: Any, context: Any) -> Any:
        self.raw.append(request.SerializeToString())
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                self.logs.extend(_said(_service(resource), record) for record in scope.log_records)
        return logs_service_pb2.ExportLogsServiceResponse()

    def take_metrics(self, request: Any, context: Any) -> Any:
        self.raw.append(request.SerializeToString())
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                known = self.metrics.setdefault(_service(resource), {})
                known.update({metric.name: metric for metric in scope.metrics})
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def wait(self, wanted: Callable[[list[Seen]], list[Seen]], seconds: float = 20) -> list[Seen]:
        """What `wanted` finds among the spans, once it finds any; fails when it never does."""
        until = time.monotonic() + seconds
        while not (found := wanted(list(self.spans))):
            assert time.monotonic() < until, {(span.service, span.name) for span in self.spans}
            time.sleep(0.05)
        return found


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    """The collector and its endpoint."""
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    logs, metrics = (
        logs_service_pb2_grpc.LogsServiceServicer(),
        metrics_service_pb2_grpc.MetricsServiceServicer(),
    )
    logs.Export, metrics.Export = receiver.take_logs, receiver.take_metrics
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(logs, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(metrics, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0)


def _service(resource: Any) -> str:
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    return named.get("service.name", "")


def _said(service: str, record: Any) -> Said:
    attributes = {one.key: _value(one.value) for one in record.attributes}
    return Said(service, record.body.string_value, record.trace_id.hex(), attributes)


def _seen(service: str, span: Any) -> Seen:
    attributes = {one.key: _value(one.value) for one in span.attributes}
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Seen(service, span.name, span.kind, *ids, span.status.code, attributes)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_value(one) for one in found.values] if kind == "array_value" else found
