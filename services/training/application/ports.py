"""What the use cases need from outside. A docstring here is an obligation on every adapter.

Adapters are thread-safe. A method that finds nothing answers None; it does not raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from services.training.domain.dataset import Content, Dataset
from services.training.domain.job import Job, JobSpec, JobState, MetricPoint
from services.training.domain.model import Feature, Model


@dataclass(frozen=True)
class Page:
    """Which part of a list: at most `size` items older than position `before` (None: from the newest)."""

    size: int
    before: int | None = None


@dataclass(frozen=True)
class Replay:
    """What an earlier request with the same id was and made."""

    method: str
    fingerprint: str
    resource_id: str


class Datasets(Protocol):
    """Datasets in a transaction."""

    def get(self, dataset_id: str) -> Dataset | None: ...

    def put(self, dataset: Dataset) -> None:
        """Adds it, or replaces the one of the same id."""

    def delete(self, dataset_id: str) -> None: ...

    def page(self, page: Page) -> list[tuple[int, Dataset]]:
        """Newest first, each with its position."""

    def holds_content(self, sha256: str) -> bool:
        """Whether any dataset has this content."""


class Jobs(Protocol):
    """Jobs in a transaction."""

    def get(self, job_id: str) -> Job | None: ...

    def lock(self, job_id: str) -> Job | None:
        """Gets a job that nobody else can change until the transaction ends."""

    def add(self, job: Job) -> None: ...

    def update(self, job: Job) -> None:
        """Replaces the job of the same id."""

    def delete(self, job_id: str) -> None:
        """Deletes it, with its metric points."""

    def page(self, page: Page, state: JobState | None) -> list[tuple[int, Job]]:
        """Newest first, each with its position."""

    def in_states(self, states: Iterable[JobState], limit: int | None = None) -> list[Job]:
        """Every job in one of `states`, or the first `limit`, oldest first."""

    def reading(self, sha256: str) -> bool:
        """Whether a job that has not ended reads this content."""

    def add_points(self, job_id: str, points: Sequence[MetricPoint]) -> None:
        """Appends, in this order; positions grow."""

    def points(self, job_id: str, after: int, limit: int) -> list[MetricPoint]:
        """At most `limit` points beyond position `after`, oldest first."""


class Models(Protocol):
    """Models in a transaction."""

    def get(self, model_id: str) -> Model | None: ...

    def add(self, model: Model) -> None: ...

    def delete(self, model_id: str) -> None: ...

    def page(self, page: Page) -> list[tuple[int, Model]]:
        """Newest first, each with its position."""


class Requests(Protocol):
    """Request ids in a transaction."""

    def find(self, request_id: str) -> Replay | None: ...

    def add(self, request_id: str, replay: Replay) -> None: ...


class Transaction(Protocol):
    """One look at, or change of, everything."""

    @property
    def datasets(self) -> Datasets: ...

    @property
    def jobs(self) -> Jobs: ...

    @property
    def models(self) -> Models: ...

    @property
    def requests(self) -> Requests: ...


class Store(Protocol):
    """The system of record."""

    def read(self) -> AbstractContextManager[Transaction]:
        """To look; each answer is of the moment it is given. Changes are not allowed."""

    def write(self) -> AbstractContextManager[Transaction]:
        """To change: all of it is kept at the end, or none on an exception.

        Raises ResourceExhausted when the disk is full.
        """


class Spool(Protocol):
    """Bytes on their way in."""

    path: Path
    byte_count: int

    def write(self, data: bytes) -> None:
        """Appends; raises OSError when the disk is full."""

    def sha256(self) -> str:
        """Hash of everything written, in lower-case hex."""


class Artifacts(Protocol):
    """What is too big for the store: contents of datasets, weights of models."""

    def spool(self) -> AbstractContextManager[Spool]:
        """A new empty spool, gone at the end."""

    def content(self, sha256: str) -> Path:
        """Where the Arrow file of this content is, or is to be."""

    def delete_content(self, sha256: str) -> None: ...

    def contents(self, older_than: float) -> list[str]:
        """Hashes of the contents that were written `older_than` seconds ago or more."""

    def save_model(self, model_id: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Keeps it all, or nothing on an exception."""

    def load_model(self, model_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays and metadata as saved; raises FileNotFoundError."""

    def delete_model(self, model_id: str) -> None: ...

    def models(self, older_than: float) -> list[str]:
        """Ids of the models that were saved `older_than` seconds ago or more."""


class Ingest(Protocol):
    """Reads an uploaded file."""

    def __call__(self, source: Path, content_type: str, destination: Path, *, sha256: str) -> Content:
        """Writes the Arrow file `destination`; raises BadContent, leaving nothing behind."""


class Executor(Protocol):
    """Runs attempts, each in a process group of its own, outliving this process."""

    def submit(self, job_id: str, attempt: int) -> str:
        """Starts an attempt and answers its handle, which is valid in later processes too."""

    def alive(self, handle: str) -> bool:
        """Whether any process of the attempt lives."""

    def cancel(self, handle: str, *, force: bool) -> None:
        """Asks the attempt to end, or with `force` ends it. No effect on one that is gone."""


class Loop(Protocol):
    """The three verbs that training knows."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None: ...

    def checkpoint(self, state: Mapping[str, Any]) -> None: ...

    def should_stop(self) -> bool: ...


class TrainedModel(Protocol):
    """A model that can predict."""

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[Outcome]:
        """One outcome for each row; raises InvalidRow."""


@dataclass(frozen=True)
class Outcome:
    """What a model says of one row: a class as text, or a number, and each class's probability."""

    value: str | float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Learned:
    """What training yields. stopped: `should_stop` was obeyed, and there is nothing to keep."""

    stopped: bool
    samples: int
    arrays: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    features: tuple[Feature, ...] = ()
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    test_metrics: Mapping[str, float] = field(default_factory=dict)


class Learner(Protocol):
    """Trains and restores models."""

    def fit(self, spec: JobSpec, loop: Loop) -> Learned:
        """Raises UntrainableData when the data do not suit the task."""

    def restore(self, model_id: str) -> TrainedModel:
        """The model as it was saved; raises FileNotFoundError."""


class UntrainableData(Exception):
    """The data do not suit the task; the message is for the caller."""


class InvalidRow(Exception):
    """A row that the model cannot take."""

    def __init__(self, row: int, column: str, problem: str) -> None:
        super().__init__(f"row {row}, column {column!r}: {problem}")
        self.row = row
        self.column = column
        self.problem = problem
