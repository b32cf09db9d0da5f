"""A language model that answers from a closed list, the same for every dataset.

The list was written down before any result was seen: defaults that are published, or that libraries come
with, beside penalties ten times weaker and stronger than the platform's. What is read of an answer, and what
is refused, is the gateway's own doing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.ai_gateway.application.chats import Call
from services.ai_gateway.domain.bill import Bill
from services.ai_gateway.domain.chat import Completion, Finish, Text
from services.ai_gateway.domain.prompt import Prompt
from services.ai_gateway.domain.routing import Target
from services.ai_gateway.domain.usage import Usage

TREES = "boosted_trees"
# By task. D. Holzmüller et al., "Better by Default", NeurIPS 2024, tuned XGBoost ("XGB-TD"; what of it lies
# outside of the space is at its edge); XGBoost's own defaults; shallow trees, as for few rows.
_SHALLOW = {
    "learning_rate": 0.05,
    "max_depth": 3,
    "min_child_weight": 1,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
}
_OWN = {"learning_rate": 0.3, "max_depth": 6, "min_child_weight": 1, "subsample": 1, "colsample_bytree": 1}
_TUNED = {
    "classification": {
        "learning_rate": 0.08,
        "max_depth": 6,
        "min_child_weight": 0.5,
        "subsample": 0.65,
        "colsample_bytree": 0.9,
        "reg_lambda": 0.01,
    },
    "regression": {
        "learning_rate": 0.05,
        "max_depth": 9,
        "min_child_weight": 2,
        "subsample": 0.7,
        "colsample_bytree": 0.9,
        "reg_lambda": 0.01,
    },
}
_LINEAR = {"classification": "logistic", "regression": "linear"}


def script(task: str) -> list[dict[str, Any]]:
    """The proposals, in the order in which they are made."""
    linear = _LINEAR[task]
    return [
        _one(linear, {"l2": 1}),
        _one(TREES, _SHALLOW),
        _one(linear, {"l2": 10}),
        _one(TREES, _TUNED[task]),
        _one(linear, {"l2": 0.1}),
        _one(TREES, _OWN),
        _one(linear, {"l2": 100}),
    ]


def _one(algorithm: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {"algorithm": algorithm, **{f"{algorithm}.{name}": value for name, value in values.items()}}


@dataclass(frozen=True)
class ScriptedChats:
    """In the place of `ReusingChats`: says what is next on the list, as JSON as a model would."""

    async def complete(self, prompt: Prompt, call: Call) -> tuple[Completion, Bill]:
        """As many proposals as are wanted, of those that the question does not say were tried."""
        question = prompt.chat.messages[-1].parts[0]
        assert isinstance(question, Text)
        card = json.loads(question.text)
        tried = [one["values"] for one in card["tried"]]
        fresh = [one for one in script(card["task"]) if one not in tried][: card["wanted"]]
        proposals = [
            {
                "reason": "it is usual",
                "changes": [{"name": name, "value": value} for name, value in one.items()],
            }
            for one in fresh
        ]
        text = Text(json.dumps({"proposals": proposals}))
        answer = Completion("scripted", prompt.model, (text,), Finish.STOP, Usage())
        return answer, Bill(Target("local", "scripted"), Usage(), 0, 1)


def _changes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]
