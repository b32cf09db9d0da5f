"""Compare two groups of models on rows that none of them was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields
from services.training.application.create_job import version_of
from services.training.application.ports import Incomparable, Learner, Store, Transaction
from services.training.application.references import found_model
from services.training.domain.comparison import Comparison
from services.training.domain.job import Job, JobSpec, Source, Task
from services.training.domain.model import Model

MOST_MODELS = 50
SIDES = ("candidate_model_ids", "baseline_model_ids")


@dataclass(frozen=True)
class CompareModels:
    """Compares; takes as long as predicting every row with every model."""

    store: Store
    learner: Learner

    def __call__(
        self, candidates: Sequence[str], baselines: Sequence[str], dataset_id: str = "", version: int = 0
    ) -> Comparison:
        """On the test part that all were kept from, or on a dataset (its newest version for 0).

        Raises NotFound, FailedPrecondition, and InvalidArgument naming the fields.
        """
        groups = dict(zip(SIDES, (candidates, baselines), strict=True))
        _check_numbers(groups, dataset_id, version)
        with self.store.read() as tx:
            found = {
                f"{side}[{number}]": found_model(tx, one)
                for side, ones in groups.items()
                for number, one in enumerate(ones)
            }
            _check_same(found)
            models = list(found.values())
            jobs = [tx.jobs.get(model.job_id) for model in models]
            older = [one for job in jobs for one in _ancestors(tx, job)]
            seen = [*models, *(one for one, _ in older)]
            on = _unseen(tx, seen, jobs, dataset_id, version) if dataset_id else _common_part(models, jobs)
            if isinstance(on, JobSpec):
                _check_ancestors(on, older)
        ids = [model.model_id for model in models]
        return self._compared(ids[: len(candidates)], ids[len(candidates) :], on, dataset_id)

    def _compared(
        self, candidates: list[str], baselines: list[str], on: JobSpec | Source, dataset_id: str
    ) -> Comparison:
        try:
            compared = self.learner.compare(candidates, baselines, on)
        except Incomparable as error:
            if dataset_id:
                raise invalid_fields({"dataset_id": str(error)}) from error
            raise _unlike(f"There is nothing to compare: {error}.") from error
        except FileNotFoundError:  # deleted since it was looked up
            kind, name = ("dataset", dataset_id) if dataset_id else ("model", candidates[0])
            raise NotFound(kind, name) from None
        return replace(compared, dataset_id=dataset_id)


def _check_numbers(groups: dict[str, Sequence[str]], dataset_id: str, version: int) -> None:
    problems = {
        name: f"has to name 1 to {MOST_MODELS} models, got {len(ids)}"
        for name, ids in groups.items()
        if not 1 <= len(ids) <= MOST_MODELS
    }
    if version and not dataset_id:
        problems["dataset_version"] = "goes with dataset_id only"
    if version < 0:
        problems["dataset_version"] = f"has to be at least 0, got {version}"
    if problems:
        raise invalid_fields(problems)


def _check_same(found: dict[str, Model]) -> None:
    """That all of them tell the same."""
    (_, first), *others = found.items()
    if first.task is Task.CLUSTERING:
        raise invalid_fields({f"{SIDES[0]}[0]": "groups rows, and tells nothing that could be compared"})
    for field, model in others:
        if (model.task, model.target) != (first.task, first.target):
            problem = f"does {model.task} of {model.target!r}, and the first does {first.task} of"
            raise invalid_fields({field: f"{problem} {first.target!r}"})
        if (model.classes, model.target_type) != (first.classes, first.target_type):
            raise invalid_fields({field: "tells other classes than the first"})


def _ancestors(tx: Transaction, job: Job | None) -> Iterator[tuple[Model, Job | None]]:
    """The models whose weights training began with, each with its job, the youngest first."""
    while job and (parent := job.spec.warm_start_model_id):
        model = tx.models.get(parent)
        if model is None:
            text = f"The model {parent}, which training began with, was deleted, and so what it had seen."
            raise FailedPrecondition("MODELS_NOT_COMPARABLE", text)
        job = tx.jobs.get(model.job_id)
        yield model, job


def _check_ancestors(on: JobSpec, older: list[tuple[Model, Job | None]]) -> None:
    """That none of them was trained on the rows in question: on another dataset, or kept from the same."""
    for model, job in older:
        kept = job is not None and _division(job.spec) == _division(on)
        if not kept and model.source.dataset_id == on.train.dataset_id:
            raise _unlike(
                f"Training began with the model {model.model_id}, which may have seen rows of the test part."
            )


def _unseen(
    tx: Transaction, models: list[Model], jobs: Sequence[Job | None], dataset_id: str, number: int
) -> Source:
    """The dataset, of which training has seen nothing: not for early stopping either."""
    source, _ = version_of(tx, dataset_id, number)
    seen = {model.source.sha256 for model in models}
    seen |= {job.spec.validation.sha256 for job in jobs if job and job.spec.validation}
    if source.sha256 in seen:
        raise invalid_fields({"dataset_id": "has the content that one of the models was trained on"})
    return source


def _common_part(models: list[Model], jobs: Sequence[Job | None]) -> JobSpec:
    """A job's spec that stands for all: the same rows are its test part."""
    there = [job.spec for job in jobs if job]
    if len(there) < len(models):
        gone = next(model.job_id for model, job in zip(models, jobs, strict=True) if job is None)
        raise _unlike(f"The job {gone} was deleted, and with it which rows its model was tested on.")
    if len({_division(spec) for spec in there}) > 1:
        raise _unlike(
            "The models were not kept from the same test rows: their dataset, its version, the split with "
            "its seed, the weights and the datasets for validation and test have to be the same."
        )
    return there[0]


def _division(spec: JobSpec) -> tuple[object, ...]:
    """What decides which rows are tested on."""
    seed = spec.seed if spec.split_seed is None else spec.split_seed
    others = [source.key if source else "" for source in (spec.validation, spec.test)]
    fractions = spec.validation_fraction, spec.test_fraction
    return spec.train.key, fractions, seed, *others, spec.weighting.column


def _unlike(message: str) -> FailedPrecondition:
    return FailedPrecondition("MODELS_NOT_COMPARABLE", f"{message} Name a dataset to compare on.")
