"""Between datasets and compute: what is uploaded trains, is kept, and predicts in the words of its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import ingest
from services.training.adapters.learner import ComputeLearner
from services.training.application.ports import InvalidRow, Learned, UntrainableData
from services.training.compute.backend import open_backend
from services.training.compute.loop import NullLoop
from services.training.domain.dataset import Content
from services.training.domain.hyperparameters import Linear, Logistic
from services.training.domain.job import JobSpec, Source, Task
from services.training.rpc import mapping


@pytest.fixture
def learner(artifacts: DiskArtifacts) -> ComputeLearner:
    return ComputeLearner(artifacts, open_backend("numpy"))


def stored(artifacts: DiskArtifacts, folder: Path, text: str) -> Content:
    source = folder / "source.csv"
    source.write_text(text)
    return ingest(source, "text/csv", artifacts.content("a1"), sha256="a1")


def spec(content: Content, target: str, task: Task = Task.CLASSIFICATION) -> JobSpec:
    column = content.column(target)
    assert column is not None
    params = Logistic() if task is Task.CLASSIFICATION else Linear()
    return JobSpec(Source("table", "a1"), target, column.type, task, params)


def said(
    learner: ComputeLearner, artifacts: DiskArtifacts, learned: Learned, asked: JobSpec, rows: Any
) -> Any:
    """What the saved and restored model says, as a caller reads it."""
    artifacts.save_model("model-1", learned.arrays, learned.metadata)
    outcomes = learner.restore("model-1").predict(rows)
    return [MessageToDict(mapping.prediction(outcome, asked.target_type)) for outcome in outcomes]


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (("no", "ja ☃"), ["no", "ja ☃"]),
        (("false", "true"), [False, True]),
        (("-3", "7"), [-3, 7]),
        (("0.25", "1.5"), [0.25, 1.5]),
        (("1000000000", "2"), [1e9, 2]),
    ],
)
def test_classes_come_back_as_they_were_sent(
    learner: ComputeLearner,
    artifacts: DiskArtifacts,
    tmp_path: Path,
    spelled: tuple[str, str],
    expected: list[Any],
) -> None:
    lines = [f"{number / 100},{spelled[number >= 50]}" for number in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["größe,kind", *lines])), "kind")
    learned = learner.fit(asked, NullLoop())
    answers = said(learner, artifacts, learned, asked, [{"größe": 0}, {"größe": 1}])
    assert [answer["value"] for answer in answers] == expected
    for answer in answers:
        assert set(answer["probabilities"]) == set(spelled)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_numbers_come_back_as_numbers(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    lines = [f"{number},{2 * number + 1}" for number in range(100)]
    asked = spec(stored(artifacts, tmp_path, "\n".join(["x,y", *lines])), "y", Task.REGRESSION)
    learned = learner.fit(asked, NullLoop())
    assert learned.validation_metrics["r2"] > 0.99
    [answer] = said(learner, artifacts, learned, asked, [{"x": 10, "extra": [1]}])
    assert answer == {"value": pytest.approx(21, abs=5)}
    with pytest.raises(InvalidRow) as caught:
        learner.restore("model-1").predict([{"x": 1}, {"x": "ten"}])
    assert (caught.value.row, caught.value.column) == (1, "x")


def test_data_that_do_not_suit_are_said(
    learner: ComputeLearner, artifacts: DiskArtifacts, tmp_path: Path
) -> None:
    asked = spec(stored(artifacts, tmp_path, "x,kind\n1,a\n2,b\n3,\n"), "kind")
    with pytest.raises(UntrainableData, match="kind"):
        learner.fit(asked, NullLoop())


def test_what_is_not_there_is_not_found(learner: ComputeLearner) -> None:
    with pytest.raises(FileNotFoundError):
        learner.restore("none")
