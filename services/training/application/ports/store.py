"""The system of record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from services.training.domain.dataset import Dataset, Version
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Job, JobState
from services.training.domain.model import Model
from services.training.domain.registry import ModelVersion, RegisteredModel
from services.training.domain.schedule import Standing
from services.training.domain.sweep import Sweep, SweepState
from services.training.domain.upload import Upload

Entry: TypeAlias = MetricPoint | JobEvent
Resource: TypeAlias = Dataset | Job | RegisteredModel | Sweep | Upload


@dataclass(frozen=True)
class Page:
    """Which part of a list: at most `size` items older than position `before` (None: from the newest)."""

    size: int
    before: int | None = None


@dataclass(frozen=True)
class Replay:
    """What an earlier request with the same id was, and the answer it got: None when that was empty."""

    method: str
    fingerprint: str
    answer: Resource | None


class Fenced(Exception):
    """The job belongs to a later attempt, or to none: this one's writes are refused."""


class Datasets(Protocol):
    """Datasets in a transaction. An id is one tenant's: of the one that the transaction acts for."""

    def get(self, dataset_id: str) -> Dataset | None: ...

    def lock(self, dataset_id: str, tenant: str) -> Dataset | None:
        """Gets a dataset of `tenant` that nobody else can change until the transaction ends."""

    def put(self, dataset: Dataset) -> None:
        """Adds it, or replaces the one of the same tenant and id."""

    def delete(self, dataset: Dataset) -> None:
        """Deletes it, with its versions."""

    def page(self, page: Page) -> list[tuple[int, Dataset]]:
        """Newest first, each with its position."""

    def add_version(self, dataset: Dataset, version: Version) -> None: ...

    def version(self, dataset: Dataset, number: int) -> Version | None: ...

    def versions(self, dataset: Dataset, page: Page) -> list[tuple[int, Version]]:
        """Newest first, each with its number as position."""

    def drop_versions(self, content_id: str) -> None:
        """Deletes every version with this content that is not its dataset's newest."""

    def holds_content(self, content_id: str) -> bool:
        """Whether this is the newest content of any dataset."""


class Jobs(Protocol):
    """Jobs in a transaction."""

    def get(self, job_id: str) -> Job | None: ...

    def lock(self, job_id: str) -> Job | None:
        """Gets a job that nobody else can change until the transaction ends."""

    def add(self, job: Job) -> None: ...

    def update(self, job: Job) -> None:
        """Replaces the job of the same id."""

    def update_held(self, job: Job) -> None:
        """The same on behalf of attempt `job.attempt`.

        Raises Fenced, and changes nothing, unless the stored job is that attempt's and is live.
        """

    def delete(self, job_id: str) -> None:
        """Deletes it, with its history."""

    def page(self, page: Page, state: JobState | None) -> list[tuple[int, Job]]:
        """Newest first, each with its position. Those of sweeps are left out."""

    def in_states(self, states: Iterable[JobState], limit: int | None = None) -> list[Job]:
        """Every job in one of `states`, or the first `limit`, oldest first."""

    def counts(self) -> Mapping[JobState, int]:
        """How many jobs are in each state; those without any are left out."""

    def standings(self) -> list[Standing]:
        """Every job that has not ended, oldest first."""

    def reading(self, content_id: str, *, unended: bool = False) -> bool:
        """Whether any job, or any that has not ended, reads this content."""

    def record(self, job_id: str, entries: Sequence[Entry]) -> None:
        """Appends to the job's history, in this order; positions grow.

        An entry whose seq is not 0 is stored once for each (job, attempt, seq), however often it comes. The
        job has to be locked, or just written, in this transaction: so a reader that goes on from a position
        never misses an entry that is stored later.
        """

    def points(self, job_id: str, after: int, limit: int) -> list[MetricPoint]:
        """At most `limit` points beyond position `after`, oldest first."""

    def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]:
        """At most `limit` events beyond position `after`, oldest first."""

    def history(self, job_id: str, after: int, limit: int) -> list[Entry]:
        """Points and events in the order of their positions."""


