"""Create a training job: check everything that can be known before training, then queue it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.chassis.clock import Clock, new_id
from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields
from services.training.application import idempotency
from services.training.application.datasets import check_display_name, found
from services.training.application.ports import Store, Transaction
from services.training.domain.dataset import ColumnType, Content, ProfiledColumn
from services.training.domain.hyperparameters import ALGORITHMS, Hyperparameters, Mlp
from services.training.domain.job import Job, JobSpec, Source, Task

# Whole numbers of at most this many values are classes, unless the caller says otherwise.
MOST_INTEGER_CLASSES = 20
LARGEST_FRACTION = 0.9


@dataclass(frozen=True)
class JobRequest:
    """What a caller asks for; None and "" stand for "the platform chooses"."""

    dataset_id: str
    target: str
    task: Task | None = None
    hyperparameters: Hyperparameters | None = None
    seed: int = 0
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    validation_dataset_id: str = ""
    test_dataset_id: str = ""
    display_name: str = ""


@dataclass(frozen=True)
class CreateJob:
    """Creates jobs. `wake` tells the reconciler that there is something to do."""

    store: Store
    clock: Clock
    wake: Callable[[], None]

    def __call__(self, request: JobRequest, request_id: str = "", validate_only: bool = False) -> Job:
        """The job, QUEUED; raises NotFound, FailedPrecondition, and InvalidArgument naming the fields."""
        check_display_name(request.display_name)
        _check_numbers(request)
        asked = idempotency.fingerprint(request)
        with self.store.write() as tx:
            if made := idempotency.earlier(tx, request_id, "CreateJob", asked):
                return _made_before(tx, made)
            now = self.clock()
            job_id = "" if validate_only else new_id("job")
            job = Job(job_id, request.display_name, _spec(tx, request), now, now)
            if not validate_only:
                tx.jobs.add(job)
                idempotency.remember(tx, request_id, "CreateJob", asked, job.job_id)
        self.wake()
        return job


def _made_before(tx: Transaction, job_id: str) -> Job:
    job = tx.jobs.get(job_id)
    if job is None:
        raise NotFound("job", job_id)  # deleted since
    return job


def _check_numbers(request: JobRequest) -> None:
    params = request.hyperparameters
    problems = {f"{params.name}.{name}": text for name, text in params.problems().items()} if params else {}
    parts = {"validation_fraction": request.validation_fraction, "test_fraction": request.test_fraction}
    for name, value in parts.items():
        if not 0 <= value <= LARGEST_FRACTION:
            problems[f"split.{name}"] = f"has to be in [0, {LARGEST_FRACTION}], got {value:g}"
    if sum(parts.values()) > LARGEST_FRACTION and not problems:
        problems["split"] = f"the fractions together have to be at most {LARGEST_FRACTION}"
    if problems:
        raise invalid_fields(problems)


def _spec(tx: Transaction, request: JobRequest) -> JobSpec:
    content = _content(tx, request.dataset_id)
    target = _target(content, request.target)
    task = request.task or _task(target)
    params = request.hyperparameters or Mlp()
    _check_task(target, task, params)
    if len(content.columns) < 2:
        raise invalid_fields(
            {"target": f"{request.target!r} is the only column; there is nothing to tell it from"}
        )
    return JobSpec(
        train=Source(request.dataset_id, content.sha256),
        target=request.target,
        target_type=target.column.type,
        task=task,
        hyperparameters=params,
        seed=request.seed,
        validation_fraction=request.validation_fraction,
        test_fraction=request.test_fraction,
        validation=_part(tx, "validation_dataset_id", request.validation_dataset_id, content),
        test=_part(tx, "test_dataset_id", request.test_dataset_id, content),
    )


def _content(tx: Transaction, dataset_id: str) -> Content:
    content = found(tx, dataset_id).content
    if content is None:
        message = f"The dataset {dataset_id!r} has no content yet; upload it first."
        raise FailedPrecondition("DATASET_EMPTY", message, dataset_id=dataset_id)
    return content


def _target(content: Content, name: str) -> ProfiledColumn:
    for column in content.columns:
        if column.column.name == name:
            return column
    names = ", ".join(repr(column.column.name) for column in content.columns[:20])
    raise invalid_fields({"target": f"{name!r} is not a column of the dataset; it has {names}"})


def _task(target: ProfiledColumn) -> Task:
    """Text, booleans and whole numbers of few values are classes; other numbers are values."""
    kind, distinct = target.column.type, target.profile.distinct_count
    few = kind is ColumnType.INTEGER and distinct <= MOST_INTEGER_CLASSES
    return Task.CLASSIFICATION if few or kind in (ColumnType.TEXT, ColumnType.BOOLEAN) else Task.REGRESSION


def _check_task(target: ProfiledColumn, task: Task, params: Hyperparameters) -> None:
    name, kind = target.column.name, target.column.type
    if target.profile.distinct_count < 2:
        raise invalid_fields({"target": f"the column {name!r} has fewer than two different values"})
    if target.profile.null_count:
        raise invalid_fields(
            {"target": f"the column {name!r} has no value in {target.profile.null_count} rows"}
        )
    if task is Task.REGRESSION and kind is ColumnType.TEXT:
        raise invalid_fields({"task": f"the column {name!r} holds text, which cannot be a number"})
    if task not in params.tasks:
        fitting = [kind.name for kind in ALGORITHMS.values() if task in kind.tasks]
        problem = f"does {' and '.join(params.tasks)}, and this is {task}; {' and '.join(fitting)} do that"
        raise invalid_fields({params.name: problem})


def _part(tx: Transaction, field: str, dataset_id: str, train: Content) -> Source | None:
    """A dataset in place of a part of the training one: its columns have to be the same."""
    if not dataset_id:
        return None
    content = _content(tx, dataset_id)
    for wanted in train.columns:
        column = content.column(wanted.column.name)
        if column is None:
            raise invalid_fields({field: f"has no column {wanted.column.name!r}, which {field[:-11]} needs"})
        if column.type.is_numeric != wanted.column.type.is_numeric:
            problem = (
                f"its column {column.name!r} is {column.type}, and {wanted.column.type} in the training data"
            )
            raise invalid_fields({field: problem})
    return Source(dataset_id, content.sha256)
