"""What CreateJob finds out before anything is queued."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from services.chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from services.training.adapters.store_sql import SqlStore
from services.training.application.create_job import CreateJob, JobRequest
from services.training.application.ports import Page
from services.training.domain.dataset import (
    Column,
    ColumnProfile,
    ColumnType,
    Content,
    ProfiledColumn,
    Version,
)
from services.training.domain.hyperparameters import Blend, KMeans, Linear, Logistic, Mlp
from services.training.domain.job import Device, Job, JobState, Source, Task
from services.training.domain.weighting import ClassWeight, Weighting
from tests.unit.training.samples import NOW, column, content, dataset, model

Create: TypeAlias = Callable[..., Job]
DEFAULTS = Blend(Mlp(learning_rate=0.04, max_epochs=256))
GOOD = JobRequest("table", "kind")
NAN = float("nan")


@pytest.fixture
def create(store: SqlStore) -> CreateJob:
    with store.write() as tx:
        tx.datasets.put(replace(dataset("table", content("a1")), version=3))
        tx.datasets.put(dataset("empty"))
        tx.datasets.put(dataset("narrow", content("b2", column("kind", ColumnType.TEXT))))
        tx.datasets.put(
            dataset("other", content("c3", column("x"), column("y", ColumnType.TEXT), column("kind")))
        )
    return CreateJob(store, lambda: NOW, lambda: None, {Device.CPU: 2})


def jobs(store: SqlStore) -> list[Job]:
    with store.read() as tx:
        return [job for _, job in tx.jobs.page(Page(1000), None)]


def problems(error: InvalidArgument) -> dict[str, str]:
    return {violation.field: violation.description for violation in error.violations}


def test_a_job_is_queued_with_its_defaults(create: CreateJob, store: SqlStore) -> None:
    made = create(GOOD)
    assert jobs(store) == [made]
    assert (made.state, made.attempt, made.create_time) == (JobState.QUEUED, 0, NOW)
    assert made.spec.train == Source("table", "a1", 3)
    assert (made.tenant, made.priority, made.spec.device) == ("default", 0, Device.CPU)
    assert (made.spec.max_attempts, made.spec.time_limit) == (3, 0)
    assert (made.spec.task, made.spec.hyperparameters) == (Task.CLASSIFICATION, DEFAULTS)


def test_the_reconciler_is_woken(store: SqlStore, create: CreateJob) -> None:
    woken: list[bool] = []
    replace(create, wake=lambda: woken.append(len(jobs(store)) == 1))(GOOD)
    assert woken == [True]


@pytest.mark.parametrize(
    ("kind", "distinct", "task"),
    [
        (ColumnType.TEXT, 10_000, Task.CLASSIFICATION),
        (ColumnType.BOOLEAN, 2, Task.CLASSIFICATION),
        (ColumnType.INTEGER, 20, Task.CLASSIFICATION),
        (ColumnType.INTEGER, 21, Task.REGRESSION),
        (ColumnType.FLOAT, 2, Task.REGRESSION),
        (ColumnType.TIMESTAMP, 2, Task.REGRESSION),
    ],
)
def test_the_task_is_found_from_the_target(
    store: SqlStore, create: CreateJob, kind: ColumnType, distinct: int, task: Task
) -> None:
    with store.write() as tx:
        target = column("target", kind, distinct=distinct)
        tx.datasets.put(dataset("table", content("d4", column("x"), target)))
    made = create(JobRequest("table", "target"))
    assert (made.spec.task, made.spec.target_type) == (task, kind)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"display_name": "x" * 201}, "display_name"),
        ({"hyperparameters": Mlp(), "workers": 0}, "workers"),
        ({"hyperparameters": Mlp(), "workers": 3}, "workers"),  # there are two slots
        ({"workers": 2}, "workers"),  # the platform's choice trains in one process
        ({"hyperparameters": Linear(), "target": "x", "workers": 2}, "workers"),
        ({"target": "☃"}, "target"),
        ({"task": Task.REGRESSION}, "task"),
        ({"validation_fraction": -0.1}, "split.validation_fraction"),
        ({"validation_fraction": 0.91}, "split.validation_fraction"),
        ({"test_fraction": NAN}, "split.test_fraction"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "split"),
        ({"hyperparameters": Linear()}, "linear"),
        ({"hyperparameters": Logistic(l2=-1)}, "logistic.l2"),
        ({"hyperparameters": Logistic(tolerance=NAN)}, "logistic.tolerance"),
        ({"hyperparameters": Mlp(hidden_sizes=(8, 0))}, "mlp.hidden_sizes"),
        ({"hyperparameters": Mlp(hidden_sizes=(8,) * 33)}, "mlp.hidden_sizes"),
        ({"hyperparameters": Mlp(learning_rate=float("inf"))}, "mlp.learning_rate"),
        ({"hyperparameters": Mlp(max_epochs=-1)}, "mlp.max_epochs"),
        ({"hyperparameters": Blend(Mlp(max_epochs=-1))}, "blend.mlp.max_epochs"),
        ({"target": "y", "hyperparameters": Logistic()}, "logistic"),
        ({"target": ""}, "target"),
        ({"target": "", "hyperparameters": Logistic()}, "target"),
        ({"target": "", "task": Task.CLASSIFICATION, "hyperparameters": KMeans()}, "target"),
        ({"hyperparameters": KMeans()}, "target"),
        ({"task": Task.CLUSTERING}, "target"),
        ({"task": Task.CLASSIFICATION, "hyperparameters": KMeans()}, "kmeans"),
        ({"target": "", "task": Task.CLUSTERING, "hyperparameters": Mlp()}, "mlp"),
        ({"target": "", "hyperparameters": KMeans(clusters=0)}, "kmeans.clusters"),
        ({"validation_dataset_id": "narrow"}, "validation_dataset_id"),
        ({"test_dataset_id": "other"}, "test_dataset_id"),
        ({"priority": 101}, "priority"),
        ({"priority": -101}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 11}, "max_attempts"),
        ({"time_limit": -1.0}, "time_limit_seconds"),
        ({"time_limit": NAN}, "time_limit_seconds"),
        ({"time_limit": float("inf")}, "time_limit_seconds"),
    ],
)
def test_the_field_at_fault_is_named(
    create: CreateJob, store: SqlStore, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        create(replace(GOOD, **change))
    assert caught.value.reason == "INVALID_FIELD"
    assert list(problems(caught.value)) == [field]
    assert jobs(store) == []


def test_several_processes_train_on_the_processor(create: CreateJob) -> None:
    asked = replace(GOOD, hyperparameters=Mlp(), workers=2)
    assert create(asked).spec.workers == 2
    with pytest.raises(InvalidArgument) as caught:
        replace(create, slots={Device.GPU: 2})(asked)
    assert "one GPU" in problems(caught.value)["workers"]


@pytest.mark.parametrize(
    "asked", [{"hyperparameters": KMeans()}, {"task": Task.CLUSTERING}, {"dataset_id": "narrow"}]
)
def test_clustering_needs_no_target(create: CreateJob, asked: dict[str, Any]) -> None:
    made = create(replace(GOOD, **{"target": "", "hyperparameters": KMeans(), **asked}))
    assert (made.spec.task, made.spec.target, made.spec.hyperparameters) == (Task.CLUSTERING, "", KMeans())


BALANCED = Weighting(class_weight=ClassWeight.BALANCED)
WEIGHED = content(
    "w1",
    column("x"),
    column("w"),
    column("gaps", nulls=3),
    column("text", ColumnType.TEXT),
    column("flag", ColumnType.BOOLEAN, distinct=2),
    replace(column("below"), profile=replace(column("below").profile, minimum=-0.5)),
    replace(column("none"), profile=replace(column("none").profile, maximum=0.0)),
    ProfiledColumn(
        Column("kind", ColumnType.TEXT), ColumnProfile(100, 0, 2, top_values=(("rose", 70), ("tulip", 30)))
    ),
)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"weighting": Weighting("gaps")}, "weight_column", "'gaps' has no value in 3 rows in the dataset"),
        ({"weighting": Weighting("text")}, "weight_column", "'text' holds TEXT"),
        ({"weighting": Weighting("flag")}, "weight_column", "'flag' holds BOOLEAN"),
        ({"weighting": Weighting("below")}, "weight_column", "'below' is -0.5 at the least"),
        ({"weighting": Weighting("none")}, "weight_column", "'none' is 0 in every row"),
        ({"weighting": Weighting("wieght")}, "weight_column", "'wieght' is not a column of the dataset"),
        ({"weighting": Weighting("kind")}, "weight_column", "as the target is"),
        ({"weighting": Weighting("w"), "test_dataset_id": "thin"}, "weight_column", "in the test dataset"),
        ({"weighting": Weighting(class_weights=(("rose", 0.0),))}, "class_weights.rose", "above 0"),
        ({"weighting": Weighting(class_weights=(("rose", NAN),))}, "class_weights.rose", "above 0"),
        (
            {"weighting": Weighting(class_weights=(("daisy", 2.0),))},
            "class_weights.daisy",
            "there are 'rose', 'tulip'",
        ),
        (
            {"weighting": Weighting("", ClassWeight.BALANCED, (("rose", 2.0),))},
            "class_weights",
            "one of the two",
        ),
        ({"target": "x", "weighting": BALANCED}, "class_weight", "is for classification"),
        (
            {"target": "x", "weighting": Weighting(class_weights=(("1", 2.0),))},
            "class_weights",
            "is for classification",
        ),
        (
            {"target": "flag", "weighting": Weighting(class_weights=(("1", 2.0),))},
            "class_weights.1",
            "there are 'false', 'true'",
        ),
    ],
)
def test_weights_that_are_none(
    create: CreateJob, store: SqlStore, change: dict[str, Any], field: str, words: str
) -> None:
    columns = [replace(one, profile=replace(one.profile, null_count=2)) for one in WEIGHED.columns]
    with store.write() as tx:
        tx.datasets.put(dataset("weighed", WEIGHED))
        tx.datasets.put(dataset("thin", replace(WEIGHED, columns=tuple(columns))))
    with pytest.raises(InvalidArgument) as caught:
        create(replace(GOOD, dataset_id="weighed", **change))
    assert list(problems(caught.value)) == [field]
    assert words in problems(caught.value)[field]
    assert jobs(store) == []


def test_weights_are_kept_with_the_job(create: CreateJob, store: SqlStore) -> None:
    with store.write() as tx:
        tx.datasets.put(dataset("weighed", WEIGHED))
    for asked in (Weighting("w", None, (("rose", 2.0), ("tulip", 3.0))), BALANCED):
        made = create(replace(GOOD, dataset_id="weighed", weighting=asked))
        assert jobs(store)[0] == made
        assert made.spec.weighting == asked


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"dataset_id": "two"}, "target", "'kind' and 'w' are the only columns"),
        (
            {"dataset_id": "one", "target": "", "hyperparameters": KMeans()},
            "weight_column",
            "'w' is the only column",
        ),
    ],
)
def test_weights_are_nothing_to_learn_from(
    create: CreateJob, store: SqlStore, change: dict[str, Any], field: str, words: str
) -> None:
    with store.write() as tx:
        tx.datasets.put(dataset("two", content("t2", column("w"), column("kind", ColumnType.TEXT))))
        tx.datasets.put(dataset("one", content("o1", column("w"))))
    with pytest.raises(InvalidArgument) as caught:
        create(replace(GOOD, weighting=Weighting("w"), **change))
    assert words in problems(caught.value)[field]


def test_all_wrong_numbers_are_named_at_once(create: CreateJob) -> None:
    wrong = replace(GOOD, validation_fraction=2, hyperparameters=Mlp(dropout=1, batch_size=0))
    with pytest.raises(InvalidArgument) as caught:
        create(wrong)
    assert set(problems(caught.value)) == {"split.validation_fraction", "mlp.dropout", "mlp.batch_size"}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (content("d4", column("x"), column("kind", ColumnType.TEXT, distinct=1)), "fewer than two"),
        (content("d4", column("x"), column("kind", ColumnType.TEXT, nulls=7)), "no value in 7 rows"),
        (content("d4", column("kind", ColumnType.TEXT)), "the only column"),
    ],
)
def test_a_target_that_cannot_be_told_is_refused(
    store: SqlStore, create: CreateJob, held: Content, words: str
) -> None:
    with store.write() as tx:
        tx.datasets.put(dataset("table", held))
    with pytest.raises(InvalidArgument) as caught:
        create(GOOD)
    assert words in problems(caught.value)["target"]


@pytest.mark.parametrize("field", ["dataset_id", "validation_dataset_id", "test_dataset_id"])
def test_every_dataset_has_to_be_there_and_to_hold_something(create: CreateJob, field: str) -> None:
    none: dict[str, Any] = {field: "none"}
    empty_one: dict[str, Any] = {field: "empty"}
    with pytest.raises(NotFound) as missing:
        create(replace(GOOD, **none))
    assert (missing.value.reason, missing.value.metadata) == ("DATASET_NOT_FOUND", {"dataset_id": "none"})
    with pytest.raises(FailedPrecondition) as empty:
        create(replace(GOOD, **empty_one))
    assert empty.value.reason == "DATASET_EMPTY"


@pytest.mark.parametrize(("rows", "epochs"), [(100, 256), (50_000, 256), (200_000, 64), (10**9, 10)])
def test_many_rows_mean_fewer_epochs_unless_they_are_asked_for(rows: int, epochs: int) -> None:
    assert Mlp().settled("regression", rows) == Mlp(learning_rate=0.2, max_epochs=epochs)
    assert Mlp(max_epochs=77).settled("regression", rows).max_epochs == 77


def test_validate_only_checks_everything_and_creates_nothing(create: CreateJob, store: SqlStore) -> None:
    checked = create(GOOD, request_id="dry", validate_only=True)
    assert (checked.job_id, checked.spec.hyperparameters) == ("", DEFAULTS)
    with pytest.raises(InvalidArgument):
        create(replace(GOOD, target="none"), validate_only=True)
    assert jobs(store) == []
    assert create(GOOD, request_id="dry").job_id  # the id is still free


def test_a_job_keeps_the_content_of_its_day(create: CreateJob, store: SqlStore) -> None:
    made = create(GOOD)
    with store.write() as tx:
        tx.datasets.put(dataset("table", content("later")))
    assert jobs(store)[0].spec == made.spec
    assert made.spec.train.sha256 == "a1"


def test_a_request_id_makes_one_job_however_often_it_is_sent(create: CreateJob, store: SqlStore) -> None:
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(lambda _: create(GOOD, request_id="once"), range(20)))
    assert len(jobs(store)) == 1
    assert {job.job_id for job in made} == {jobs(store)[0].job_id}


def test_the_replay_answers_what_was_answered_whatever_has_come_of_it(
    create: CreateJob, store: SqlStore
) -> None:
    made = create(GOOD, request_id="once")
    with store.write() as tx:
        tx.jobs.update(made.cancelled(NOW, NOW))
        tx.datasets.delete(dataset())
    assert create(GOOD, request_id="once") == made
    with store.write() as tx:
        tx.jobs.delete(made.job_id)
    assert create(GOOD, request_id="once") == made


def test_a_request_id_is_good_for_one_thing(create: CreateJob, store: SqlStore) -> None:
    made = create(GOOD, request_id="once")
    with pytest.raises(AlreadyExists) as caught:
        create(replace(GOOD, seed=1), request_id="once")
    assert (caught.value.reason, caught.value.metadata) == ("REQUEST_ID_REUSED", {"request_id": "once"})
    assert jobs(store) == [made]
    with pytest.raises(InvalidArgument) as long:
        create(GOOD, request_id="x" * 129)
    assert list(problems(long.value)) == ["request_id"]
    assert jobs(store) == [made]


def test_a_request_that_failed_is_not_remembered(create: CreateJob, store: SqlStore) -> None:
    with pytest.raises(NotFound):
        create(replace(GOOD, dataset_id="soon"), request_id="once")
    with store.write() as tx:
        tx.datasets.put(dataset("soon", content("a1")))
    assert create(replace(GOOD, dataset_id="soon"), request_id="once").job_id


def test_what_is_asked_for_is_kept(create: CreateJob) -> None:
    asked = replace(GOOD, priority=-100, max_attempts=10, time_limit=0.5, tenant="lab", seed=7)
    made = create(asked)
    assert (made.priority, made.tenant) == (-100, "lab")
    assert (made.spec.max_attempts, made.spec.time_limit, made.spec.seed) == (10, 0.5, 7)


def test_the_first_event_says_that_it_waits(create: CreateJob, store: SqlStore) -> None:
    made = create(GOOD)
    create(GOOD, validate_only=True)
    with store.read() as tx:
        events = tx.jobs.events(made.job_id, 0, 10)
    assert [(one.kind, one.attempt) for one in events] == [("job_created", 0)]


def test_a_job_gets_the_first_device_unless_it_asks_for_another(create: CreateJob) -> None:
    both = replace(create, slots={Device.GPU: 1, Device.CPU: 2})
    assert both(GOOD).spec.device is Device.GPU
    assert both(replace(GOOD, device=Device.CPU)).spec.device is Device.CPU
    with pytest.raises(FailedPrecondition) as caught:
        create(replace(GOOD, device=Device.GPU))
    assert (caught.value.reason, caught.value.metadata) == ("DEVICE_UNAVAILABLE", {"device": "gpu"})


def test_a_version_can_be_asked_for(create: CreateJob, store: SqlStore) -> None:
    old, new = content("old", column("x"), column("kind", ColumnType.TEXT)), content("new", column("x"))
    with store.write() as tx:
        tx.datasets.put(replace(dataset("table", new), version=2))
        for number, held in ((1, old), (2, new)):
            tx.datasets.add_version(dataset(), Version("table", number, held, NOW))
    first = create(replace(GOOD, dataset_version=1))
    assert first.spec.train == Source("table", "old", 1)
    for number in (0, 2):  # the newest, which has no such column
        with pytest.raises(InvalidArgument) as caught:
            create(replace(GOOD, dataset_version=number))
        assert list(problems(caught.value)) == ["target"]
    with pytest.raises(NotFound) as missing:
        create(replace(GOOD, dataset_version=3))
    assert missing.value.reason == "DATASET_VERSION_NOT_FOUND"


# To start from a model


@pytest.fixture
def start(create: CreateJob, store: SqlStore) -> CreateJob:
    with store.write() as tx:
        tx.models.add(model("model-1"))
    return create


def test_a_job_can_start_from_a_model_and_trains_what_that_is(start: CreateJob) -> None:
    made = start(replace(GOOD, warm_start_model_id="model-1"))
    assert (made.spec.warm_start_model_id, made.spec.hyperparameters) == ("model-1", DEFAULTS.mlp)
    again = start(replace(GOOD, warm_start_model_id="model-1", hyperparameters=Mlp(max_epochs=3)))
    assert again.spec.hyperparameters == replace(DEFAULTS.mlp, max_epochs=3)


@pytest.mark.parametrize(
    "change", [{"hyperparameters": Logistic()}, {"target": "y"}, {"target": "x", "task": Task.REGRESSION}]
)
def test_one_that_does_something_else_is_refused(start: CreateJob, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        start(replace(GOOD, warm_start_model_id="model-1", **change))
    assert list(problems(caught.value)) == ["warm_start_model_id"]


def test_a_model_that_is_not_there_is_not_found(start: CreateJob) -> None:
    with pytest.raises(NotFound) as caught:
        start(replace(GOOD, warm_start_model_id="none"))
    assert caught.value.reason == "MODEL_NOT_FOUND"
