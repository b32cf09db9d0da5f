"""Fills in envoy.yaml: `python -m gateway.render` prints the configuration of the environment's settings."""

from __future__ import annotations

from string import Template
from urllib.parse import urlsplit

from gateway.settings import HERE, EdgeSettings
from services.chassis.settings import load

TRACING = "#tracing# "
# Envoy's timeout is the fallback for a service that does not keep its deadline.
FALLBACK_SECONDS = 5


def render(settings: EdgeSettings) -> str:
    """Envoy's configuration; raises KeyError for a name in the file that is not filled in."""
    text = (HERE / "envoy.yaml").read_text()
    otlp = urlsplit(settings.otel_exporter_otlp_endpoint)
    if settings.otel_exporter_otlp_endpoint:
        text = text.replace(TRACING, "")
    names = {
        "HOST": settings.host,
        "PORT": settings.port,
        "ADMIN_PORT": settings.admin_port,
        "ACCESS_LOG": settings.access_log,
        "DESCRIPTOR_SET": settings.descriptor_set,
        "MAX_JSON_BYTES": settings.max_json_bytes,
        "GRPC_TIMEOUT": f"{round(settings.request_timeout * 1000)}m",
        "ROUTE_TIMEOUT": f"{settings.request_timeout + FALLBACK_SECONDS:g}s",
        **_host_and_port("TRAINING", settings.training_address),
        **_host_and_port("AI_GATEWAY", settings.ai_gateway_address),
        **_host_and_port("HEALTH", settings.health_address),
        "OTLP_HOST": otlp.hostname,
        "OTLP_PORT": otlp.port or 4317,
    }
    return Template(text).substitute(names)


def _host_and_port(service: str, address: str) -> dict[str, str]:
    host, _, port = address.rpartition(":")
    return {f"{service}_HOST": host, f"{service}_PORT": port}


if __name__ == "__main__":
    print(render(load(EdgeSettings)))
