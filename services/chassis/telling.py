"""What a process tells by OTLP: traces, metrics and logs, each unless it is turned off."""

from __future__ import annotations

import logging
from threading import Thread

from prometheus_client import CollectorRegistry

from services.chassis.settings import ServiceSettings
from services.chassis.telemetry import Tracing, resource


class Telling:
    """Begins to send, when there is an endpoint. registry: whose metrics are sent; none are without one.

    tracing: makes spans, or nothing.
    """

    def __init__(self, name: str, settings: ServiceSettings, registry: CollectorRegistry | None) -> None:
        name = settings.otel_service_name or name
        endpoint = settings.otel_exporter_otlp_endpoint
        self.tracing = Tracing(name, endpoint if settings.exports("traces") else "")
        self._metrics, self._logs = None, None
        if not (settings.exports("metrics") or settings.exports("logs")):
            return
        # The exporters take a moment to import, which only those who send should pay.
        from services.chassis.otlp import OtlpLogs, OtlpMetrics  # noqa: PLC0415

        if registry is not None and settings.exports("metrics"):
            seconds = settings.otel_metric_export_interval / 1000
            self._metrics = OtlpMetrics(resource(name), registry, seconds)
        if settings.exports("logs"):
            self._logs = OtlpLogs(resource(name))
            logging.getLogger().addHandler(self._logs)

    def end_within(self, seconds: float) -> None:
        """The same; gives up after so long."""
        ending = Thread(target=self.end, daemon=True)
        ending.start()
        ending.join(seconds)

    def end(self) -> None:
        """Sends what is left. May take as long as a collector that is away is waited for."""
        if self._metrics:
            self._metrics.end()
        self.tracing.close()
        if self._logs:
            logging.getLogger().removeHandler(self._logs)
            self._logs.end()
