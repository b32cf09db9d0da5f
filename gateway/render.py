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
        **_host_and_port("TRAINING", settings.training_address),
        **_host_and_port("AI_GATEWAY", settings.ai_gateway_address),
        **_host_and_port("HEALTH", settings.health_address),
        **_host_and_port("OTLP", otlp, OTLP_PORT),
    }
    return Template(text).substitute(names)


def _host_and_port(name: str, address: str, port: int | None = None) -> dict[str, object]:
    """Of `host:port` or a URL. The host is quoted: of an IPv6 address YAML would make something else."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    return {f"{name}_HOST": json.dumps(parts.hostname), f"{name}_PORT": parts.port or port}


if __name__ == "__main__":
    print(render(load(EdgeSettings)))
