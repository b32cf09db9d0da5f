"""What is said of a model's columns, from training to the wire, and when nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.chassis.errors import FailedPrecondition, NotFound
from services.training.adapters import learner as learner_module
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.ingest import FileIngest
from services.training.adapters.learner import ComputeLearner
from services.training.adapters.store_sql import SqlStore
from services.training.application.models import Models
from services.training.compute.backend import open_backend
from services.training.compute.loop import NullLoop
from services.training.domain.dataset import ColumnType, Reading
from services.training.domain.hyperparameters import Logistic
from services.training.domain.job import JobSpec, Source, Task
from services.training.rpc import mapping
from tests.unit.training.samples import model
from tests.unit.training.stand_ins import HandClock


@pytest.fixture
def learner(artifacts: DiskArtifacts, tmp_path: Path) -> ComputeLearner:
    """Of an installation that has the content `a1`: a length decides the kind, except in every ninth row."""
    rows = [f"{i % 10},{i % 7},{'rose' if (i % 10 > 5) != (i % 9 == 0) else 'tulip'}" for i in range(120)]
    (tmp_path / "source.csv").write_text("length,width,kind\n" + "\n".join(rows))
    FileIngest().read(tmp_path / "source.csv", Reading("text/csv"), artifacts.content("a1"), sha256="5a")
    return ComputeLearner(artifacts, open_backend("numpy"))


@pytest.fixture
def models(artifacts: DiskArtifacts, store: SqlStore, clock: HandClock, learner: ComputeLearner) -> Models:
    return Models(store, artifacts, learner, clock)


SPEC = JobSpec(
    Source("table", "5a", 1, "a1"),
    "kind",
    ColumnType.TEXT,
    Task.CLASSIFICATION,
    Logistic(),
    test_fraction=0.3,
)


def test_a_trained_model_says_what_its_columns_are_worth(
    artifacts: DiskArtifacts, store: SqlStore, learner: ComputeLearner, models: Models
) -> None:
    learned = learner.fit(SPEC, NullLoop())
    artifacts.save_model("model-1", learned.arrays, learned.metadata)
    with store.write() as tx:
        tx.models.add(replace(model("model-1"), test_confusion=learned.test_confusion))
    found = mapping.explanation(models.explain("model-1"))
    assert (found.method, found.metric, found.row_count) == ("permutation_importance", "log_loss", 18)
    assert found.baseline == pytest.approx(learned.validation_metrics["log_loss"], rel=1e-6)
    assert [one.feature for one in found.importances] == ["length", "width"]
    assert found.importances[0].mean > 3 * found.importances[0].standard_error > 0
    matrix = mapping.model(models.get("model-1")).test_confusion_matrix
    assert matrix.classes == ["rose", "tulip"]
    counts = [list(row.counts) for row in matrix.rows]
    right = (counts[0][0] + counts[1][1]) / sum(map(sum, counts))
    assert right == pytest.approx(learned.test_metrics["accuracy"])
    assert sum(map(sum, counts)) == 36


def test_a_matrix_of_very_many_classes_is_not_kept(
    learner: ComputeLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_module, "MOST_CONFUSED", 1)
    assert learner.fit(SPEC, NullLoop()).test_confusion == ()


def test_of_an_earlier_release_and_of_clusters_nothing_is_known(
    artifacts: DiskArtifacts, store: SqlStore, learner: ComputeLearner, models: Models
) -> None:
    learned = learner.fit(SPEC, NullLoop())
    old = {name: value for name, value in learned.metadata.items() if name != "explanation"}
    for name, task in (("old", Task.CLASSIFICATION), ("groups", Task.CLUSTERING)):
        artifacts.save_model(name, learned.arrays, old)
        with store.write() as tx:
            tx.models.add(replace(model(name), task=task))
    with pytest.raises(FailedPrecondition, match="train it anew") as caught:
        models.explain("old")
    assert caught.value.reason == "MODEL_NOT_EXPLAINED"
    with pytest.raises(FailedPrecondition, match="clusters"):
        models.explain("groups")
    with pytest.raises(NotFound):
        models.explain("none")
