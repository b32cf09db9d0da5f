"""Mutual TLS between the edge and the services, and among these. Files may be replaced at any time.

Whoever has a certificate of the CA is one of us: it is a CA for nothing else. Certificates name one DNS name,
the same for all (`TLS_SERVER_NAME`), since addresses of processes come and go.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc

from services.chassis.changes import Changes

log = logging.getLogger("tls")


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files: our certificate with its chain, its key, and everyone's CA. name: see above."""

    cert: Path
    key: Path
    ca: Path
    name: str

    def check(self) -> None:
        """Raises ValueError, which says what is wrong."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.load_cert_chain(self.cert, self.key)
        except ssl.SSLError as error:
            raise ValueError(f"no certificates, or no pair of one with its key: {error.reason}") from None
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Key, certificate, CA; raises OSError."""
        return self.key.read_bytes(), self.cert.read_bytes(), self.ca.read_bytes()


class Watched:
    """Files, and whether they have changed; what is half-way through is no change yet."""

    def __init__(self, files: TlsFiles, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.files = files
        self._changes = Changes(files.cert, files.key, files.ca, monotonic=monotonic)

    def changed(self) -> bool:
        """Whether there is something new, and whole, since the last time that this was true."""
        if not self._changes.there():
            return False
        try:
            self.files.check()
        except ValueError as error:
            fields = {"why": str(error)}
            log.warning("certificates cannot be read; the last ones stay in force", extra={"fields": fields})
            return False
        log.info("certificates are read")
        return True


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Asks every client for a certificate of the CA; new connections get what the files hold by then."""
    watched = Watched(files)

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, cert, ca = files.read()
        return grpc.ssl_server_certificate_configuration([(key, cert)], root_certificates=ca)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return configuration() if watched.changed() else None

    # None for no change is what the library wants, whatever its types say.
    return grpc.dynamic_ssl_server_credentials(
        configuration(), cast(Any, fetch), require_client_authentication=True
    )


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """Of one of us, as the files are now."""
    key, cert, ca = files.read()
    return grpc.ssl_channel_credentials(ca, key, cert)


class Reopened:
    """A channel that is opened anew when the files have changed; it has what stubs need of one.

    Calls that are under way go on over the old one, which goes with the last of them.
    """

    def __init__(self, files: TlsFiles, open_: Callable[[grpc.ChannelCredentials], Any]) -> None:
        self._watched, self._open = Watched(files), open_
        self._channel = open_(channel_credentials(files))

    def __getattr__(self, name: str) -> Any:
        if name not in {"unary_unary", "unary_stream", "stream_unary", "stream_stream"}:
            return getattr(self._channel, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            return _Method(self, name, args, kwargs)

        return method

    def current(self) -> Any:
        """The channel for a call that begins now."""
        if self._watched.changed():
            self._channel = self._open(channel_credentials(self._watched.files))
        return self._channel


class _Method:
    """A method of a stub, on whichever channel is the current one."""

    def __init__(self, channel: Reopened, kind: str, args: Any, kwargs: Any) -> None:
        self._channel, self._make = channel, (kind, args, kwargs)
        self._made: tuple[Any, Any] = (None, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._now()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)

    def _now(self) -> Any:
        channel = self._channel.current()
        made, method = self._made
        if made is not channel:
            kind, args, kwargs = self._make
            method = getattr(channel, kind)(*args, **kwargs)
            self._made = (channel, method)
        return method
