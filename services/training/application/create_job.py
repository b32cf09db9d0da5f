"""Create a training job: check everything that can be known before training, then queue it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from services.chassis.clock import Clock, new_id
from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields
from services.training.application import events, idempotency
from services.training.application.datasets import check_display_name, found, reserve_content
from services.training.application.features import check_columns, check_start_columns, check_transforms
from services.training.application.ports import Store, Transaction
from services.training.application.references import found_model
from services.training.application.weights import check_classes, check_weights, class_weight_problems
from services.training.domain.dataset import ColumnType, Content, ProfiledColumn
from services.training.domain.hyperparameters import ALGORITHMS, PARALLEL, Blend, Hyperparameters, KMeans
from services.training.domain.job import (
    DEFAULT_MAX_ATTEMPTS,
    Device,
    Job,
    JobSpec,
    Source,
    Task,
)
from services.training.domain.model import Model
from services.training.domain.schedule import HIGHEST_PRIORITY
from services.training.domain.tenants import DEFAULT_TENANT
from services.training.domain.transforms import FeatureTransform
from services.training.domain.weighting import EVEN, Weighting

# Whole numbers of at most this many values are classes, unless the caller says otherwise.
MOST_INTEGER_CLASSES = 20
LARGEST_FRACTION = 0.9
MOST_ATTEMPTS = 10


@dataclass(frozen=True)
class JobRequest:
    """What a caller asks for; None and "" stand for "the platform chooses", and no target for clustering."""

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
    dataset_version: int = 0
    warm_start_model_id: str = ""
    device: Device | None = None
    priority: int = 0
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    time_limit: float = 0.0
    tenant: str = DEFAULT_TENANT
    weighting: Weighting = EVEN
    split_seed: int | None = None
    excluded_columns: tuple[str, ...] = ()
    transforms: tuple[FeatureTransform, ...] = ()
    workers: int = 1


@dataclass(frozen=True)
class CreateJob:
    """Creates jobs. `wake` tells the reconciler that there is something to do.

    slots: attempts at once on each kind of device; the first is what a job gets that does not choose.
    traceparent: names the call that is being answered.
    """

    store: Store
    clock: Clock
    wake: Callable[[], None]
    slots: Mapping[Device, int]
    traceparent: Callable[[], str] = str

    def __call__(self, request: JobRequest, request_id: str = "", validate_only: bool = False) -> Job:
        """The job, QUEUED; raises NotFound, FailedPrecondition, and InvalidArgument naming the fields."""
        check_display_name(request.display_name)
        check_numbers(request)
        device = device_for(request, self.slots)
        asked = idempotency.fingerprint(request)
        with self.store.write() as tx:
            if replay := idempotency.earlier(tx, request_id, "CreateJob", asked):
                return idempotency.answer_of(replay, Job)
            now = self.clock()
            job_id = "" if validate_only else new_id("job")
            spec, rows = asked_spec(tx, request, device)
            check_workers(spec, self.slots[device])
            params = spec.hyperparameters.settled(spec.task, rows)
            job = Job(
                job_id,
                request.display_name,
                replace(spec, hyperparameters=params),
                now,
                now,
                tenant=request.tenant,
                priority=request.priority,
                traceparent=self.traceparent(),
            )
            if not validate_only:
                tx.jobs.add(job)
                tx.jobs.record(job_id, [events.info(job, now, "job_created", "The job waits for a slot.")])
                idempotency.remember(tx, request_id, "CreateJob", asked, job, now)
        self.wake()
        return job


def device_for(request: JobRequest, slots: Mapping[Device, int]) -> Device:
    """What the job trains on; raises FailedPrecondition when that is not there."""
    device = request.device or next(iter(slots))
    if not slots.get(device):
        message = f"There is no {device.upper()} to train on here."
        raise FailedPrecondition("DEVICE_UNAVAILABLE", message, device=device)
    return device


def check_numbers(request: JobRequest) -> None:
    """That numbers are within their bounds; raises InvalidArgument naming the fields."""
    params = request.hyperparameters
    problems = {f"{params.name}.{name}": text for name, text in params.problems().items()} if params else {}
    if not -HIGHEST_PRIORITY <= request.priority <= HIGHEST_PRIORITY:
        problems["priority"] = (
            f"has to be in [-{HIGHEST_PRIORITY}, {HIGHEST_PRIORITY}], got {request.priority}"
        )
    if not 1 <= request.max_attempts <= MOST_ATTEMPTS:
        problems["max_attempts"] = f"has to be in [1, {MOST_ATTEMPTS}], got {request.max_attempts}"
    problems |= time_limit_problems(request.time_limit)
    problems |= class_weight_problems(request.weighting)
    parts = {"validation_fraction": request.validation_fraction, "test_fraction": request.test_fraction}
    for name, value in parts.items():
        if not 0 <= value <= LARGEST_FRACTION:
            problems[f"split.{name}"] = f"has to be in [0, {LARGEST_FRACTION}], got {value:g}"
    if sum(parts.values()) > LARGEST_FRACTION and not problems:
        problems["split"] = f"the fractions together have to be at most {LARGEST_FRACTION}"
    if problems:
        raise invalid_fields(problems)


def time_limit_problems(seconds: float) -> dict[str, str]:
    """Empty when it is a number of seconds; 0 stands for no limit."""
    if math.isfinite(seconds) and seconds >= 0:
        return {}
    return {"time_limit_seconds": f"has to be a number of seconds, at least 0, got {seconds:g}"}


def asked_spec(tx: Transaction, request: JobRequest, device: Device) -> tuple[JobSpec, int]:
    """What is asked for, hyperparameters not yet settled, and how many rows the dataset has.

    Raises NotFound, FailedPrecondition, and InvalidArgument naming the fields.
    """
    train, content = _content(tx, request.dataset_id, request.dataset_version)
    target = None if _clusters(request) else _target(content, request.target)
    task = request.task or _task(target)
    start = _start(tx, request, task)
    chosen = KMeans() if task is Task.CLUSTERING else Blend()
    asked = request.hyperparameters or (ALGORITHMS[start.algorithm]() if start else chosen)
    if target:
        _check_target(target, task)
    check_columns(content, request.target, request.weighting.column, request.excluded_columns)
    check_transforms(
        content, (request.target, request.weighting.column, *request.excluded_columns), request.transforms
    )
    check_start_columns(start, request.excluded_columns)
    _check_task(task, asked)
    check_classes(request.weighting, task, target)
    if start and start.algorithm != asked.name:
        problem = f"is a model of {start.algorithm}, and this job trains {asked.name}"
        raise invalid_fields({"warm_start_model_id": problem})
    spec = JobSpec(
        train=train,
        target=request.target,
        target_type=target.column.type if target else ColumnType.INTEGER,
        task=task,
        hyperparameters=asked,
        seed=request.seed,
        validation_fraction=request.validation_fraction,
        test_fraction=request.test_fraction,
        validation=_part(tx, "validation_dataset_id", request, content),
        test=_part(tx, "test_dataset_id", request, content),
        warm_start_model_id=start.model_id if start else "",
        device=device,
        max_attempts=request.max_attempts,
        time_limit=request.time_limit,
        weighting=request.weighting,
        split_seed=request.split_seed,
        excluded_columns=request.excluded_columns,
        transforms=request.transforms,
        workers=request.workers,
    )
    return spec, content.row_count


def check_workers(spec: JobSpec, slots: int) -> None:
    """That so many processes can train it together; raises InvalidArgument. slots: on its device."""
    workers, name = spec.workers, spec.hyperparameters.name
    problem = ""
    if workers > 1 and name not in PARALLEL:
        problem = f"{name} trains in one process; {', '.join(PARALLEL)} can in several"
    elif workers > 1 and spec.device is Device.GPU:
        problem = "a job trains on one GPU; several processes train it on processors, with device CPU"
    elif not 1 <= workers <= slots:
        problem = (
            f"has to be in [1, {slots}], as many as there are {spec.device.upper()} slots, got {workers}"
        )
    if problem:
        raise invalid_fields({"workers": problem})


def _start(tx: Transaction, request: JobRequest, task: Task) -> Model | None:
    """The model to begin with, as far as can be told without its weights."""
    if not request.warm_start_model_id:
        return None
    model = found_model(tx, request.warm_start_model_id)
    if (model.target, model.task) != (request.target, task):
        problem = f"does {model.task} of {model.target!r}, and this job does {task} of {request.target!r}"
        raise invalid_fields({"warm_start_model_id": problem})
    return model


def _content(tx: Transaction, dataset_id: str, number: int = 0) -> tuple[Source, Content]:
    """A version of a dataset, the newest for 0; its file stays until the job is written down."""
    source, _ = version_of(tx, dataset_id, number)
    reserve_content(tx, source.key)
    return version_of(tx, dataset_id, source.version)


def version_of(tx: Transaction, dataset_id: str, number: int) -> tuple[Source, Content]:
    """A version of a dataset, the newest for 0; raises NotFound, FailedPrecondition."""
    dataset = found(tx, dataset_id)
    if number and number != dataset.version:
        version = tx.datasets.version(dataset, number)
        if version is None:
            raise NotFound("dataset_version", f"{dataset_id}/{number}")
        return _source(dataset_id, number, version.content), version.content
    if dataset.content is None:
        message = f"The dataset {dataset_id!r} has no content yet; upload it first."
        raise FailedPrecondition("DATASET_EMPTY", message, dataset_id=dataset_id)
    return _source(dataset_id, dataset.version, dataset.content), dataset.content


def content_of(tx: Transaction, source: Source) -> Content:
    """What a job of that source trains on; raises NotFound."""
    return version_of(tx, source.dataset_id, source.version)[1]


def _source(dataset_id: str, version: int, content: Content) -> Source:
    return Source(dataset_id, content.sha256, version, content.content_id)


def _clusters(request: JobRequest) -> bool:
    """Whether rows are to be grouped; raises InvalidArgument when that goes with a target, or without one."""
    params, task = request.hyperparameters, request.task
    clusters = Task.CLUSTERING in ((task,) if task else params.tasks if params else ())
    if clusters and request.target:
        raise invalid_fields({"target": "has to be empty for clustering, which has nothing to tell"})
    if not clusters and not request.target:
        raise invalid_fields({"target": "is required; only clustering (kmeans) goes without"})
    return clusters


def _target(content: Content, name: str) -> ProfiledColumn:
    for column in content.columns:
        if column.column.name == name:
            return column
    names = ", ".join(repr(column.column.name) for column in content.columns[:20])
    raise invalid_fields({"target": f"{name!r} is not a column of the dataset; it has {names}"})


def _task(target: ProfiledColumn | None) -> Task:
    """Text, booleans and whole numbers of few values are classes; other numbers are values."""
    if target is None:
        return Task.CLUSTERING
    kind, distinct = target.column.type, target.profile.distinct_count
    few = kind is ColumnType.INTEGER and distinct <= MOST_INTEGER_CLASSES
    return Task.CLASSIFICATION if few or kind in (ColumnType.TEXT, ColumnType.BOOLEAN) else Task.REGRESSION


def _check_target(target: ProfiledColumn, task: Task) -> None:
    name, kind = target.column.name, target.column.type
    if target.profile.distinct_count < 2:
        raise invalid_fields({"target": f"the column {name!r} has fewer than two different values"})
    if target.profile.null_count:
        raise invalid_fields(
            {"target": f"the column {name!r} has no value in {target.profile.null_count} rows"}
        )
    if task is Task.REGRESSION and kind is ColumnType.TEXT:
        raise invalid_fields({"task": f"the column {name!r} holds text, which cannot be a number"})


def _check_task(task: Task, params: Hyperparameters) -> None:
    if task not in params.tasks:
        fitting = [kind.name for kind in ALGORITHMS.values() if task in kind.tasks]
        problem = f"does {' and '.join(params.tasks)}, and this is {task}; {' and '.join(fitting)} do that"
        raise invalid_fields({params.name: problem})


def _part(tx: Transaction, field: str, request: JobRequest, train: Content) -> Source | None:
    """A dataset in place of a part of the training one: the columns that are read have to be the same."""
    dataset_id, weights = getattr(request, field), request.weighting.column
    if not dataset_id:
        return None
    source, content = _content(tx, dataset_id)
    for wanted in train.columns:
        if wanted.column.name in request.excluded_columns:
            continue
        found = content.profiled(wanted.column.name)
        if found is None:
            raise invalid_fields({field: f"has no column {wanted.column.name!r}, which {field[:-11]} needs"})
        column = found.column
        # A column without a value has no type of its own; a small part may well have one.
        if found.profile.count and column.type.is_numeric != wanted.column.type.is_numeric:
            problem = (
                f"its column {column.name!r} is {column.type}, and {wanted.column.type} in the training data"
            )
            raise invalid_fields({field: problem})
    if weights:
        check_weights(content, weights, field.removesuffix("_id").replace("_", " "))
    return source
