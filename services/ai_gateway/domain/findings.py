"""What the advisor knows: the data, what was tried on them, and how that went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from services.ai_gateway.domain.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Data:
    """A dataset. columns: without the target. class_shares: of the target's classes, largest first; empty
    when the target is a number or has too many classes to be listed."""

    rows: int
    columns: int
    null_share: float
    class_shares: tuple[float, ...] = ()

    @property
    def class_entropy(self) -> float | None:
        """The log loss of always answering the classes' shares."""
        return -sum(p * math.log(p) for p in self.class_shares if p > 0) if self.class_shares else None


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data. A loss that was no number is None, and so is one not measured."""

    number: int
    train_loss: float | None = None
    validation_loss: float | None = None
    learning_rate: float = 0.0


@dataclass(frozen=True)
class Findings:
    """Everything that rules read.

    task: `classification` or `regression`. defaults: by algorithm, of those that do the task; empty when they
    are not known. tried: None when there is no model yet. trained: it ended with a model. data: None when the
    dataset is gone or has other content by now. epochs: of the last attempt, in order. metrics: measured on
    the validation part. reported: the last value of each number that training reported; steps: how many.
    """

    task: str
    defaults: Mapping[str, Hyperparameters] = field(default_factory=dict)
    tried: Hyperparameters | None = None
    trained: bool = False
    data: Data | None = None
    epochs: tuple[Epoch, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0

    @cached_property
    def judged(self) -> tuple[Epoch, ...]:
        """The epochs that have both losses."""
        return tuple(e for e in self.epochs if e.train_loss is not None and e.validation_loss is not None)

    @property
    def best(self) -> Epoch | None:
        """The epoch of the lowest validation loss: its weights are the model's."""
        return min(self.judged, key=validation_loss, default=None)

    @property
    def guess_loss(self) -> float | None:
        """The loss of a model that has learned nothing: targets of a regression are standardised."""
        if self.task == "regression":
            return 1.0
        return self.data.class_entropy if self.data else None

    @property
    def final_loss(self) -> float | None:
        """The model's validation loss on the scale of `guess_loss`, from its metrics."""
        if self.task == "classification":
            return self.metrics.get("log_loss")
        return 1 - self.metrics["r2"] if "r2" in self.metrics else None


def train_loss(epoch: Epoch) -> float:
    """Of an epoch that has one."""
    assert epoch.train_loss is not None
    return epoch.train_loss


def validation_loss(epoch: Epoch) -> float:
    """Of an epoch that has one."""
    assert epoch.validation_loss is not None
    return epoch.validation_loss
