"""The embedded advisor over a trainer that remembers what it is told: what is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.ai_gateway.application.advice import Advice
from services.ai_gateway.application.ports import Caller, Job, Point, Start
from services.ai_gateway.domain.enhancement import Subject
from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import Hyperparameters
from services.chassis.errors import NotFound

CALLER = Caller(deadline=0)
MLP = Hyperparameters(
    "mlp",
    {
        "hidden_sizes": (32,),
        "max_epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "ensemble_size": 8,
        "early_stopping_patience": 5,
    },
)


@dataclass
class RecordedTrainer:
    """One job, its points and its dataset."""

    state: str = "SUCCEEDED"
    task: str = "regression"
    sha256: str = "abc"
    points_of: list[Point] = field(default_factory=list)
    data_error: Exception | None = None

    def job(self, job_id: str, caller: Caller) -> Job:
        return Job(job_id, self.state, "d", "abc", "y", self.task, MLP, {"r2": 0.9})

    def points(self, job_id: str, caller: Caller) -> list[Point]:
        return self.points_of

    def job_of_model(self, model_id: str, caller: Caller) -> str:
        return f"job-of-{model_id}"

    def data(self, dataset_id: str, target: str, caller: Caller) -> tuple[str, Data]:
        if self.data_error:
            raise self.data_error
        return self.sha256, Data(rows=500, columns=3, null_share=0.0)

    def start(self, dataset_id: str, target: str, task: str, caller: Caller) -> Start:
        return Start("regression", {"mlp": MLP, "linear": Hyperparameters("linear", {"l2": 1.0})})


def advise(trainer: RecordedTrainer, job_id: str = "job-1") -> list[str]:
    """The rules that propose something."""
    subject = Subject("d", 1, "y", trainer.task, "mlp", "rmse", "{}", "{}", (), {}, 0, job_id=job_id)
    return [one.source for one in Advice(trainer)(subject, 10, CALLER)]


def point(attempt: int, epoch: int, loss: float) -> Point:
    return Point(attempt, epoch, {"epoch": epoch, "train_loss": loss, "validation_loss": loss})


def test_a_dataset_is_advised_on_as_well_and_clusters_are_not() -> None:
    assert advise(RecordedTrainer(), job_id="")[0] == "local/no_model_yet_network"
    assert advise(RecordedTrainer(task="clustering")) == []


def test_a_proposal_names_what_is_unlike_the_defaults() -> None:
    subject = Subject("d", 1, "y", "regression", "mlp", "rmse", "{}", "{}", (), {}, 0, job_id="job-1")
    found = {one.source: one.values for one in Advice(RecordedTrainer())(subject, 10, CALLER)}
    small = found["local/small_data"]
    assert small["algorithm"] == "mlp"
    assert all(name.startswith("mlp.") for name in small if name != "algorithm")
    assert {name: MLP.values[name.removeprefix("mlp.")] for name in small if name != "algorithm"} != small


def test_only_the_last_attempt_counts() -> None:
    lost = [point(1, 1, 0.5), point(1, 2, 50.0)]
    kept = [point(2, 1, 0.5), point(2, 2, 0.4), point(2, 3, 0.39)]
    assert "local/learning_rate_too_high" in advise(RecordedTrainer(points_of=lost))
    assert "local/learning_rate_too_high" not in advise(RecordedTrainer(points_of=lost + kept))


@pytest.mark.parametrize(
    "trainer",
    [RecordedTrainer(sha256="other"), RecordedTrainer(data_error=NotFound("dataset", "d"))],
    ids=["new content", "deleted"],
)
def test_data_that_the_job_did_not_see_are_not_read(trainer: RecordedTrainer) -> None:
    assert "local/small_data" in advise(RecordedTrainer())
    assert "local/small_data" not in advise(trainer)
