"""Puts together what enhances models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from services.ai_gateway.adapters.key_ring import KeyRing
from services.ai_gateway.adapters.sweeps_grpc import GrpcSweeps
from services.ai_gateway.adapters.trainer_grpc import GrpcTrainer
from services.ai_gateway.application.consult import Consult
from services.ai_gateway.application.enhance_turns import EnhanceTurns
from services.ai_gateway.application.enhancements import Enhancements
from services.ai_gateway.application.held_enhancement import Means
from services.ai_gateway.application.ports import EnhancementStore
from services.ai_gateway.domain.routing import Routes
from services.ai_gateway.settings import AiGatewaySettings
from services.chassis import clock


def put_together(  # noqa: PLR0917 (what they stand on)
    settings: AiGatewaySettings,
    store: EnhancementStore,
    trainer: GrpcTrainer,
    consult: Consult,
    keys: KeyRing,
    routes: Callable[[], Routes],
) -> tuple[Enhancements, EnhanceTurns]:
    """What callers ask, and what goes round in the background."""
    sweeps, own_key = GrpcSweeps(trainer.channel), settings.ai_training_api_key.get_secret_value()
    every, lease = settings.ai_enhance_poll_seconds, timedelta(seconds=settings.ai_enhance_lease_seconds)
    turns = EnhanceTurns(Means(store, sweeps, consult, clock.now, own_key, every, lease))
    one = Enhancements(store, sweeps, routes, keys, clock.now, turns.wake, may_train=bool(own_key))
    return one, turns
