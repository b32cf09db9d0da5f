"""What the environment says to the health service."""

from __future__ import annotations

from pydantic import Field

from services.chassis.settings import Port, ServiceSettings


class HealthSettings(ServiceSettings):
    """The health service. DATA_DIR and DATABASE_URL are those of the training service."""

    health_grpc_port: Port = 50053
    health_metrics_port: Port = 9103
    training_address: str = "127.0.0.1:50051"
    ai_gateway_address: str = "127.0.0.1:50052"
    disk_min_free_bytes: int = Field(1024**3, ge=0)
