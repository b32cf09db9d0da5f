"""A trained model, as the registry knows it. What it learned is an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.training.domain.dataset import ColumnType
from services.training.domain.job import Source, Task
from services.training.domain.tenants import DEFAULT_TENANT


class ExportFormat(StrEnum):
    """What a model can leave as; the value is the file's suffix too."""

    ONNX = "onnx"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True)
class Feature:
    """A column that a model reads; categorical: as text, else as a number."""

    name: str
    categorical: bool


@dataclass(frozen=True)
class Importance:
    """By how much the metric grows when the column `feature` is shuffled; standard_error is of the mean."""

    feature: str
    mean: float
    standard_error: float


@dataclass(frozen=True)
class Explanation:
    """What each column is worth to a model, the most important first.

    metric: what grows as predictions get worse. baseline: its value with no column shuffled, on `rows` rows.
    """

    method: str
    metric: str
    baseline: float
    rows: int
    importances: tuple[Importance, ...]


@dataclass(frozen=True)
class Model:
    """A model. target_type: how classes were written in the target column.

    test_confusion: for each true class, how many test rows were taken for each class; empty where unknown.
    """

    model_id: str
    display_name: str
    job_id: str
    source: Source
    algorithm: str
    task: Task
    target: str
    target_type: ColumnType
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    weights_sha256: str
    validation_metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]
    warnings: tuple[str, ...]
    create_time: datetime
    test_confusion: tuple[tuple[int, ...], ...] = ()
    tenant: str = DEFAULT_TENANT
