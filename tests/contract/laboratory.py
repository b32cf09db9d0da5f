"""A training service that trains nothing: how good values are follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.ai_gateway.application.ports import Caller, Order
from services.ai_gateway.domain.consulting import Profile
from services.ai_gateway.domain.enhancement import Asked, Subject
from services.ai_gateway.domain.finals import Comparison, Difference, Side
from services.ai_gateway.domain.trials import Measured, Proposed, Rejection, Trial, Values
from services.chassis.errors import Unavailable
from tests.unit.ai_gateway.enhancement_samples import SUBJECT


@dataclass
class Laboratory:
    """See `Sweeps`. A sweep ends at the second look. broken: values that cannot be trained, by their loss.

    away: so many calls are refused. gain: the p-value of what is compared. models: those that are there.
    """

    subject_: Subject = SUBJECT
    gain: float = 0.001
    away: int = 0
    broken: bool = False
    cost: float = 0.0
    sweeps: dict[str, Order] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    registered: dict[str, str] = field(default_factory=dict)

    def subject(self, asked: Asked, caller: Caller) -> Subject:
        return self.subject_

    def profile(self, subject: Subject, caller: Caller) -> Profile:
        self._here()
        return Profile(100, ())

    def refused(self, order: Order, caller: Caller) -> list[Rejection]:
        self._here()
        bad = enumerate(order.proposals)
        return [Rejection(place, one.source, "is bad") for place, one in bad if "class_weight" in one.values]

    def create_sweep(self, order: Order, caller: Caller) -> str:
        self._here()
        assert caller.tenant == "t"
        sweep_id = f"sweep-{order.request_id}"
        assert self.sweeps.setdefault(sweep_id, order) == order
        assert all(one in self.sweeps for one in order.learn_from)
        return sweep_id

    def sweep(self, sweep_id: str, caller: Caller) -> Measured:
        self._here()
        order = self.sweeps[sweep_id]
        self.looks[sweep_id] = self.looks.get(sweep_id, 0) + 1
        if sweep_id in self.cancelled:
            return Measured(True, problem="it was cancelled")
        ended = self.looks[sweep_id] > 1
        chosen = [*order.proposals, *self._sampled(order, order.trials - len(order.proposals))]
        count = len(chosen) if ended else len(chosen) // 2
        trials = tuple(self._trial(sweep_id, place, one) for place, one in enumerate(chosen[:count]))
        if ended and order.seeds:
            self.models |= {one.model_id for one in trials}
        elif ended:
            self.models.add(f"{sweep_id}-best")
        best = f"{sweep_id}-best" if ended and not order.seeds else ""
        return Measured(ended, trials, model_id=best, cost_usd=self.cost if ended else 0.0, seconds=1.0)

    def cancel_sweep(self, sweep_id: str, caller: Caller) -> None:
        self.cancelled.add(sweep_id)

    def compare(self, candidates: Sequence[str], baselines: Sequence[str], caller: Caller) -> Comparison:
        self._here()
        assert {*candidates, *baselines} <= self.models
        better, other = Side(tuple(candidates), {"f1": 0.9}, {}), Side(tuple(baselines), {"f1": 0.5}, {})
        found = Difference(0.1, 0.01, 0.08, 0.12, self.gain, 1 - self.gain)
        return Comparison(50, "log_loss", better, other, found, Difference(1, 0.1, 0.8, 1.2, 0.0, 1.0))

    def warnings(self, model_id: str, caller: Caller) -> tuple[str, ...]:
        return ("the column b is odd",)

    def delete_model(self, model_id: str, caller: Caller) -> None:
        self._here()
        self.models.discard(model_id)

    def register(  # noqa: PLR0917 (as the port)
        self, name: str, model_id: str, alias: str, enhancement_id: str, comment: str, caller: Caller
    ) -> int:
        self.registered[f"{name}@{alias}"] = model_id
        return 1

    def _trial(self, sweep_id: str, number: int, one: Proposed) -> Trial:
        found = None if self.broken else loss(one.values)
        seeds = self.sweeps[sweep_id].seeds
        model_id = f"{sweep_id}-{number}" if seeds else ""
        problem = "no column is left" if self.broken else ""
        return Trial(number, one.values, one.source, found, found, problem, model_id)

    @staticmethod
    def _sampled(order: Order, count: int) -> list[Proposed]:
        """Better ones, the more there is to learn from."""
        known = len(order.learn_from) + len(order.proposals)
        rate = [0.03 / (1 + known + place) for place in range(count)]
        return [Proposed({"algorithm": "mlp", "mlp.learning_rate": one}, order.sampler) for one in rate]

    def _here(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("SERVICE_UNAVAILABLE", "training is away", 1.0)


def loss(values: Values) -> float:
    """Least at a learning rate of 0.003; the input, which names none, has one of 0.1."""
    rate: Any = values.get("mlp.learning_rate", 0.1)
    return abs(math.log(rate / 0.003)) + 0.1
