"""On whose behalf a client calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from mlapi_client.errors import InvalidValue

HEADER = "x-tenant"


def for_tenant(channel: grpc.Channel, name: str) -> grpc.Channel:
    """The channel, with every call on it made for the tenant `name`.

    Raises InvalidValue for what no header can carry; the service may refuse more.
    """
    if not (name.isascii() and name.isprintable()):
        raise InvalidValue.of("tenant", f"{name!r} has other than printable ASCII characters")
    return grpc.intercept_channel(channel, _Tenancy(name))


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Tenancy(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the header to calls of every kind."""

    def __init__(self, name: str) -> None:
        self._name = name

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._named(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._named(client_call_details), request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._named(client_call_details), request_iterator)

    def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(self._named(client_call_details), request_iterator)

    def _named(self, details: Any) -> _CallDetails:
        return _CallDetails(
            details.method,
            details.timeout,
            (*(details.metadata or ()), (HEADER, self._name)),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
