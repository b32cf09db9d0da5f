"""What the environment says to the edge and to the runner of the whole stack."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from services.chassis.settings import Port, ServiceSettings

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
    ready_timeout: float = Field(30.0, gt=0)  # seconds that the stack gets to become healthy


def environment() -> dict[str, str]:
    """What services that the stack starts inherit."""
    return dict(os.environ)
