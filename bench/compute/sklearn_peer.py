"""scikit-learn's MLPClassifier."""

from __future__ import annotations

from typing import Any

from sklearn.neural_network import MLPClassifier

from bench.compute.cases import BATCH, LEARNING_RATE, Case
from bench.compute.turns import Turns


class _Told(MLPClassifier):
    """Tells of every epoch; `partial_fit` would check and encode all rows again each time."""

    turns: Turns

    def _update_no_improvement_count(self, *arguments: Any, **named: Any) -> None:
        super()._update_no_improvement_count(*arguments, **named)
        self.turns.epoch_done()


def train(case: Case, x: Any, y: Any, turns: Turns) -> None:
    numbers = {"batch_size": BATCH, "learning_rate_init": LEARNING_RATE, "random_state": 0}
    network = _Told(case.hidden, max_iter=10**9, n_iter_no_change=10**9, **numbers)
    network.turns = turns
    network.fit(x, y)
