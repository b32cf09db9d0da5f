"""Domain objects as JSON documents, and back. A field that an old document lacks takes its default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from services.training.application.ports import Resource
from services.training.domain.dataset import Content, Dataset
from services.training.domain.hyperparameters import from_json, to_json
from services.training.domain.job import Job, JobSpec
from services.training.domain.model import Model
from services.training.domain.registry import RegisteredModel
from services.training.domain.sweep import Sweep
from services.training.domain.upload import Upload

_contents = TypeAdapter(Content)
_datasets = TypeAdapter(Dataset)
_jobs = TypeAdapter(Job)
_models = TypeAdapter(Model)
_registered = TypeAdapter(RegisteredModel)
_sweeps = TypeAdapter(Sweep)
_uploads = TypeAdapter(Upload)


def of_content(content: Content) -> dict[str, Any]:
    """The document of what is in a version."""
    document: dict[str, Any] = _contents.dump_python(content, mode="json")
    return document


def to_content(document: dict[str, Any]) -> Content:
    """The inverse of `of_content`."""
    return _contents.validate_python(document)


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
    document["spec"] |= _of_spec(job.spec)
    return document


def to_job(document: dict[str, Any]) -> Job:
    """The inverse of `of_job`."""
    return _jobs.validate_python({**document, "spec": _to_spec(document["spec"])})


def of_sweep(sweep: Sweep) -> dict[str, Any]:
    """The document of a sweep; as in a job's, hyperparameters name their algorithm."""
    document: dict[str, Any] = _sweeps.dump_python(sweep, mode="json")
    document["base"] |= _of_spec(sweep.base)
    return document


def to_sweep(document: dict[str, Any]) -> Sweep:
    """The inverse of `of_sweep`."""
    return _sweeps.validate_python({**document, "base": _to_spec(document["base"])})


def of_model(model: Model) -> dict[str, Any]:
    """The document of a model."""
    document: dict[str, Any] = _models.dump_python(model, mode="json")
    return document


def to_model(document: dict[str, Any]) -> Model:
    """The inverse of `of_model`."""
    return _models.validate_python(document)


def of_registered(named: RegisteredModel) -> dict[str, Any]:
    """The document of a name of models."""
    document: dict[str, Any] = _registered.dump_python(named, mode="json")
    return document


def to_registered(document: dict[str, Any]) -> RegisteredModel:
    """The inverse of `of_registered`."""
    return _registered.validate_python(document)


def of_upload(upload: Upload) -> dict[str, Any]:
    """The document of an upload."""
    document: dict[str, Any] = _uploads.dump_python(upload, mode="json")
    return document


def to_upload(document: dict[str, Any]) -> Upload:
    """The inverse of `of_upload`."""
    return _uploads.validate_python(document)


def of_answer(answer: Resource | None) -> dict[str, Any] | None:
    """The document of what a request was answered, with its kind; None for an empty answer."""
    match answer:
        case None:
            return None
        case Job():
            return {"kind": "job", "document": of_job(answer)}
        case Dataset():
            return {"kind": "dataset", "document": of_dataset(answer)}
        case RegisteredModel():
            return {"kind": "registered_model", "document": of_registered(answer)}
        case Sweep():
            return {"kind": "sweep", "document": of_sweep(answer)}
        case Upload():
            return {"kind": "upload", "document": of_upload(answer)}


def to_answer(document: dict[str, Any] | None) -> Resource | None:
    """The inverse of `of_answer`."""
    if document is None:
        return None
    return _ANSWERS[document["kind"]](document["document"])


def _of_spec(spec: JobSpec) -> dict[str, Any]:
    """What the document of a spec says of hyperparameters."""
    candidates = [
        {"number": one.number, "seed": one.seed, "hyperparameters": to_json(one.hyperparameters)}
        for one in spec.candidates
    ]
    return {"hyperparameters": to_json(spec.hyperparameters), "candidates": candidates}


def _to_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """The document of a spec, with hyperparameters in the place of theirs."""
    candidates = [
        {**one, "hyperparameters": from_json(one["hyperparameters"])} for one in spec.get("candidates", ())
    ]
    return {**spec, "hyperparameters": from_json(spec["hyperparameters"]), "candidates": candidates}


_ANSWERS: dict[str, Callable[[dict[str, Any]], Resource]] = {
    "job": to_job,
    "dataset": to_dataset,
    "registered_model": to_registered,
    "sweep": to_sweep,
    "upload": to_upload,
}
