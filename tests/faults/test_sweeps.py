"""Two training services on one store, and their workers, killed again and again in the middle of a sweep."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from mlapi.training.v1 import sweep_pb2

from tests.e2e.journeys import flowers
from tests.faults.extent import LONG
from tests.faults.processes import kill, workers
from tests.faults.service import Client, services

TIMES = 20 if LONG else 4
MLP = {"architecture": "PLAIN", "hidden_sizes": [8], "ensemble_size": 1, "batch_size": 32, "max_epochs": 40}
SWEEP: dict[str, Any] = {
    "job": {"dataset_id": "flowers", "target": "kind", "mlp": MLP, "max_attempts": 10},
    "space": [{"name": "learning_rate", "float": {"low": 0.001, "high": 0.1, "log": True}}],
    "budget": {"max_trials": 2 * TIMES},
    "parallel": 2,
}
PACKED = {
    **SWEEP,
    "job": {**SWEEP["job"], "mlp": {**MLP, "max_epochs": 1000}},
    "budget": {"max_trials": 24},
    "parallel": 12,
    "sampler": "RANDOM",
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


# A job for each trial, and two jobs for the many trials of a round.
@pytest.mark.parametrize("sweep", [SWEEP, PACKED], ids=["one by one", "packed"])
def test_a_sweep_that_loses_its_services_ends_with_the_same_leaderboard(
    tmp_path: Path, chance: random.Random, sweep: dict[str, Any]
) -> None:
    with services("AB", tmp_path, **SETTINGS) as pair:
        client = Client(*pair)
        client.upload("flowers", flowers())
        wanted = to_the_end(client, client.create_sweep("undisturbed", **sweep))
        assert wanted.state == SUCCEEDED
        sweep_id = client.create_sweep("killed", **sweep)
        for _ in range(TIMES):
            time.sleep(chance.uniform(0.1, 1.0))
            for service in chance.choice([pair, pair[:1], pair[1:], []]):
                service.kill()
                service.start()
            for worker in chance.choice([[], workers(tmp_path)]):
                kill(worker.pid)
        ended = to_the_end(client, sweep_id)
        assert board(ended) == board(wanted)
        assert ended.best_trial == wanted.best_trial
        assert [one.job_id for one in ended.trials] == [
            one.job_id.replace(wanted.sweep_id[6:], sweep_id[6:]) for one in wanted.trials
        ]
        for service in pair:
            assert service.wait().end() == 0
