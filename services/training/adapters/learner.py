"""Between the application and compute: datasets to tables, compute's results to the domain's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from services.training.adapters.comparing import compare
from services.training.adapters.ingest import ArrowTable, BadRow, rows_to_table, timestamp_columns
from services.training.adapters.ingest.rows import Kind
from services.training.application.ports import (
    Artifacts,
    Incomparable,
    InvalidRow,
    Learned,
    Loop,
    LostRank,
    Outcome,
    Told,
    Unexportable,
    UnfitCheckpoint,
    UntrainableData,
)
from services.training.compute import model as compute_model
from services.training.compute import several
from services.training.compute.backend import Backend
from services.training.compute.communicator.base import ALONE, Communicator, CommunicatorError
from services.training.compute.errors import ComputeError
from services.training.compute.folds import cross_validate
from services.training.compute.loop import NullLoop, Offering
from services.training.compute.prepare import Preparation
from services.training.compute.resume import Misfit
from services.training.compute.row_losses import with_target
from services.training.compute.sample_writer import Room
from services.training.compute.several import fit_several
from services.training.compute.table import Table
from services.training.compute.targets import ClassTarget
from services.training.compute.trainer import MEMORY_BUDGET, Fitted, Problem, fit
from services.training.compute.weights import BALANCED
from services.training.domain import ranking
from services.training.domain.candidate import CandidateResult
from services.training.domain.comparison import Comparison
from services.training.domain.dataset import ColumnType
from services.training.domain.job import JobSpec, Source
from services.training.domain.model import Explanation, ExportFormat, Feature, Importance
from services.training.domain.weighting import ClassWeight

# Beside compute's metadata: to compute, a point in time is a number.
TIMESTAMPS = "timestamps"
METHOD = "permutation_importance"
# Of more classes the matrix is too large to be shown with every model.
MOST_CONFUSED = 100
# How many processes train, and whether to stop waiting for them → what joins them to this one. It may raise
# CommunicatorError, as what it gives does.
Ranks: TypeAlias = Callable[[int, Callable[[], bool]], AbstractContextManager[Communicator]]


def alone(workers: int, stopping: Callable[[], bool]) -> Communicator:
    """For jobs that one process trains."""
    assert workers == 1
    return ALONE


class ComputeLearner:
    """See `Learner`."""

    def __init__(
        self,
        artifacts: Artifacts,
        backend: Backend,
        memory_budget: int = MEMORY_BUDGET,
        ranks: Ranks = alone,
    ) -> None:
        """memory_budget: bytes of preprocessed rows that are kept in memory rather than in files.
        ranks: how this process comes to the others that train a job with it.
        """
        self._artifacts = artifacts
        self._backend = backend
        self._memory_budget = memory_budget
        self._ranks = ranks

    def fit(
        self,
        spec: JobSpec,
        loop: Loop,
        *,
        resume: Mapping[str, Any] | None = None,
        workspace: Path | None = None,
        warn: Callable[[str], None] = lambda _text: None,
        told: Told | None = None,
    ) -> Learned:
        timestamps = timestamp_columns(self._artifacts.content(spec.train.key))
        how: dict[str, Any] = {"resume": resume, "workspace": workspace, "memory_budget": self._memory_budget}
        how["warn"] = warn
        chosen = None
        try:
            if spec.candidates:
                contest = _contest(spec, told or (lambda _: None))
                best = fit_several(_problem(spec), contest, self._tables(spec), loop, self._backend, **how)
                fitted, chosen = best.fitted, best.number
            elif spec.folds > 1:
                train, _, test = self._tables(spec)
                fitted = cross_validate(_problem(spec), spec.folds, train, test, loop, self._backend, **how)
            else:
                how["start"] = self._start(spec.warm_start_model_id, timestamps)
                with self._ranks(spec.workers, loop.should_stop) as communicator:
                    how["communicator"] = communicator
                    fitted = fit(_problem(spec), *self._tables(spec), loop, self._backend, **how)
        except CommunicatorError as error:
            if loop.should_stop():
                return Learned(stopped=True, samples=0)
            raise LostRank(str(error)) from error
        except Misfit as error:
            raise UnfitCheckpoint(error.problem) from error
        except ComputeError as error:
            raise UntrainableData(str(error)) from error
        if fitted.model is None:
            return Learned(stopped=True, samples=fitted.samples)
        return replace(_learned(fitted.model, fitted, timestamps), chosen=chosen)

    def restore(self, model_id: str) -> RestoredModel:
        arrays, metadata = self._artifacts.load_model(model_id)
        return RestoredModel(compute_model.TrainedModel.restore(metadata, arrays), metadata[TIMESTAMPS])

    def compare(
        self, candidates: Sequence[str], baselines: Sequence[str], on: JobSpec | Source
    ) -> Comparison:
        groups, rows = (candidates, baselines), partial(self._rows, on)
        if isinstance(on, JobSpec):
            return compare(groups, self._model, rows, on.weighting.column)
        timestamps = timestamp_columns(self._artifacts.content(on.key))
        return compare(groups, partial(self._model, timestamps=timestamps), rows, "")

    def _model(self, model_id: str, timestamps: Sequence[str] | None = None) -> compute_model.TrainedModel:
        """timestamps: columns that are points in time; raises Incomparable when it took others for such."""
        arrays, metadata = self._artifacts.load_model(model_id)
        model = compute_model.TrainedModel.restore(metadata, arrays)
        mistaken = [] if timestamps is None else _mistaken(model, metadata[TIMESTAMPS], timestamps)
        if mistaken:
            raise Incomparable(f"{mistaken[0]}: a point in time here or in training, not both")
        return model

    def _rows(self, on: JobSpec | Source, model: compute_model.TrainedModel) -> Table:
        if isinstance(on, Source):
            return with_target(ArrowTable(self._artifacts.content(on.key)), model.target.name)
        return Preparation.of(_problem(on), self._tables(on), Offering(NullLoop()), Room(0, None)).test_table(
            model.target
        )

    def _start(self, model_id: str, timestamps: Sequence[str]) -> compute_model.TrainedModel | None:
        """The model to start from; raises UntrainableData when it is gone, or took numbers for times."""
        if not model_id:
            return None
        try:
            arrays, metadata = self._artifacts.load_model(model_id)
        except FileNotFoundError as error:
            raise UntrainableData(f"The model to start from, {model_id}, is not there any more.") from error
        model = compute_model.TrainedModel.restore(metadata, arrays)
        for name in _mistaken(model, metadata[TIMESTAMPS], timestamps):
            raise UntrainableData(f"{name}: a point in time here or in the model to start from, not both")
        return model

    def _tables(self, spec: JobSpec) -> tuple[Table, Table | None, Table | None]:
        validation, test = (self._table(one) if one else None for one in (spec.validation, spec.test))
        return self._table(spec.train), validation, test

    def _table(self, source: Source) -> Table:
        return ArrowTable(self._artifacts.content(source.key))


class RestoredModel:
    """See `TrainedModel` in `ports`."""

    def __init__(self, model: compute_model.TrainedModel, timestamps: Sequence[str]) -> None:
        self._model = model
        self._timestamps = tuple(timestamps)
        self._kinds = {**_kinds(model), **_timestamps(model, timestamps)}

    @property
    def explanation(self) -> Explanation | None:
        found = self._model.explanation
        if found is None:
            return None
        importances = tuple(Importance(**vars(one)) for one in found.importances)
        return Explanation(METHOD, found.metric, found.baseline, found.rows, importances)

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

    def export(self, format: ExportFormat, target_type: ColumnType) -> bytes:
        # onnx takes long to import, and most processes never export.
        from services.training.compute.export.onnx_file import onnx_file  # noqa: PLC0415
        from services.training.compute.export.safetensors_file import safetensors_file  # noqa: PLC0415

        if format is ExportFormat.SAFETENSORS:
            return safetensors_file(self._model, {TIMESTAMPS: list(self._timestamps)})
        try:
            return onnx_file(self._model, _labels(_classes(self._model), target_type))
        except ComputeError as error:
            raise Unexportable(error.problem) from error


def _problem(spec: JobSpec) -> Problem:
    return Problem(
        task=spec.task.value,
        target=spec.target,
        hyperparameters=spec.hyperparameters,
        seed=spec.seed,
        split_seed=spec.split_seed,
        validation_fraction=spec.validation_fraction,
        test_fraction=spec.test_fraction,
        weight_column=spec.weighting.column,
        class_weights=_class_weights(spec),
        excluded_columns=spec.excluded_columns,
        transforms=spec.transforms,
    )


def _contest(spec: JobSpec, told: Told) -> several.Contest:
    return several.Contest(
        [several.Candidate(one.number, one.hyperparameters, one.seed) for one in spec.candidates],
        lambda metrics: ranking.loss(spec.ranked_by, metrics),
        lambda result: told(CandidateResult(**vars(result))),
    )


def _class_weights(spec: JobSpec) -> tuple[tuple[str, float], ...] | Literal["balanced"]:
    """To compute, booleans are 0 and 1."""
    if spec.weighting.class_weight is ClassWeight.BALANCED:
        return BALANCED
    names = {"false": "0", "true": "1"} if spec.target_type is ColumnType.BOOLEAN else {}
    return tuple((names.get(name, name), weight) for name, weight in spec.weighting.class_weights)


def _labels(classes: tuple[str, ...], kind: ColumnType) -> npt.NDArray[Any]:
    """The classes as they were written in the target column: texts, booleans or numbers."""
    if kind is ColumnType.TEXT:
        return np.array(classes, object)
    numbers: npt.NDArray[Any] = np.array(classes, np.float64)
    if kind is ColumnType.BOOLEAN:
        return numbers.astype(np.bool_)
    whole = kind is ColumnType.INTEGER and bool((np.abs(numbers) < 2**53).all())
    return numbers.astype(np.int64) if whole else numbers


def _learned(model: compute_model.TrainedModel, fitted: Fitted, timestamps: Sequence[str]) -> Learned:
    arrays = model.arrays()
    return Learned(
        stopped=False,
        arrays=arrays,
        metadata={**model.metadata(), TIMESTAMPS: list(timestamps)},
        weights_sha256=compute_model.weights_sha256(arrays),
        features=tuple(_features(model)),
        classes=_classes(model),
        warnings=(*model.warnings, *fitted.data_warnings),
        validation_metrics=fitted.validation_metrics,
        test_metrics=fitted.test_metrics,
        test_confusion=_confusion(fitted),
        samples=fitted.samples,
    )


def _confusion(fitted: Fitted) -> tuple[tuple[int, ...], ...]:
    found = fitted.test_confusion
    if found is None or len(found) > MOST_CONFUSED:
        return ()
    return tuple(tuple(row) for row in found.tolist())


def _features(model: compute_model.TrainedModel) -> list[Feature]:
    return [Feature(name, kind == "categorical") for name, kind in _kinds(model).items()]


def _kinds(model: compute_model.TrainedModel) -> dict[str, Kind]:
    reads = model.preprocessor.reads
    return {name: "categorical" if text else "numeric" for name, text in reads.items()}


def _mistaken(model: compute_model.TrainedModel, its: Sequence[str], timestamps: Sequence[str]) -> list[str]:
    """Columns that are points in time to it or in the data, and not both."""
    return [name for name in _kinds(model) if (name in its) != (name in timestamps)]


def _timestamps(model: compute_model.TrainedModel, names: Sequence[str]) -> dict[str, Kind]:
    return {name: "timestamp" for name in _kinds(model) if name in names}


def _classes(model: compute_model.TrainedModel) -> tuple[str, ...]:
    return model.target.classes if isinstance(model.target, ClassTarget) else ()
