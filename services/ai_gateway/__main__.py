"""The AI gateway: `python -m services.ai_gateway`. The only file that knows all of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from mlapi.ai_gateway.v1 import enhancement_service_pb2_grpc, status_service_pb2_grpc
from prometheus_client import CollectorRegistry

from services.ai_gateway.adapters.provider_http import VENDORS, HttpProvider
from services.ai_gateway.adapters.provider_local import LocalAdvisor
from services.ai_gateway.adapters.trainer_grpc import GrpcTrainer
from services.ai_gateway.application.enhance import Enhance
from services.ai_gateway.application.ports import Provider
from services.ai_gateway.application.status import Status
from services.ai_gateway.rpc.servicers import EnhancementServicer, StatusServicer
from services.ai_gateway.settings import AiGatewaySettings
from services.chassis import clock
from services.chassis.server import Registration, Served, run
from services.chassis.settings import load


def build(settings: AiGatewaySettings) -> Served:
    """Puts the service together."""
    vendors = [HttpProvider(v, settings.key(v.name), settings.base_url(v.name)) for v in VENDORS]
    providers: list[Provider] = [*vendors, LocalAdvisor()]
    trainer = GrpcTrainer(settings.training_address)
    closing = AsyncExitStack()
    closing.callback(trainer.close)
    return Served(
        name="ai_gateway",
        grpc_port=settings.ai_gateway_grpc_port,
        metrics_port=settings.ai_gateway_metrics_port,
        registrations=[
            Registration(
                "mlapi.ai_gateway.v1.StatusService",
                status_service_pb2_grpc.add_StatusServiceServicer_to_server,
                StatusServicer(Status(providers, clock.now, time.monotonic)),
            ),
            Registration(
                "mlapi.ai_gateway.v1.EnhancementService",
                enhancement_service_pb2_grpc.add_EnhancementServiceServicer_to_server,
                EnhancementServicer(Enhance(trainer, clock.new_id)),
            ),
        ],
        registry=CollectorRegistry(),
        draining=asyncio.Event(),
        background=closing,
    )


def main() -> None:
    """Serves until told to stop."""
    settings = load(AiGatewaySettings)
    run("ai_gateway", settings, lambda: build(settings))


if __name__ == "__main__":
    main()
