"""What the export of a model answers, and what it refuses."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load

from services.chassis.errors import InvalidArgument, NotFound
from services.training.adapters.artifacts_disk import DiskArtifacts
from services.training.adapters.learner import TIMESTAMPS, ComputeLearner
from services.training.adapters.store_sql import SqlStore
from services.training.application.export_model import ExportModel
from services.training.application.models import Models
from services.training.compute.backend import open_backend
from services.training.compute.columns import NumericColumn
from services.training.compute.export import onnx_file
from services.training.compute.model import TrainedModel
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.targets import ClassTarget
from services.training.domain.hyperparameters import Logistic
from services.training.domain.model import ExportFormat
from tests.unit.training.samples import model
from tests.unit.training.stand_ins import HandClock


@pytest.fixture
def export(artifacts: DiskArtifacts, store: SqlStore, clock: HandClock) -> ExportModel:
    """Of an installation that has `model-1`."""
    learned = {"weights": np.array([[2.0]]), "intercepts": np.array([1.0])}
    preprocessor = Preprocessor((NumericColumn("x", 0.0, 1.0, False),), ())
    trained = TrainedModel(Logistic(), preprocessor, ClassTarget("kind", ("rose", "tulip")), learned)
    artifacts.save_model("model-1", trained.arrays(), {**trained.metadata(), TIMESTAMPS: []})
    with store.write() as tx:
        tx.models.add(model("model-1"))
    learner = ComputeLearner(artifacts, open_backend("numpy"))
    return ExportModel(Models(store, artifacts, learner, clock))


def test_a_file_with_its_name_and_digest(export: ExportModel) -> None:
    file = export("model-1", ExportFormat.SAFETENSORS)
    assert file.name == "model-1.safetensors"
    assert file.sha256 == hashlib.sha256(file.data).hexdigest()
    assert load(file.data)["learned.weights"].tolist() == [[2.0]]


def test_no_model_no_file(export: ExportModel) -> None:
    with pytest.raises(NotFound):
        export("model-2", ExportFormat.ONNX)


def test_what_has_no_such_form(export: ExportModel, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument) as unknown:
        export("model-1", None)
    assert [(v.field, v.description) for v in unknown.value.violations] == [
        ("format", "must be onnx or safetensors")
    ]
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 8)
    with pytest.raises(InvalidArgument, match="format: the model is too large for ONNX"):
        export("model-1", ExportFormat.ONNX)
