"""As whom a client calls, and on whose behalf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from mlapi_client.errors import InvalidValue

TENANT = "x-tenant"
API_KEY = "authorization"


def identified(channel: grpc.Channel, tenant: str, api_key: str) -> grpc.Channel:
    """The channel, with every call on it made with this key and for this tenant, each unless empty.

    Raises InvalidValue for what no header can carry; the service may refuse more.
    """
    for name, value in (("tenant", tenant), ("api_key", api_key)):
        if not (value.isascii() and value.isprintable()):
            raise InvalidValue.of(name, "has other than printable ASCII characters")
    headers = {TENANT: tenant, API_KEY: f"Bearer {api_key}" if api_key else ""}
    sent = tuple((name, value) for name, value in headers.items() if value)
    return grpc.intercept_channel(channel, _Identity(sent)) if sent else channel


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Identity(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the headers to calls of every kind."""

    def __init__(self, headers: tuple[tuple[str, str], ...]) -> None:
        self._headers = headers

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
            (*(details.metadata or ()), *self._headers),
            details.credentials,
            details.wait_for_ready,
            details.compression,
        )
