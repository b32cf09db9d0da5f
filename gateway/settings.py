"""What the environment says to the edge and to the runner of the whole stack."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from services.chassis.settings import Port, ServiceSettings
from services.chassis.tls import TlsFiles

HERE = Path(__file__).resolve().parent


class EdgeSettings(ServiceSettings):
    """The edge, and where the services are."""

    port: Port = 5000
    admin_port: Port = 9901
    training_address: str = "127.0.0.1:50051"
    ai_gateway_address: str = "127.0.0.1:50052"
    health_address: str = "127.0.0.1:50053"
    max_workers: int = Field(1, ge=1, le=64)  # processes of each service that the stack starts
    access_log: str = "/dev/stdout"
    descriptor_set: Path = HERE / "api.pb"
    edge_threads: int = Field(max(1, (os.cpu_count() or 1) // 2), ge=1)  # that serve connections
    # HTTPS: both or none; read again when they change.
    edge_tls_cert_file: Path | None = None
    edge_tls_key_file: Path | None = Field(None, validate_default=True)
    ready_timeout: float = Field(30.0, gt=0)  # seconds that the stack gets to become ready

    @field_validator("edge_tls_key_file")
    @classmethod
    def _pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        """Refuses half of what HTTPS needs, and a key of another certificate."""
        cert = info.data.get("edge_tls_cert_file")
        if (cert is None) != (key is None):
            raise ValueError("EDGE_TLS_CERT_FILE and EDGE_TLS_KEY_FILE go together")
        if cert and key:
            TlsFiles(cert, key, cert, "").check()
        return key


def environment() -> dict[str, str]:
    """What services that the stack starts inherit."""
    return dict(os.environ)
