"""Settings that every service has. Read once, in `__main__`; typed, frozen, refused with all their errors."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis import key_file
from services.chassis.rates.rate import Kind, rates
from services.chassis.tls import TlsFiles

Port: TypeAlias = Annotated[int, Field(ge=0, le=65535)]  # 0: any that is free


def _checked_rates(text: str) -> str:
    rates(text, Kind.REQUESTS)
    return text


# Such as `200/day, 50/hour`; see rates/rate.py.
RateText: TypeAlias = Annotated[str, AfterValidator(_checked_rates)]
OBJECT_STORAGE = ("s3", "gs", "az", "file")
Loaded = TypeVar("Loaded", bound=BaseSettings)


@dataclass(frozen=True)
class TokenSettings:
    """jwks: path of the public keys. tenant_claim: the claim that names the caller's tenant."""

    jwks: Path
    issuer: str
    audience: str
    tenant_claim: str


class ServiceSettings(BaseSettings):
    """What the environment says to any service; a field is the variable of the same name in upper case."""

    # An empty variable counts as unset: compose and charts pass on what is not set as an empty one.
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True
    )

    auth_mode: Literal["off", "keys"] = "off"  # before the addresses, which it opens
    # API keys of callers, see key_file.py; read again when it changes.
    api_keys_file: Path | None = Field(None, validate_default=True)
    # Tokens beside keys, see tokens.py: all three, or none.
    auth_issuer: str = ""
    auth_audience: str = ""
    auth_tenant_claim: str = "tenant"
    auth_jwks_file: Path | None = Field(None, validate_default=True)
    host: str = "127.0.0.1"  # where the edge listens
    bind_host: str = "127.0.0.1"  # where this process listens
    data_dir: Path = Path(".data")
    database_url: str = ""  # SQLite under data_dir when empty
    request_timeout: float = Field(300.0, gt=0)  # seconds
    # Seconds after SIGTERM in which calls are still taken, and health says NOT_SERVING, so that others go on.
    drain_notice: float = Field(0.0, ge=0)
    drain_timeout: float = Field(25.0, ge=0)  # seconds that calls in flight get after SIGTERM
    rate_limit_enabled: bool = False
    redis_url: str = ""
    artifacts_url: str = ""  # s3://bucket/prefix and the like; on disk under data_dir when empty
    # Mutual TLS among the edge and the services: all three, or none; read again when they change. See tls.py.
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = Field(None, validate_default=True)
    tls_server_name: str = "ml-training-api"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_file: Path | None = None
    log_file_bytes: int = Field(100 * 1024 * 1024, ge=0)  # then it begins anew; 0 for never
    log_file_count: int = Field(5, ge=1)  # so many earlier ones are kept

    # OpenTelemetry's own variables. What is not here, such as OTEL_EXPORTER_OTLP_HEADERS and _CERTIFICATE,
    # its exporters read themselves.
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_protocol: Literal["grpc"] = "grpc"
    otel_sdk_disabled: bool = False
    otel_service_name: str = ""  # in the place of the service's own name
    otel_traces_exporter: Literal["otlp", "none"] = "otlp"
    otel_metrics_exporter: Literal["otlp", "none"] = "otlp"
    otel_logs_exporter: Literal["otlp", "none"] = "otlp"
    otel_metric_export_interval: float = Field(60_000, gt=0)  # milliseconds
    max_json_bytes: int = Field(4 * 1024 * 1024, gt=0)
    # From here on calls that take memory are refused; of what the control group or the machine has. 0: never.
    memory_high_percent: float = Field(90.0, ge=0, le=100)

    # Field by field, not over the whole: pydantic looks at the whole only when every field is right, and so
    # would keep these errors back until the others are mended.
    @field_validator("api_keys_file")
    @classmethod
    def _keys(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """Refuses keys that nobody asks for, and asking for keys that nobody has."""
        match info.data.get("auth_mode"), path:
            case "keys", None:
                raise ValueError("AUTH_MODE=keys needs it")
            case "off", Path():
                raise ValueError("AUTH_MODE=off would ignore it; set AUTH_MODE=keys")
            case _, Path() as given:
                key_file.read(given)
        return path

    @field_validator("auth_jwks_file")
    @classmethod
    def _tokens(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """Refuses half of what tokens need, and tokens without a door."""
        given = [bool(path), bool(info.data.get("auth_issuer")), bool(info.data.get("auth_audience"))]
        if any(given) and not all(given):
            raise ValueError("AUTH_JWKS_FILE, AUTH_ISSUER and AUTH_AUDIENCE go together")
        if path:
            if info.data.get("auth_mode") != "keys":
                raise ValueError("tokens are taken beside keys; set AUTH_MODE=keys")
            from services.chassis.tokens import read_keys  # noqa: PLC0415 (see there)

            read_keys(path)
        return path

    @field_validator("host", "bind_host")
    @classmethod
    def _closed(cls, address: str, info: ValidationInfo) -> str:
        """Refuses what would be open to everyone."""
        if info.data.get("auth_mode") == "off" and not is_loopback(address):
            raise ValueError(f"AUTH_MODE=off would open {address} to everyone")
        return address

    @field_validator("tls_ca_file")
    @classmethod
    def _whole(cls, ca: Path | None, info: ValidationInfo) -> Path | None:
        """Refuses half of what TLS needs, and what does not belong together."""
        given = (info.data.get("tls_cert_file"), info.data.get("tls_key_file"), ca)
        match given:
            case None, None, None:
                pass
            case Path() as cert, Path() as key, Path() as authority:
                TlsFiles(cert, key, authority, "").check()
            case _:
                raise ValueError("TLS_CERT_FILE, TLS_KEY_FILE and TLS_CA_FILE go together")
        return ca

    @field_validator("artifacts_url")
    @classmethod
    def _object_storage(cls, url: str) -> str:
        """Refuses what nobody can store anything in."""
        scheme, found, place = url.partition("://")
        if url and not (found and place and scheme in OBJECT_STORAGE):
            raise ValueError(f"has to begin with one of {', '.join(f'{one}://' for one in OBJECT_STORAGE)}")
        return url

    @property
    def memory_high(self) -> float:
        """From 0, which is never, to 1."""
        return self.memory_high_percent / 100

    @property
    def tokens(self) -> TokenSettings | None:
        """Whose tokens are taken; None: nobody's."""
        if self.auth_jwks_file is None:
            return None
        return TokenSettings(
            self.auth_jwks_file, self.auth_issuer, self.auth_audience, self.auth_tenant_claim
        )

    @property
    def tls(self) -> TlsFiles | None:
        """What to show to the other services, and to ask of them; None without TLS."""
        if not (self.tls_cert_file and self.tls_key_file and self.tls_ca_file):
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_ca_file, self.tls_server_name)

    def exports(self, signal: Literal["traces", "metrics", "logs"]) -> bool:
        """Whether that is sent by OTLP."""
        wanted = {
            "traces": self.otel_traces_exporter,
            "metrics": self.otel_metrics_exporter,
            "logs": self.otel_logs_exporter,
        }
        off = self.otel_sdk_disabled or wanted[signal] == "none"
        return bool(self.otel_exporter_otlp_endpoint) and not off

    def database(self, service: str) -> str:
        """The URL of this service's database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / f'{service}.db'}"


class ProbeSettings(BaseSettings):
    """What a container has to know to ask itself; nothing that could be wrong while the service is well.

    The ports are those of the services' own settings, which the chassis does not import; a test compares.
    """

    model_config = ServiceSettings.model_config

    service: Literal["training", "ai_gateway", "health", "edge", "stack"]
    bind_host: str = "127.0.0.1"
    host: str = "127.0.0.1"
    port: Port = 5000
    training_grpc_port: Port = 50051
    ai_gateway_grpc_port: Port = 50052
    health_grpc_port: Port = 50053
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_server_name: str = "ml-training-api"
    edge_tls_cert_file: Path | None = None

    @property
    def is_edge(self) -> bool:
        """Whether it speaks HTTP, and answers for all that is behind it."""
        return self.service in ("edge", "stack")

    @property
    def tls(self) -> TlsFiles | None:
        """What the service itself shows, and asks for; None without TLS."""
        if not (self.tls_cert_file and self.tls_key_file and self.tls_ca_file):
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_ca_file, self.tls_server_name)

    @property
    def address(self) -> str:
        """Where this container answers, as seen from within it."""
        if self.is_edge:
            return f"{_from_within(self.host)}:{self.port}"
        return f"{_from_within(self.bind_host)}:{getattr(self, f'{self.service}_grpc_port')}"


def _from_within(host: str) -> str:
    """Of an address that stands for every one of the machine, the one that is always there."""
    if host == "0.0.0.0":
        return "127.0.0.1"
    return f"[{'::1' if host == '::' else host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(kind: type[Loaded]) -> Loaded:
    """Reads the environment; ends the process with every error at once when it is wrong."""
    try:
        return kind()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"]).upper() or "settings"
            sys.stderr.write(f"{name}: {problem['msg']}\n")
        raise SystemExit(2) from None
