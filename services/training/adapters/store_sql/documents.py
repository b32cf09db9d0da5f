"""Domain objects as JSON documents, and back. A field that an old document lacks takes its default."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from services.training.domain.dataset import Dataset
from services.training.domain.hyperparameters import from_json, to_json
from services.training.domain.job import Job
from services.training.domain.model import Model

_datasets = TypeAdapter(Dataset)
_jobs = TypeAdapter(Job)
_models = TypeAdapter(Model)


def of_dataset(dataset: Dataset) -> dict[str, Any]:
    """The document of a dataset."""
    document: dict[str, Any] = _datasets.dump_python(dataset, mode="json")
    return document


def to_dataset(document: dict[str, Any]) -> Dataset:
    """The inverse of `of_dataset`."""
    return _datasets.validate_python(document)


def of_job(job: Job) -> dict[str, Any]:
    """The document of a job; its hyperparameters name their algorithm, because some have the same fields."""
    document: dict[str, Any] = _jobs.dump_python(job, mode="json")
    document["spec"]["hyperparameters"] = to_json(job.spec.hyperparameters)
    return document


def to_job(document: dict[str, Any]) -> Job:
    """The inverse of `of_job`."""
    spec = document["spec"]
    return _jobs.validate_python(
        {**document, "spec": {**spec, "hyperparameters": from_json(spec["hyperparameters"])}}
    )


def of_model(model: Model) -> dict[str, Any]:
    """The document of a model."""
    document: dict[str, Any] = _models.dump_python(model, mode="json")
    return document


def to_model(document: dict[str, Any]) -> Model:
    """The inverse of `of_model`."""
    return _models.validate_python(document)
