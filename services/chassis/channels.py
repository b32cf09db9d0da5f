"""Channels to the other services."""

from __future__ import annotations

import grpc

_OPTIONS = [
    # A service that was restarted is found again in a second; gRPC waits up to two minutes by itself.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A proxy for the internet is not on the way to a neighbour.
    ("grpc.enable_http_proxy", 0),
]


def open_channel(address: str) -> grpc.Channel:
    """A channel that is kept; it connects at the first call, and its calls block."""
    return grpc.insecure_channel(address, _OPTIONS)


def open_async_channel(address: str) -> grpc.aio.Channel:
    """The same for the event loop."""
    return grpc.aio.insecure_channel(address, _OPTIONS)