class Models(Protocol):
    """Models in a transaction."""

    def get(self, model_id: str) -> Model | None: ...

    def add(self, model: Model) -> None: ...

    def delete(self, model_id: str) -> None: ...

    def page(self, page: Page) -> list[tuple[int, Model]]:
        """Newest first, each with its position."""

    def trained_on(self, content_id: str) -> bool:
        """Whether any model was trained on this content."""


class Registry(Protocol):
    """Names of models in a transaction. A name is one tenant's: of the one that the transaction acts for.

    Whoever changes one is alone with its name.
    """

    def get(self, name: str) -> RegisteredModel | None: ...

    def put(self, named: RegisteredModel) -> None:
        """Adds it, or replaces the one of the same tenant and name."""

    def delete(self, named: RegisteredModel) -> None: ...

    def page(self, after: str, limit: int) -> list[RegisteredModel]:
        """At most `limit` whose keys come after `after`, in the order of their characters' codes."""

    def pointing_to(self, model_id: str) -> list[tuple[str, ModelVersion]]:
        """Every version of the model, with its name, in the order of names; of all tenants."""


class Sweeps(Protocol):
    """Sweeps in a transaction."""

    def get(self, sweep_id: str) -> Sweep | None: ...

    def lock(self, sweep_id: str) -> Sweep | None:
        """Gets a sweep that nobody else can change until the transaction ends; before any of its jobs."""

    def add(self, sweep: Sweep) -> None: ...

    def update(self, sweep: Sweep) -> None:
        """Replaces the sweep of the same id."""

    def delete(self, sweep_id: str) -> None:
        """Deletes it. Its jobs stay."""

    def page(self, page: Page) -> list[tuple[int, Sweep]]:
        """Newest first, each with its position."""

    def in_states(self, states: Iterable[SweepState]) -> list[Sweep]:
        """Every sweep in one of `states`, oldest first."""

    def standings(self) -> dict[str, SweepState]:
        """The state of every sweep that is RUNNING or CANCELLING, by id, oldest first; reads no documents."""


class Uploads(Protocol):
    """Open uploads in a transaction."""

    def get(self, upload_id: str) -> Upload | None: ...

    def lock(self, upload_id: str) -> Upload | None:
        """Gets an upload that nobody else can change until the transaction ends."""

    def put(self, upload: Upload) -> None:
        """Adds it, or replaces the one of the same id."""

    def delete(self, upload_id: str) -> None: ...

    def page(self, page: Page) -> list[tuple[int, Upload]]:
        """Newest first, each with its position."""

    def expired(self, now: datetime) -> list[Upload]:
        """Those whose time is over."""


class Requests(Protocol):
    """Request ids in a transaction."""

    def find(self, request_id: str) -> Replay | None:
        """What this id stands for. Until the transaction ends, nobody else can look it up or add it."""

    def add(self, request_id: str, replay: Replay, now: datetime) -> None: ...

    def forget(self, before: datetime) -> int:
        """Deletes those that were added earlier; answers how many."""


class Transaction(Protocol):
    """One look at, or change of, everything."""

    @property
    def datasets(self) -> Datasets: ...

    @property
    def jobs(self) -> Jobs: ...

    @property
    def models(self) -> Models: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def sweeps(self) -> Sweeps: ...

    @property
    def uploads(self) -> Uploads: ...

    @property
    def requests(self) -> Requests: ...

    def alone(self, name: str) -> None:
        """Waits until no other transaction that called this with the same name is under way."""


class Store(Protocol):
    """The system of record.

    For a caller who may see one tenant's things only, those of others are not there: not found, not listed.
    What is asked without a caller, and what keeps the whole together (standings, contents in use), sees all.

    Raises Unavailable when it cannot be reached, ResourceExhausted when its disk is full.
    """

    @property
    def quick(self) -> bool:
        """Whether a look-up by key takes less than a change of thread."""

    def read(self) -> AbstractContextManager[Transaction]:
        """To look; each answer is of the moment it is given. Changes are not allowed."""

    def write(self) -> AbstractContextManager[Transaction]:
        """To change: all of it is kept at the end, or none on an exception."""
