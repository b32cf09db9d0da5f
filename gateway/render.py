"""Fills in envoy.yaml: `python -m gateway.render` prints the configuration of the environment's settings."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from gateway.settings import HERE, EdgeSettings
from services.chassis.settings import load

TRACING, HTTPS, MUTUAL = "#tracing# ", "#https# ", "#mutual# "
# Envoy reads certificates again only where a file names them, one in each.
SECRETS = ("edge", "service", "ca")
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
# Envoy's timeout is the fallback for a service that does not keep its deadline.
FALLBACK_SECONDS = 5
# Where collectors listen, for an endpoint that does not say it.
OTLP_PORT = 4317


def render(settings: EdgeSettings) -> str:
    """Envoy's configuration; raises KeyError for a name in the file that is not filled in."""
    text = (HERE / "envoy.yaml").read_text()
    otlp = settings.otel_exporter_otlp_endpoint
    wanted = {TRACING: settings.exports("traces"), HTTPS: settings.edge_tls_cert_file, MUTUAL: settings.tls}
    for mark in (mark for mark, given in wanted.items() if given):
        text = text.replace(mark, "")
    names = {
        "HOST": json.dumps(settings.host),
        "PORT": settings.port,
        "ADMIN_PORT": settings.admin_port,
        "ACCESS_LOG": settings.access_log,
        "DESCRIPTOR_SET": settings.descriptor_set,
        **{f"SECRET_{name.upper()}": _sds(secret_file(settings, name)) for name in SECRETS},
        "TLS_SERVER_NAME": json.dumps(settings.tls_server_name),
        "MAX_JSON_BYTES": settings.max_json_bytes,
        "GRPC_TIMEOUT": f"{round(settings.request_timeout * 1000)}m",
        "ROUTE_TIMEOUT": f"{settings.request_timeout + FALLBACK_SECONDS:g}s",
        "TRAINING_ENDPOINTS": _endpoints(settings.training_address),
        "AI_GATEWAY_ENDPOINTS": _endpoints(settings.ai_gateway_address),
        "HEALTH_ENDPOINTS": _endpoints(settings.health_address),
        "OTLP_ENDPOINTS": _endpoints(otlp, OTLP_PORT),
    }
    return Template(text).substitute(names)


def secret_file(settings: EdgeSettings, name: str) -> Path:
    """Where one of SECRETS is looked up."""
    return settings.data_dir.resolve() / f"tls-{name}.json"


def secrets(settings: EdgeSettings) -> dict[str, str]:
    """What belongs into the files of those of SECRETS that the configuration names."""
    found: dict[str, dict[str, Any]] = {}
    if settings.edge_tls_cert_file and settings.edge_tls_key_file:
        found["edge"] = _certificate(settings.edge_tls_cert_file, settings.edge_tls_key_file)
    if settings.tls:
        found["service"] = _certificate(settings.tls.cert, settings.tls.key)
        authority = {"trusted_ca": _file(settings.tls.ca)} | _watched(settings.tls.ca)
        found["ca"] = {"validation_context": authority}
    return {name: _resource(name, one) for name, one in found.items()}


def _resource(name: str, one: dict[str, Any]) -> str:
    return json.dumps({"resources": [{"@type": _SECRET, "name": name, **one}]})


def _certificate(cert: Path, key: Path) -> dict[str, Any]:
    return {"tls_certificate": {"certificate_chain": _file(cert), "private_key": _file(key)} | _watched(cert)}


def _file(path: Path) -> dict[str, str]:
    return {"filename": str(path.absolute())}


def _watched(path: Path) -> dict[str, Any]:
    """Read again when something is moved into the file's folder: so Kubernetes replaces files."""
    return {"watched_directory": {"path": str(path.absolute().parent)}}


def _sds(path: Path) -> str:
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    return json.dumps(source)


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
