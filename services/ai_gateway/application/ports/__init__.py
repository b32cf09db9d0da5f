"""What the use cases need from outside. A docstring here is an obligation on every adapter."""

from services.ai_gateway.application.ports.answers import AnswerKey, Answers, Kept
from services.ai_gateway.application.ports.batches import BatchStore, BatchVendor, Held, Overtaken
from services.ai_gateway.application.ports.desk import Desk
from services.ai_gateway.application.ports.enhancements import EnhancementStore, HeldEnhancement
from services.ai_gateway.application.ports.keys import Key, Keys
from services.ai_gateway.application.ports.ledger import (
    BudgetExceeded,
    Claim,
    Entry,
    Ledger,
    Lost,
    Outcome,
    UsageFilter,
    UsageRow,
)
from services.ai_gateway.application.ports.providers import (
    ChatProvider,
    Check,
    Failure,
    Provider,
    VendorError,
)
from services.ai_gateway.application.ports.training import Caller, Job, Order, Point, Start, Sweeps, Trainer
from services.chassis.rates.limits import Limiter, RateLimited

__all__ = [
    "AnswerKey",
    "Answers",
    "BatchStore",
    "BatchVendor",
    "BudgetExceeded",
    "Caller",
    "ChatProvider",
    "Check",
    "Claim",
    "Desk",
    "EnhancementStore",
    "Entry",
    "Failure",
    "Held",
    "HeldEnhancement",
    "Job",
    "Kept",
    "Key",
    "Keys",
    "Ledger",
    "Limiter",
    "Lost",
    "Order",
    "Outcome",
    "Overtaken",
    "Point",
    "Provider",
    "RateLimited",
    "Start",
    "Sweeps",
    "Trainer",
    "UsageFilter",
    "UsageRow",
    "VendorError",
]
