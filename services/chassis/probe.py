"""Whether this container is well: `python -m services.chassis.probe` ends with 0, or with 1 and the reason.

A service is asked by `grpc.health.v1`, the edge by `/readyz`. No key is needed for either.
"""

from __future__ import annotations

import ssl
import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis.settings import ProbeSettings, load
from services.chassis.tls import channel_credentials

# Less than what the container's engine waits, so that the reason is said.
TIMEOUT_SECONDS = 4.0


def main() -> int:
    """Asks once."""
    settings = load(ProbeSettings)
    wrong = complaint(settings)
    if wrong:
        sys.stderr.write(f"{settings.address}: {wrong}\n")
    return 1 if wrong else 0


def complaint(settings: ProbeSettings) -> str:
    """What is not well; empty when nothing is."""
    try:
        return _of_edge(settings) if settings.is_edge else _of_service(settings)
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    except OSError as error:  # HTTP's errors are of this kind too
        return str(error)


def _of_service(settings: ProbeSettings) -> str:
    with _channel(settings) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    states = health_pb2.HealthCheckResponse.ServingStatus
    return "" if answer.status == states.Value("SERVING") else str(states.Name(answer.status))


def _channel(settings: ProbeSettings) -> grpc.Channel:
    """Shows the service's own certificate, when services ask each other for one."""
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if settings.tls is None:
        return grpc.insecure_channel(settings.address, options)
    options.append(("grpc.ssl_target_name_override", settings.tls.name))
    return grpc.secure_channel(settings.address, channel_credentials(settings.tls), options)


def _of_edge(settings: ProbeSettings) -> str:
    # Its certificate is for the names that callers use, and who answers within the container is not in doubt.
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anyone)
    )
    scheme = "https" if settings.edge_tls_cert_file else "http"
    with opener.open(f"{scheme}://{settings.address}/readyz", timeout=TIMEOUT_SECONDS):
        return ""


if __name__ == "__main__":
    sys.exit(main())
