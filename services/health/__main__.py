"""The health service: `python -m services.health`. The only file that knows all of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from mlapi.ai_gateway.v1 import enhancement_service_pb2, status_service_pb2
from mlapi.health.v1 import health_service_pb2, health_service_pb2_grpc
from mlapi.training.v1 import (
    dataset_service_pb2,
    job_service_pb2,
    model_service_pb2,
    registry_service_pb2,
    sweep_service_pb2,
)
from prometheus_client import CollectorRegistry

from services.chassis import clock
from services.chassis.channels import open_async_channel
from services.chassis.server import Registration, Served, run
from services.chassis.settings import load
from services.health.adapters import DiskCheck, GatewayProviders, ServiceCheck, database_check
from services.health.application import Checks, Health
from services.health.rpc import HealthServicer
from services.health.settings import HealthSettings

# Reflection at the edge is answered here, for the whole product.
_DESCRIBED = (
    dataset_service_pb2,
    job_service_pb2,
    model_service_pb2,
    sweep_service_pb2,
    registry_service_pb2,
    status_service_pb2,
    enhancement_service_pb2,
)
_NAME = health_service_pb2.DESCRIPTOR.services_by_name["HealthService"].full_name


def build(settings: HealthSettings) -> Served:
    """Puts the service together. Needs a running event loop, which the channels belong to."""
    training = open_async_channel(settings.training_address, settings.tls)
    ai_gateway = open_async_channel(settings.ai_gateway_address, settings.tls)
    checks = Checks(
        serving={"training": ServiceCheck(training), "ai_gateway": ServiceCheck(ai_gateway)},
        local={
            "database": database_check(settings.database("training")),
            "disk": DiskCheck(settings.data_dir, settings.disk_min_free_bytes),
        },
        providers=GatewayProviders(ai_gateway, settings.health_api_key_file),
    )
    closing = AsyncExitStack()
    for channel in (training, ai_gateway):
        closing.push_async_callback(channel.close)
    return Served(
        name="health",
        grpc_port=settings.health_grpc_port,
        metrics_port=settings.health_metrics_port,
        registrations=[
            Registration(
                _NAME,
                health_service_pb2_grpc.add_HealthServiceServicer_to_server,
                HealthServicer(Health(checks, clock.now, time.monotonic)),
            )
        ],
        registry=CollectorRegistry(),
        draining=asyncio.Event(),
        background=closing,
        reflected=_service_names(),
    )


def _service_names() -> list[str]:
    """Full names of the services that other processes serve. Importing their modules describes them."""
    return [
        service.full_name for module in _DESCRIBED for service in module.DESCRIPTOR.services_by_name.values()
    ]


def main() -> None:
    """Serves until told to stop."""
    settings = load(HealthSettings)
    run("health", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
