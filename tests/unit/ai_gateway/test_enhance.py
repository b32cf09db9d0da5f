"""The use case over a trainer that remembers what it is told: what is read, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from services.ai_gateway.application.enhance import Enhance, Request
from services.ai_gateway.application.ports import Caller, Job, Point, Start
from services.ai_gateway.domain.findings import Data
from services.ai_gateway.domain.hyperparameters import Hyperparameters
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound

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


def enhance(trainer: RecordedTrainer, **request: object) -> list[str]:
    answer = Enhance(trainer, lambda prefix: f"{prefix}-1")(Request(**request), CALLER)  # type: ignore[arg-type]
    assert answer.enhancement_id == "enhancement-1"
    assert "not a language model" in answer.summary
    return [answer.summary, *(proposal.rule for proposal in answer.proposals)]


def point(attempt: int, epoch: int, loss: float) -> Point:
    return Point(attempt, epoch, {"epoch": epoch, "train_loss": loss, "validation_loss": loss})


@pytest.mark.parametrize(
    ("request_fields", "at_fault"),
    [
        ({}, {"job_id"}),
        ({"job_id": "a", "model_id": "b"}, {"model_id"}),
        ({"job_id": "a", "dataset_id": "b", "target": "c"}, {"dataset_id"}),
        ({"dataset_id": "a"}, {"target"}),
        ({"job_id": "a", "target": "c"}, {"target"}),
        ({"job_id": "a", "max_proposals": 11}, {"max_proposals"}),
        ({"max_proposals": -1}, {"job_id", "max_proposals"}),
    ],
)
def test_a_wrong_request_names_its_fields(request_fields: dict[str, object], at_fault: set[str]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        enhance(RecordedTrainer(), **request_fields)
    assert {violation.field for violation in refused.value.violations} == at_fault


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "CANCELLING"])
def test_a_job_that_has_not_ended_is_refused(state: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        enhance(RecordedTrainer(state), job_id="j")
    assert refused.value.reason == "JOB_NOT_FINISHED"


def test_a_clustering_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no rules"):
        enhance(RecordedTrainer(task="clustering"), job_id="j")


def test_a_model_is_read_through_its_job() -> None:
    assert "job-of-m" in enhance(RecordedTrainer(), model_id="m")[0]


def test_only_the_last_attempt_counts() -> None:
    lost = [point(1, 1, 0.5), point(1, 2, 50.0)]
    kept = [point(2, 1, 0.5), point(2, 2, 0.4), point(2, 3, 0.39)]
    assert "learning_rate_too_high" in enhance(RecordedTrainer(points_of=lost), job_id="j")
    assert "learning_rate_too_high" not in enhance(RecordedTrainer(points_of=lost + kept), job_id="j")


@pytest.mark.parametrize(
    "trainer",
    [RecordedTrainer(sha256="other"), RecordedTrainer(data_error=NotFound("dataset", "d"))],
    ids=["new content", "deleted"],
)
def test_data_that_the_job_did_not_see_are_not_read(trainer: RecordedTrainer) -> None:
    assert "small_data" in enhance(RecordedTrainer(), job_id="j")
    summary, *rules = enhance(trainer, job_id="j")
    assert "gone or has other content" in summary
    assert "small_data" not in rules
