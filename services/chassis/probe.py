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

TIMEOUT_SECONDS = 4.0
SERVING = health_pb2.HealthCheckResponse.SERVING


def main() -> int:
    """Asks once."""
    settings = load(ProbeSettings)
    try:
        return _edge(settings) if settings.is_edge else _service(settings)
    except grpc.RpcError as error:
        print(f"{settings.address}: {error.code().name}: {error.details()}", file=sys.stderr)
    except OSError as error:  # HTTP's errors are of this kind too
        print(f"{settings.address}: {error}", file=sys.stderr)
    return 1


def _service(settings: ProbeSettings) -> int:
    with _channel(settings) as channel:
        request = health_pb2.HealthCheckRequest()
        answer = health_pb2_grpc.HealthStub(channel).Check(
            request, timeout=TIMEOUT_SECONDS, wait_for_ready=False
        )
    if answer.status == SERVING:
        return 0
    print(f"{settings.address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}", file=sys.stderr)
    return 1


def _channel(settings: ProbeSettings) -> grpc.Channel:
    options = [("grpc.enable_http_proxy", 0)]
    if not (settings.tls_cert_file and settings.tls_key_file and settings.tls_ca_file):
        return grpc.insecure_channel(settings.address, options)
    shown = grpc.ssl_channel_credentials(
        settings.tls_ca_file.read_bytes(), settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes()
    )
    named = [*options, ("grpc.ssl_target_name_override", settings.tls_server_name)]
    return grpc.secure_channel(settings.address, shown, named)


def _edge(settings: ProbeSettings) -> int:
    # The certificate is for the names that callers use; that it is ours is not in doubt within the container.
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    scheme = "https" if settings.edge_tls_cert_file else "http"
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=anyone)
    )
    with opener.open(f"{scheme}://{settings.address}/readyz", timeout=TIMEOUT_SECONDS):
        return 0


if __name__ == "__main__":
    sys.exit(main())
