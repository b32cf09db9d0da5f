"""Fills in envoy.yaml: `python -m gateway.render` prints the configuration of the environment's settings."""

from __future__ import annotations

import json
from string import Template
from urllib.parse import urlsplit

from gateway.settings import HERE, EdgeSettings
from services.chassis.settings import load

TRACING = "#tracing# "
# Envoy's timeout is the fallback for a service that does not keep its deadline.
FALLBACK_SECONDS = 5
# Where collectors listen, for an endpoint that does not say it.
OTLP_PORT = 4317


def render(settings: EdgeSettings) -> str:
    """Envoy's configuration; raises KeyError for a name in the file that is not filled in."""
    text = (HERE / "envoy.yaml").read_text()
    otlp = settings.otel_exporter_otlp_endpoint
    if otlp:
        text = text.replace(TRACING, "")
    names = {
        "HOST": json.dumps(settings.host),
        "PORT": settings.port,
        "ADMIN_PORT": settings.admin_port,
        "ACCESS_LOG": settings.access_log,
        "DESCRIPTOR_SET": settings.descriptor_set,
        "MAX_JSON_BYTES": settings.max_json_bytes,
        "GRPC_TIMEOUT": f"{round(settings.request_timeout * 1000)}m",
        "ROUTE_TIMEOUT": f"{settings.request_timeout + FALLBACK_SECONDS:g}s",
        "TRAINING_ENDPOINTS": _endpoints(settings.training_address),
        "AI_GATEWAY_ENDPOINTS": _endpoints(settings.ai_gateway_address),
        "HEALTH_ENDPOINTS": _endpoints(settings.health_address),
        "OTLP_ENDPOINTS": _endpoints(otlp, OTLP_PORT),
    }
    return Template(text).substitute(names)


def _endpoints(addresses: str, port: int | None = None) -> str:
    """Of `host:port` or a URL, or several with commas between, as JSON, which YAML can read."""
    found = []
    for address in addresses.split(","):
        parts = urlsplit(address if "//" in address else f"//{address}")
        place = {"address": parts.hostname, "port_value": parts.port or port}
        found.append({"endpoint": {"address": {"socket_address": place}}})
    return json.dumps(found)


if __name__ == "__main__":
    print(render(load(EdgeSettings)))
