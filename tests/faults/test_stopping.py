"""A service that is asked to end while another lives on: its attempts are moved, and none counts as lost."""

from __future__ import annotations

from pathlib import Path

from services.chassis.database import Database
from services.training.adapters.store_sql import SqlStore
from tests.contract.waiting import until
from tests.e2e.journeys import flowers
from tests.faults import truth
from tests.faults.extent import LONG
from tests.faults.service import Client, services

TIMES = 3 if LONG else 1


def test_a_service_that_ends_beside_another_loses_no_attempt(tmp_path: Path) -> None:
    mlp = {"hidden_sizes": [16], "ensemble_size": 1, "batch_size": 4, "max_epochs": 150}
    mlp["early_stopping_patience"] = 1000
    settings = {"TRAINING_SLOTS": "3", "TRAINING_CHECKPOINT_SECONDS": "0.2"}
    with services("AB", tmp_path, **settings) as pair:
        client, store = Client(*pair), SqlStore(Database(f"sqlite:///{tmp_path / 'training.db'}"))
        client.upload("flowers", flowers())
        jobs = [client.create(dataset_id="flowers", target="kind", seed=0, mlp=mlp) for _ in range(3)]
        for service in [*pair, pair[0]][:TIMES]:
            until(lambda: all(truth.job(store, one).handle for one in jobs), 30)
            assert service.wait().end() == 0
            service.start()
        for one in jobs:
            until(lambda one=one: truth.job(store, one).state.ended, 60)  # type: ignore[misc]
            ended = truth.check_success(store, tmp_path, one)
            assert (ended.attempt, ended.losses) == (TIMES + 1, 0)
            assert "attempt_lost" not in truth.kinds(store, one)
