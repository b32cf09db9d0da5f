"""What the environment says to the health service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.chassis.settings import Port, ServiceSettings


class HealthSettings(ServiceSettings):
    """The health service. DATA_DIR and DATABASE_URL are those of the training service."""

    health_grpc_port: Port = 50053
    health_metrics_port: Port = 9103
    training_address: str = "127.0.0.1:50051"
    ai_gateway_address: str = "127.0.0.1:50052"
    # With AUTH_MODE=keys: a key of the scope ai:call, without which nothing is known of the AI providers.
    health_api_key_file: Path | None = None
    disk_min_free_bytes: int = Field(1024**3, ge=0)
