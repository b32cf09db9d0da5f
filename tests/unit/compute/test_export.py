"""What an exported model says, said by others: onnxruntime, and the public reader of safetensors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from services.training.compute.backend import open_backend
from services.training.compute.columns import CategoryColumn, NumericColumn
from services.training.compute.export.onnx_file import input_names, onnx_file
from services.training.compute.export.safetensors_file import safetensors_file
from services.training.compute.model import TrainedModel, weights_sha256
from services.training.compute.preprocessing import Preprocessor
from services.training.compute.table import take
from services.training.compute.targets import ClassTarget, ValueTarget
from services.training.compute.trainer import NullLoop, Problem, fit
from services.training.domain.hyperparameters import (
    ALGORITHMS,
    Blend,
    BoostedTrees,
    Hyperparameters,
    KMeans,
    Linear,
    Logistic,
    Mlp,
)
from tests.unit.compute.exported import Awkward, run
from tests.unit.compute.tables import text

REAL = Mlp(hidden_sizes=(24, 17), max_epochs=8, ensemble_size=3)
TAB_M = Mlp(hidden_sizes=(24, 17), max_epochs=8, ensemble_size=5, architecture="tab_m", weight_decay=0.01)
PLAIN = Mlp(hidden_sizes=(24, 17), max_epochs=8, ensemble_size=2, architecture="plain")
NETWORKS = (REAL, PLAIN, TAB_M)
TREES = BoostedTrees(n_estimators=25, learning_rate=0.3)
BLEND = Blend(REAL, TREES)
CASES = [
    *((params, target) for params in (Logistic(), *NETWORKS, TREES, BLEND) for target in ("kind", "pair")),
    *((params, "y") for params in (Linear(), *NETWORKS, TREES, BLEND)),
]
# All of them, and kinds by themselves.
COLUMNS = [(), ("label", "fixed"), ("size",), ("two", "colour"), ("city",), ("label", "city", "size")]
ROWS = 400


def named(value: Hyperparameters | str) -> str:
    return value if isinstance(value, str) else f"{value.name}{getattr(value, 'architecture', '')}"


@cache
def trained(params: Hyperparameters, target: str, columns: tuple[str, ...] = ()) -> TrainedModel:
    """Of the columns named, or all; `target` is empty for clusters."""
    table = Awkward(ROWS, 0).table(*columns)
    task = {"y": "regression", "": "clustering"}.get(target, "classification")
    used = {name: column for name, column in table.items() if name not in {"kind", "y", "pair"} - {target}}
    fitted = fit(Problem(task, target, params, 3), used, None, None, NullLoop(), open_backend("numpy"))
    assert fitted.model is not None
    return fitted.model


def far(model: TrainedModel) -> float:
    """How far onnxruntime is from the model, on rows like those of training and on others."""
    worst = 0.0
    for fresh in (False, True):
        table = Awkward(ROWS, 9, fresh=fresh).table()
        ours, theirs = model.predict(table), run(onnx_file(model), table)
        if isinstance(model.target, ClassTarget):
            assert theirs["label"].tolist() == ours.values
            said, expected = theirs["probabilities"], ours.probabilities
        else:
            assert isinstance(model.target, ValueTarget)
            said, expected = (np.array(v) / model.target.scale for v in (theirs["value"], ours.values))
        assert expected is not None
        assert said.shape == expected.shape
        # A model that says the same of every row would be exported by a constant.
        assert np.ptp(expected, axis=0).min() > 1e-3
        worst = max(worst, float(np.abs(said - expected).max()))
    return worst


@pytest.mark.parametrize("columns", COLUMNS, ids=lambda names: "+".join(names) or "all")
@pytest.mark.parametrize(("params", "target"), CASES, ids=named)
def test_onnxruntime_says_the_same(params: Hyperparameters, target: str, columns: tuple[str, ...]) -> None:
    assert far(trained(params, target, columns)) <= 1e-5


@pytest.mark.parametrize("columns", [(), ("size",), ("two", "colour")], ids=str)
def test_clusters_by_onnxruntime(columns: tuple[str, ...]) -> None:
    model = trained(KMeans(clusters=5), "", columns)
    table = Awkward(ROWS, 9, fresh=True).table()
    labels = run(onnx_file(model), table)["label"]
    assert labels.tolist() == model.predict(table).values
    assert len(set(labels)) > 2


@pytest.mark.parametrize(
    "labels", [np.array([7, -2]), np.array([False, True]), np.array([0.5, 2.5])], ids=str
)
def test_labels_of_other_types(labels: np.ndarray) -> None:
    model = trained(Logistic(), "pair")
    table = Awkward(ROWS, 9).table()
    said = run(onnx_file(model, labels), table)["label"]
    assert said.dtype == labels.dtype
    assert said.tolist() == [labels[int(text)] for text in model.predict(table).values]


def test_rows_one_at_a_time_and_none_at_all() -> None:
    model = trained(REAL, "kind")
    table = Awkward(2, 9).table()
    file, expected = onnx_file(model), model.predict(table).probabilities
    assert expected is not None
    one = run(file, take(table, slice(1, 2)))["probabilities"]
    np.testing.assert_allclose(one, expected[1:], atol=1e-5)
    assert run(file, take(table, slice(0, 0)))["probabilities"].shape == (0, 3)


def test_columns_named_like_outputs_have_inputs_of_their_own() -> None:
    columns = tuple(NumericColumn(name, 0.0, 1.0, False) for name in ("label_", "label", "", "x y", "value"))
    model = TrainedModel(Linear(), Preprocessor(columns, ()), ValueTarget("y", 0, 1), {})
    names = input_names(model)
    assert names == {"label_": "label_", "label": "label__", "": "_", "x y": "x y", "value": "value_"}


def test_an_empty_text_that_training_saw_is_a_value() -> None:
    column = CategoryColumn("a", ("b", ""), False, True)
    learned = {"weights": np.array([3.0, 5.0, 7.0]), "intercept": np.array([1.0])}
    model = TrainedModel(Linear(), Preprocessor((column,), ()), ValueTarget("y", 0, 1), learned)
    said = run(onnx_file(model), {"a": text("b", "", "c")})["value"]
    assert said.tolist() == [4, 6, 1]


def test_every_algorithm_is_tried() -> None:
    assert {params.name for params, _ in CASES} | {"kmeans"} == set(ALGORITHMS)


@pytest.mark.parametrize(("params", "target"), [*CASES, (KMeans(clusters=3), "")], ids=named)
def test_safetensors_hold_the_whole_model(params: Hyperparameters, target: str, tmp_path: Path) -> None:
    model, table = trained(params, target), Awkward(ROWS, 9, fresh=True).table()
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_file(model, {"timestamps": ["größe"]}))
    with safe_open(path, "numpy") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    metadata = json.loads(header["model"])
    assert metadata["timestamps"] == ["größe"]
    restored = TrainedModel.restore(metadata, arrays)
    assert weights_sha256(arrays) == weights_sha256(model.arrays()) == header["weights_sha256"]
    assert restored.predict(table).values == model.predict(table).values
