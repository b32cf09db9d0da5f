"""One channel to one address: deadlines, retries, and gRPC's errors turned into the family of `errors`."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from mlapi_client.errors import (
    CLASSES,
    DeadlineExceeded,
    FieldViolation,
    InvalidValue,
    MlapiError,
    Unavailable,
)
from mlapi_client.identity import identified

Request = TypeVar("Request")
Response = TypeVar("Response")
Detail = TypeVar("Detail", bound=Message)

OPTIONS: list[tuple[str, int]] = [
    # The profile of a wide dataset is large, and an error names up to 25 fields in its trailers.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_metadata_size", 128 * 1024),
    # A dead peer is noticed within a minute, though a watch may be silent for long.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A service that has just been started again is found at once, and not after gRPC's 1 to 120 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
LOOPBACK = ("127.", "localhost", "[::1]", "ipv4:127.", "unix:")


@dataclass(frozen=True)
class Retry:
    """How often a call that is safe to repeat is tried, and how long each pause is, in seconds.

    A watch is more patient: it outlasts two minutes in which the service or its database is away.
    """

    attempts: int = 5
    watch_attempts: int = 30  # in a row that bring nothing new
    first_pause: float = 0.1
    longest_pause: float = 5.0

    def pauses(self, attempts: int) -> Iterator[float]:
        """The pauses between `attempts`: each up to twice as long as the one before, half of it by chance."""
        for attempt in range(attempts - 1):
            pause = min(self.longest_pause, self.first_pause * 2**attempt)
            yield pause * random.uniform(0.5, 1)


class Deadline:
    """A point in time, or never."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, at least 0; None for ever."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def allows(self, pause: float) -> bool:
        """Whether there is time for anything after `pause` seconds."""
        left = self.left
        return left is None or left > pause


class Connection:
    """A channel. Used by any number of threads at once.

    tenant: whom every call is for, when not empty. api_key: shown on every call, when not empty.
    address: `https://…` is over TLS. ca_file: of the CA to trust, as PEM; those that gRPC knows when empty.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        retry: Retry,
        *,
        tenant: str = "",
        api_key: str = "",
        ca_file: str = "",
    ) -> None:
        secure, self.address = address.startswith("https://"), _bare(address)
        self.timeout = timeout
        self.retry = retry
        proxy = [("grpc.enable_http_proxy", 0)] if self.address.startswith(LOOPBACK) else []
        options = [*OPTIONS, *proxy]
        if secure or ca_file:
            channel = grpc.secure_channel(self.address, _trusting(ca_file), options=options)
        else:
            channel = grpc.insecure_channel(self.address, options=options)
        self.channel = identified(channel, tenant, api_key)

    def close(self) -> None:
        """Ends every call in flight."""
        self.channel.close()

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        repeatable: bool,
    ) -> Response:
        """Answers within `timeout`, attempts and pauses included; repeats UNAVAILABLE when `repeatable`."""
        deadline = Deadline(self.timeout)
        pauses = self.retry.pauses(self.retry.attempts) if repeatable else iter(())
        while True:
            try:
                return method(request, timeout=deadline.left)
            except grpc.RpcError as error:
                raised = self.error(error)
                if not isinstance(raised, Unavailable):
                    raise raised from error
                pause_or_raise(raised, pauses, deadline)

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        timeout: float | None,
    ) -> Iterator[Response]:
        """The messages of a stream; leaving it early cancels the call."""
        call: Any = method(request, timeout=timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self.error(error) from error
        finally:
            call.cancel()

    def error(self, error: Any) -> MlapiError:
        """The error of the family for a grpc.RpcError."""
        status = _status(error)
        if status is None:
            return self._bare_error(error)
        return _from_status(error.code().name, status)

    def _bare_error(self, error: Any) -> MlapiError:
        """An error without details: not from our services, but from something on the way."""
        code, details = error.code().name, error.details() or ""
        if code == "INTERNAL" and "RST_STREAM" in details:  # how a proxy ends a stream whose service is gone
            code = "UNAVAILABLE"
        if code == "UNAVAILABLE" and "onnection refused" in details:
            return Unavailable(code, "UNREACHABLE", f"Nothing listens at {self.address}; is it running?")
        if code == "UNAVAILABLE":
            return Unavailable(code, "UNREACHABLE", f"{self.address} does not answer: {details}")
        if code == "DEADLINE_EXCEEDED":
            return DeadlineExceeded(code, code, f"{self.address} did not answer in time.")
        return CLASSES.get(code, MlapiError)(code, code, details or code)


def pause_or_raise(error: MlapiError, pauses: Iterator[float], deadline: Deadline) -> None:
    """Waits before the next attempt, at least as long as the service asks; raises when there is none."""
    pause = next(pauses, None)
    if pause is None:
        raise error
    pause = max(pause, error.retry_after or 0.0)
    if not deadline.allows(pause):
        raise error
    time.sleep(pause)


def _status(error: Any) -> status_pb2.Status | None:
    """The google.rpc.Status in the trailers or, as the edge writes it, in the message; or None."""
    try:
        status: status_pb2.Status | None = rpc_status.from_call(error)
        return status or json_format.Parse(error.details() or "", status_pb2.Status())
    except (ValueError, json_format.ParseError):  # it contradicts the code; it is some other text
        return None


def _from_status(code: str, status: status_pb2.Status) -> MlapiError:
    info = _detail(status, error_details_pb2.ErrorInfo()) or error_details_pb2.ErrorInfo(reason=code)
    bad = _detail(status, error_details_pb2.BadRequest()) or error_details_pb2.BadRequest()
    retry = _detail(status, error_details_pb2.RetryInfo())
    violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
    delay = retry.retry_delay.ToTimedelta().total_seconds() if retry else None
    kind = CLASSES.get(code, MlapiError)
    return kind(code, info.reason, status.message, violations, dict(info.metadata), retry_after=delay)


def _detail(status: status_pb2.Status, message: Detail) -> Detail | None:
    """The first detail of the type of `message`, unpacked into it."""
    return message if any(detail.Unpack(message) for detail in status.details) else None


def _bare(address: str) -> str:
    """`host:port`; a URL without one means its scheme's."""
    for scheme, port in (("https://", 443), ("http://", 80)):
        if address.startswith(scheme):
            place = address.removeprefix(scheme).rstrip("/")
            return place if re.search(r":\d+$", place) else f"{place}:{port}"
    return address.rstrip("/")


def _trusting(ca_file: str) -> grpc.ChannelCredentials:
    """Raises InvalidValue, a ValueError, for a file that cannot be read."""
    try:
        return grpc.ssl_channel_credentials(Path(ca_file).read_bytes() if ca_file else None)
    except OSError as error:
        raise InvalidValue.of("ca_file", f"{ca_file} cannot be read: {error.strerror}") from None
