"""Channels to the other services."""

from __future__ import annotations

import ipaddress
import json
from typing import cast

import grpc

from services.chassis.tls import Reopened, TlsFiles

# Calls go round the processes of a service that say SERVING.
_POLICY = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
# Whom a certificate has to be of, whatever the address.
_EXPECTED = "grpc.ssl_target_name_override"
_OPTIONS: list[tuple[str, str | int]] = [
    # A service that was restarted is found again in a second; gRPC waits up to two minutes by itself.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A proxy for the internet is not on the way to a neighbour.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config", json.dumps(_POLICY)),
]


def open_channel(addresses: str, tls: TlsFiles | None = None) -> grpc.Channel:
    """A channel that is kept; it connects at the first call, and its calls block.

    addresses: `host:port`, of a name with any number of addresses; or several of IPs with commas between.
    Raises ValueError for several of another kind.
    """
    target = _target(addresses)
    if tls is None:
        return grpc.insecure_channel(target, _OPTIONS)
    options = [*_OPTIONS, (_EXPECTED, tls.name)]
    return cast(grpc.Channel, Reopened(tls, lambda shown: grpc.secure_channel(target, shown, options)))


def open_async_channel(addresses: str, tls: TlsFiles | None = None) -> grpc.aio.Channel:
    """The same for the event loop."""
    target = _target(addresses)
    if tls is None:
        return grpc.aio.insecure_channel(target, _OPTIONS)
    options = [*_OPTIONS, (_EXPECTED, tls.name)]
    return cast(
        grpc.aio.Channel, Reopened(tls, lambda shown: grpc.aio.secure_channel(target, shown, options))
    )


def _target(addresses: str) -> str:
    """As gRPC writes it."""
    if "," not in addresses:
        return addresses
    versions = {
        ipaddress.ip_address(one.rpartition(":")[0].strip("[]")).version for one in addresses.split(",")
    }
    if len(versions) > 1:
        raise ValueError(f"{addresses} are of both versions of IP")
    return f"ipv{versions.pop()}:{addresses}"
