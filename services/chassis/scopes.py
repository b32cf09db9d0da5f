"""What a key may be for, and what each RPC asks of it. The one place; a test holds it against the protos."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache


class Scope(StrEnum):
    """What a key is for."""

    TRAINING_READ = "training:read"  # see and use: datasets, jobs, models, predictions
    TRAINING_WRITE = "training:write"  # make, change and delete them
    TRAINING_DELEGATE = "training:delegate"  # both, for whichever tenant the call names: for services
    AI_CALL = "ai:call"  # call models of AI vendors, and see what it came to
    AI_BUDGETS = "ai:budgets"  # set the budgets of the key's tenant
    ADMIN = "admin"  # all of it, for every tenant


# Health is asked by those who have no key: Kubernetes, load balancers.
FREE = frozenset(("grpc.health.v1.Health", "mlapi.health.v1.HealthService"))
# Nothing that anyone owns, but more than a stranger has to know: any key will do.
ANY_KEY = frozenset(("grpc.reflection.v1alpha.ServerReflection",))
# How the names of methods begin that leave everything as it is.
READS = ("Get", "List", "Watch", "Predict", "Export", "Explain", "Compare")

_TRAINING = (Scope.TRAINING_READ, Scope.TRAINING_WRITE)
_CALLING = (Scope.AI_CALL, Scope.AI_CALL)
# Service → the scopes for methods that read, and for all others.
SCOPES: Mapping[str, tuple[Scope, Scope]] = {
    "mlapi.training.v1.DatasetService": _TRAINING,
    "mlapi.training.v1.UploadService": _TRAINING,
    "mlapi.training.v1.JobService": _TRAINING,
    "mlapi.training.v1.ModelService": _TRAINING,
    "mlapi.training.v1.SweepService": _TRAINING,
    "mlapi.training.v1.RegistryService": _TRAINING,
    "mlapi.ai_gateway.v1.ChatService": _CALLING,
    "mlapi.ai_gateway.v1.WireService": _CALLING,
    "mlapi.ai_gateway.v1.BatchService": _CALLING,
    "mlapi.ai_gateway.v1.StatusService": _CALLING,
    "mlapi.ai_gateway.v1.EnhancementService": _CALLING,
    "mlapi.ai_gateway.v1.UsageService": (Scope.AI_CALL, Scope.AI_BUDGETS),
}


@lru_cache(1024)
def is_free(method: str) -> bool:
    """Whether `/package.Service/Method` is for those without a key too."""
    return _split(method)[0] in FREE


@lru_cache(1024)
def wanted(method: str) -> Scope | None:
    """The scope for `/package.Service/Method`; None: any key will do. What is not listed is for admins."""
    service, name = _split(method)
    if service in ANY_KEY:
        return None
    reading, changing = SCOPES.get(service, (Scope.ADMIN, Scope.ADMIN))
    return reading if name.startswith(READS) else changing


@lru_cache(1024)
def changes(method: str) -> bool:
    """Whether `/package.Service/Method` may change what somebody owns."""
    service, name = _split(method)
    return service not in FREE | ANY_KEY and not name.startswith(READS)


def _split(method: str) -> tuple[str, str]:
    service, _, name = method.lstrip("/").partition("/")
    return service, name
