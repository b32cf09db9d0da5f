"""Logs and metrics by OTLP/gRPC; traces are in `telemetry`.

Metrics are those of the Prometheus registry, read as a scrape reads them: two ways out, one truth, and the
same names. The exporters read the standard OTEL_EXPORTER_OTLP_* variables themselves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event, Thread
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import set_span_in_context
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from services.chassis.logs import REQUEST_ID, Redacting
from services.chassis.redaction import redacted
from services.chassis.telemetry import VERSION
from services.chassis.traced import CALL

SCOPE = "ml-training-api"
# What the exporters themselves have to say would be sent by them, and so on without end.
OWN = ("opentelemetry", "grpc")
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}
_Labels = tuple[tuple[str, str], ...]


class OtlpLogs(logging.Handler):
    """Sends records, without what `Redacting` takes out, each with its request, trace and span."""

    def __init__(self, resource: Resource) -> None:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: PLC0415

        super().__init__()
        self._provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._logger = self._provider.get_logger(SCOPE, VERSION)
        self.addFilter(Redacting())

    def emit(self, record: logging.LogRecord) -> None:
        """Queues it; a queue that is full loses the oldest."""
        if record.name.partition(".")[0] in OWN:
            return
        traced = CALL.get()
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=set_span_in_context(traced.span) if traced else None,
                severity_text=record.levelname,
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                body=record.getMessage(),
                attributes=_attributes(record),
            )
        )

    def end(self) -> None:
        """Sends what is left, and nothing more."""
        self._provider.shutdown()


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = {"logger": record.name}
    if request_id := REQUEST_ID.get():  # the caller says what it is
        found["request_id"] = redacted(request_id)
    for name, value in getattr(record, "fields", {}).items():
        found[name] = value if isinstance(value, str | bool | int | float) else str(value)
    if record.exc_text:
        found["exception.stacktrace"] = record.exc_text
    return found


class OtlpMetrics:
    """Sends all of a registry, every so many seconds and once at the end."""

    def __init__(self, resource: Resource, registry: CollectorRegistry, seconds: float) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        self._exporter = OTLPMetricExporter()
        self._resource, self._registry, self._seconds = resource, registry, seconds
        self._began = time.time_ns()
        self._ending = Event()
        self._thread = Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Sends the last figures."""
        self._ending.set()
        self._thread.join()
        self._exporter.shutdown()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ending.wait(self._seconds)
            try:
                self._exporter.export(self._data())
            except Exception:
                logging.getLogger(__name__).warning("metrics could not be read", exc_info=True)

    def _data(self) -> MetricsData:
        metrics = metrics_of(self._registry.collect(), self._began, time.time_ns())
        scope = ScopeMetrics(InstrumentationScope(SCOPE, VERSION), metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def metrics_of(families: Iterable[Family], began: int, now: int) -> list[Metric]:
    """The same figures in OTLP's terms, under the names of the samples. Times are nanoseconds.

    began: since when counters count. Histograms lose nothing: bounds and counts are carried over.
    """
    makers: Mapping[str, Callable[[Family, int, int], Metric | None]] = {
        "counter": _sum,
        "gauge": _gauge,
        "histogram": _histogram,
    }
    made = (makers[one.type](one, began, now) for one in families if one.type in makers)
    return [one for one in made if one is not None]


def _sum(family: Family, began: int, now: int) -> Metric | None:
    name = f"{family.name}_total"
    points = [
        NumberDataPoint(sample.labels, began, now, float(sample.value))
        for sample in family.samples
        if sample.name == name
    ]
    data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Metric(name, family.documentation, "", data) if points else None


def _gauge(family: Family, began: int, now: int) -> Metric | None:
    points = [NumberDataPoint(one.labels, began, now, float(one.value)) for one in family.samples]
    return Metric(family.name, family.documentation, "", Gauge(points)) if points else None


def _histogram(family: Family, began: int, now: int) -> Metric | None:
    buckets: dict[_Labels, list[tuple[float, float]]] = {}
    sums: dict[_Labels, float] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    points = [_point(labels, found, sums[labels], began, now) for labels, found in buckets.items()]
    data = Histogram(points, AggregationTemporality.CUMULATIVE)
    return Metric(family.name, family.documentation, "", data) if points else None


def _point(
    labels: _Labels, buckets: list[tuple[float, float]], total: float, began: int, now: int
) -> HistogramDataPoint:
    """Prometheus adds buckets up, OTLP does not."""
    bounds, heights = zip(*sorted(buckets), strict=True)
    counts = [int(high - low) for low, high in zip((0.0, *heights), heights, strict=False)]
    unknown: Any = None  # the least and the most, which OTLP may go without
    count = int(heights[-1])
    return HistogramDataPoint(
        dict(labels), began, now, count, total, counts, bounds[:-1], min=unknown, max=unknown
    )
