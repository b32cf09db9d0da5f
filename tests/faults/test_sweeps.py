"""Two training services on one store, killed again and again in the middle of a sweep."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from mlapi.training.v1 import sweep_pb2

from tests.e2e.journeys import flowers
from tests.faults.extent import LONG
from tests.faults.service import Client, services

TIMES = 20 if LONG else 4
MLP = {"architecture": "PLAIN", "hidden_sizes": [8], "ensemble_size": 1, "batch_size": 32, "max_epochs": 40}
SWEEP = {
    "job": {"dataset_id": "flowers", "target": "kind", "mlp": MLP, "max_attempts": 10},
    "space": [{"name": "learning_rate", "float": {"low": 0.001, "high": 0.1, "log": True}}],
    "budget": {"max_trials": 2 * TIMES},
    "parallel": 2,
}
SETTINGS = {"TRAINING_SLOTS": "2", "TRAINING_LEASE_SECONDS": "2", "TRAINING_CHECKPOINT_SECONDS": "0.1"}
SUCCEEDED = sweep_pb2.Sweep.SUCCEEDED


def board(sweep: Any) -> list[Any]:
    """What does not depend on when it ran, in an order that can be compared."""
    return [
        (one.number, one.state, dict(one.values), dict(one.validation_metrics), dict(one.test_metrics))
        for one in sweep.trials
    ]


def to_the_end(client: Client, sweep_id: str) -> Any:
    deadline = time.monotonic() + 300
    while (sweep := client.sweep(sweep_id)).state == sweep_pb2.Sweep.RUNNING:
        assert time.monotonic() < deadline, sweep
        time.sleep(0.1)
    return sweep


def test_a_sweep_that_loses_its_services_ends_with_the_same_leaderboard(
    tmp_path: Path, chance: random.Random
) -> None:
    with services("AB", tmp_path, **SETTINGS) as pair:
        client = Client(*pair)
        client.upload("flowers", flowers())
        wanted = to_the_end(client, client.create_sweep("undisturbed", **SWEEP))
        assert wanted.state == SUCCEEDED
        sweep_id = client.create_sweep("killed", **SWEEP)
        for _ in range(TIMES):
            time.sleep(chance.uniform(0.1, 1.0))
            for service in chance.choice([pair, pair[:1], pair[1:]]):
                service.kill()
                service.start()
        ended = to_the_end(client, sweep_id)
        assert board(ended) == board(wanted)
        assert ended.best_trial == wanted.best_trial
        assert len({one.job_id for one in ended.trials}) == SWEEP["budget"]["max_trials"]  # type: ignore[index]
        for service in pair:
            assert service.wait().end() == 0
