"""Between the application and compute: datasets to tables, compute's results to the domain's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.training.adapters.ingest import BadRow, read_table, rows_to_table, timestamp_columns
from services.training.adapters.ingest.rows import Kind
from services.training.application.ports import (
    Artifacts,
    InvalidRow,
    Learned,
    Loop,
    Outcome,
    UntrainableData,
)
from services.training.compute import model as compute_model
from services.training.compute.backend import Backend
from services.training.compute.columns import CategoryColumn
from services.training.compute.errors import ComputeError
from services.training.compute.table import Table
from services.training.compute.targets import ClassTarget
from services.training.compute.trainer import Problem, fit
from services.training.domain.job import JobSpec, Source
from services.training.domain.model import Feature

# Beside compute's metadata: to compute, a point in time is a number.
TIMESTAMPS = "timestamps"


class ComputeLearner:
    """See `Learner`."""

    def __init__(self, artifacts: Artifacts, backend: Backend) -> None:
        self._artifacts = artifacts
        self._backend = backend

    def fit(self, spec: JobSpec, loop: Loop) -> Learned:
        problem = Problem(
            task=spec.task.value,
            target=spec.target,
            hyperparameters=spec.hyperparameters,
            seed=spec.seed,
            validation_fraction=spec.validation_fraction,
            test_fraction=spec.test_fraction,
        )
        train, validation, test = (self._table(source) for source in (spec.train, spec.validation, spec.test))
        assert train is not None
        try:
            fitted = fit(problem, train, validation, test, loop, self._backend)
        except ComputeError as error:
            raise UntrainableData(str(error)) from error
        if fitted.model is None:
            return Learned(stopped=True, samples=fitted.samples)
        timestamps = timestamp_columns(self._artifacts.content(spec.train.sha256))
        return Learned(
            stopped=False,
            arrays=fitted.model.arrays(),
            metadata={**fitted.model.metadata(), TIMESTAMPS: timestamps},
            weights_sha256=compute_model.weights_sha256(fitted.model.arrays()),
            features=tuple(_features(fitted.model)),
            classes=_classes(fitted.model),
            warnings=fitted.model.warnings,
            validation_metrics=fitted.validation_metrics,
            test_metrics=fitted.test_metrics,
            samples=fitted.samples,
        )

    def restore(self, model_id: str) -> RestoredModel:
        arrays, metadata = self._artifacts.load_model(model_id)
        return RestoredModel(compute_model.TrainedModel.restore(metadata, arrays), metadata[TIMESTAMPS])

    def _table(self, source: Source | None) -> Table | None:
        return read_table(self._artifacts.content(source.sha256)) if source else None


class RestoredModel:
    """See `TrainedModel` in `ports`."""

    def __init__(self, model: compute_model.TrainedModel, timestamps: Sequence[str]) -> None:
        self._model = model
        self._kinds = {**_kinds(model), **_timestamps(model, timestamps)}

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[Outcome]:
        try:
            table = rows_to_table(rows, self._kinds)
        except BadRow as bad:
            raise InvalidRow(bad.index, bad.column, bad.message) from bad
        predicted = self._model.predict(table)
        values: list[Any] = list(predicted.values)
        if predicted.probabilities is None:
            return [Outcome(value, {}) for value in values]
        shares = predicted.probabilities.tolist()
        return [
            Outcome(value, dict(zip(predicted.classes, row, strict=True)))
            for value, row in zip(values, shares, strict=True)
        ]


def _features(model: compute_model.TrainedModel) -> list[Feature]:
    return [Feature(name, kind == "categorical") for name, kind in _kinds(model).items()]


def _kinds(model: compute_model.TrainedModel) -> dict[str, Kind]:
    columns = model.preprocessor.columns
    return {c.name: "categorical" if isinstance(c, CategoryColumn) else "numeric" for c in columns}


def _timestamps(model: compute_model.TrainedModel, names: Sequence[str]) -> dict[str, Kind]:
    return {name: "timestamp" for name in _kinds(model) if name in names}


def _classes(model: compute_model.TrainedModel) -> tuple[str, ...]:
    return model.target.classes if isinstance(model.target, ClassTarget) else ()
