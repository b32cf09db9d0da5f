"""Small valid pieces of the domain, and a store to keep them in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from services.chassis.database import Database
from services.chassis.schema import migrate
from services.training.adapters import migrations
from services.training.adapters.store_sql import SqlStore
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.dataset import (
    Column,
    ColumnProfile,
    ColumnType,
    Content,
    Dataset,
    ProfiledColumn,
    Reading,
    Version,
)
from services.training.domain.history import JobEvent, Level, MetricPoint
from services.training.domain.hyperparameters import Mlp
from services.training.domain.job import Job, JobSpec, Source, Task
from services.training.domain.model import Feature, Model
from services.training.domain.search_space import (
    Choice,
    Condition,
    FloatRange,
    IntRange,
    Parameter,
    SearchSpace,
)
from services.training.domain.sweep import Budget, SamplerKind, Sweep
from services.training.domain.upload import Upload

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
LATER = NOW + timedelta(seconds=1)


@contextmanager
def sqlite_store(folder: Path) -> Iterator[SqlStore]:
    """A store on an SQLite file of its own, with the schema that the migrations make."""
    database = Database(sqlite_url(folder))
    yield SqlStore(database)
    database.close()


def sqlite_url(folder: Path) -> str:
    """URL of a new SQLite file in `folder`, with that schema."""
    path = folder / "training.db"
    shutil.copy(_migrated(), path)
    return f"sqlite:///{path}"


@cache
def _migrated() -> Path:
    """Made once: migrating takes longer than most tests."""
    path = Path(tempfile.mkdtemp()) / "training.db"
    migrate(f"sqlite:///{path}", Path(migrations.__path__[0]))
    return path


def column(
    name: str, kind: ColumnType = ColumnType.FLOAT, *, distinct: int = 100, nulls: int = 0
) -> ProfiledColumn:
    """A column of 100 rows."""
    profile = ColumnProfile(100 - nulls, nulls, distinct, 0.0, 1.0, 0.5, 0.25, (("é ☃", 3),))
    return ProfiledColumn(Column(name, kind, nulls > 0), profile)


def content(sha256: str = "a1", *columns: ProfiledColumn) -> Content:
    """What an upload of 100 rows yields: numbers `x` and `y`, and a class `kind`, unless told otherwise."""
    usual = (column("x"), column("y"), column("kind", ColumnType.TEXT, distinct=3))
    return Content(sha256, 1234, "text/csv", 100, columns or usual)


def dataset(dataset_id: str = "table", held: Content | None = None) -> Dataset:
    """A dataset with `held`, or empty."""
    return Dataset(dataset_id, "A table", held, NOW, NOW)


def spec(sha256: str = "a1", **changes: Any) -> JobSpec:
    """Classes of `kind` from the rest."""
    values = {"target": "kind", "target_type": ColumnType.TEXT, "task": Task.CLASSIFICATION}
    return JobSpec(**{"train": Source("table", sha256), "hyperparameters": Mlp(), **values, **changes})


def job(job_id: str = "job-1", sha256: str = "a1", **changes: Any) -> Job:
    """A job that waits."""
    return Job(job_id, "A job", spec(sha256), NOW, NOW, **changes)


# Of every kind of parameter one; all of Mlp's defaults lie in it.
SPACE = SearchSpace(
    (
        Parameter("learning_rate", FloatRange(1e-3, 0.1, log=True)),
        Parameter("architecture", Choice(("real_mlp", "plain"))),
        Parameter("ensemble_size", IntRange(1, 8), (Condition("architecture", ("real_mlp",)),)),
        Parameter("hidden_sizes", Choice(((16,), (256, 256, 256)))),
    )
)


def sweep(sweep_id: str = "sweep-1", **changes: Any) -> Sweep:
    """A sweep of four trials, two at a time, that has just been created."""
    usual: dict[str, Any] = {
        "display_name": "A sweep",
        "base": spec(),
        "rows": 100,
        "space": SPACE,
        "sampler": SamplerKind.TPE,
        "budget": Budget(4),
        "metric": "log_loss",
        "parallel": 2,
        "create_time": NOW,
        "update_time": NOW,
        "begin_time": NOW,
    }
    return Sweep(sweep_id, **{**usual, **changes})


def version(number: int, held: Content, dataset_id: str = "table") -> Version:
    """A version of that dataset."""
    return Version(dataset_id, number, held, NOW)


def upload(upload_id: str = "upload-1", **changes: Any) -> Upload:
    """An upload to that dataset, of which nothing has come."""
    reading = Reading("text/csv", "gzip", (("größe", ColumnType.TEXT),), ("", "n/a"))
    return Upload(upload_id, "table", reading, NOW, NOW, **{"expire_time": LATER, **changes})


def point(step: int = 1, attempt: int = 1, seq: int = 0) -> MetricPoint:
    """What an attempt reports of a step."""
    return MetricPoint(attempt, step, step / 10, {"train_loss": 1 / step}, NOW, seq=seq)


def event(kind: str = "started", attempt: int = 1, seq: int = 0) -> JobEvent:
    """What may happen to a job."""
    return JobEvent(attempt, Level.WARNING, kind, f"It {kind}. ☃", LATER, {"host": "größe"}, seq=seq)


def model(model_id: str = "model-1", sha256: str = "a1") -> Model:
    """A model of that job."""
    return Model(
        model_id,
        "A job",
        "job-1",
        Source("table", sha256),
        "mlp",
        Task.CLASSIFICATION,
        "kind",
        ColumnType.TEXT,
        (Feature("x", False), Feature("größe", True)),
        ("rose", "tulip"),
        "f00d",
        {"accuracy": 0.9},
        {},
        ("a column was left out",),
        NOW,
    )


def checkpoint(step: int, attempt: int = 1, **changes: Any) -> Checkpoint:
    """A state after `step` steps of ten, as the store knows it."""
    usual = {"progress": step / 10, "time": NOW, "manifest_sha256": "beef", "byte_count": 1234}
    return Checkpoint(f"{attempt}-{step}", attempt, step, **{**usual, **changes})
