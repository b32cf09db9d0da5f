"""What CreateJob finds out about the features of a job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.chassis.errors import InvalidArgument
from services.training.adapters.store_sql import SqlStore
from services.training.application.create_job import CreateJob, JobRequest
from services.training.domain.dataset import ColumnType
from services.training.domain.job import Device, Job
from services.training.domain.transforms import FeatureTransform, TransformKind
from services.training.domain.weighting import Weighting
from tests.unit.training.samples import NOW, column, content, dataset, model

GOOD = JobRequest("table", "kind")
TEXT = ColumnType.TEXT
TABLE = content(
    "a1",
    column("x"),
    column("y", TEXT),
    column("time", ColumnType.TIMESTAMP),
    column("flag", ColumnType.BOOLEAN),
    column("w"),
    column("kind", TEXT, distinct=3),
)


@pytest.fixture
def create(store: SqlStore) -> CreateJob:
    with store.write() as tx:
        tx.datasets.put(replace(dataset("table", TABLE), version=1))
        tx.datasets.put(dataset("narrow", content("n1", column("x"), column("kind", TEXT))))
        tx.models.add(model())
    return CreateJob(store, lambda: NOW, lambda: None, {Device.CPU: 2})


def problems(create: CreateJob, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as caught:
        create(replace(GOOD, **changes))
    return {violation.field: violation.description for violation in caught.value.violations}


def stored(store: SqlStore, job_id: str) -> Job | None:
    with store.read() as tx:
        return tx.jobs.get(job_id)


def test_excluded_columns_are_kept_with_the_job(create: CreateJob, store: SqlStore) -> None:
    made = create(replace(GOOD, excluded_columns=("y", "x")))
    assert made.spec.excluded_columns == ("y", "x")
    assert stored(store, made.job_id) == made


def test_columns_that_cannot_be_excluded_are_named(create: CreateJob) -> None:
    excluded, weighting = ("z", "kind", "w", "x", "x"), Weighting("w")
    found = problems(create, excluded_columns=excluded, weighting=weighting)
    assert set(found) == {f"excluded_columns[{place}]" for place in (0, 1, 2, 4)}
    assert "'z' is not a column of the dataset; it has 'x', 'y'" in found["excluded_columns[0]"]
    assert "is the target" in found["excluded_columns[1]"]
    assert "is the weight column" in found["excluded_columns[2]"]
    assert "there twice" in found["excluded_columns[4]"]


def test_something_has_to_be_left_to_learn_from(create: CreateJob) -> None:
    excluded = ("x", "y", "time", "flag")
    assert create(replace(GOOD, excluded_columns=excluded)).job_id
    assert list(problems(create, excluded_columns=excluded, weighting=Weighting("w"))) == ["excluded_columns"]


def test_other_datasets_need_no_column_that_is_excluded(create: CreateJob) -> None:
    assert list(problems(create, validation_dataset_id="narrow")) == ["validation_dataset_id"]
    excluded = ("y", "time", "flag", "w")
    assert create(replace(GOOD, validation_dataset_id="narrow", excluded_columns=excluded)).job_id


def test_a_model_to_begin_with_may_not_read_what_is_excluded(create: CreateJob) -> None:
    found = problems(create, warm_start_model_id="model-1", excluded_columns=("x",))
    assert "reads 'x', which excluded_columns leaves out" in found["warm_start_model_id"]
    assert create(replace(GOOD, warm_start_model_id="model-1", excluded_columns=("y",))).job_id


def made(kind: str, *columns: str, bins: int = 0) -> FeatureTransform:
    return FeatureTransform(TransformKind(kind), columns, bins)


def test_transforms_are_kept_with_the_job(create: CreateJob, store: SqlStore) -> None:
    transforms = (
        made("LOG", "x"),
        made("BINS", "w", bins=2),
        made("RATIO", "x", "w"),
        made("DIFFERENCE", "time", "time"),
        made("DATE_PARTS", "time"),
        made("FREQUENCY", "y"),
    )
    job = create(replace(GOOD, transforms=transforms))
    assert job.spec.transforms == transforms
    assert stored(store, job.job_id) == job


@pytest.mark.parametrize(
    ("transform", "field", "words"),
    [
        (made("LOG", "y"), ".columns[0]", "LOG is of INTEGER or FLOAT, and 'y' is TEXT"),
        (made("LOG", "flag"), ".columns[0]", "'flag' is BOOLEAN"),
        (made("LOG", "z"), ".columns[0]", "'z' is not a column"),
        (made("FREQUENCY", "kind"), ".columns[0]", "no feature"),
        (made("RATIO", "x", "time"), ".columns[1]", "'time' is TIMESTAMP"),
        (made("DIFFERENCE", "x", "time"), ".columns[1]", "'time' is TIMESTAMP, and 'x' FLOAT"),
        (made("DATE_PARTS", "x"), ".columns[0]", "'x' is FLOAT"),
        (made("FREQUENCY", "x"), ".columns[0]", "'x' is FLOAT"),
        (made("RATIO", "x"), ".columns", "two columns, got 1"),
        (made("LOG", "x", "w"), ".columns", "one column, got 2"),
        (made("LOG", "x", bins=3), ".bins", "for BINS only"),
        (made("BINS", "x", bins=1), ".bins", "in [2, 64], got 1"),
        (made("LOG", "w"), "", "makes 'log(w)', which is made already"),
    ],
)
def test_what_is_wrong_with_a_transform_is_named(
    create: CreateJob, transform: FeatureTransform, field: str, words: str
) -> None:
    found = problems(create, transforms=(made("LOG", "w"), transform))
    assert list(found) == [f"transforms[1]{field}"]
    assert words in found[f"transforms[1]{field}"]


def test_names_that_columns_have_are_not_made(create: CreateJob, store: SqlStore) -> None:
    with store.write() as tx:
        tx.datasets.put(dataset("log", content("l1", column("x"), column("log(x)"), column("kind", TEXT))))
    found = problems(create, dataset_id="log", transforms=(made("LOG", "x"),))
    assert "a column of the dataset" in found["transforms[0]"]


def test_nothing_is_made_of_what_is_excluded_or_weighs(create: CreateJob) -> None:
    asked = {"transforms": (made("LOG", "x"), made("LOG", "w"))}
    found = problems(create, excluded_columns=("x",), weighting=Weighting("w"), **asked)
    assert list(found) == ["transforms[0].columns[0]", "transforms[1].columns[0]"]
    many = tuple(made("LOG", "x") for _ in range(65))
    assert list(problems(create, transforms=many)) == ["transforms"]
