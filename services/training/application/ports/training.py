"""Processes that train, and training itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from services.training.domain.candidate import CandidateResult
from services.training.domain.checkpoint import Checkpoint
from services.training.domain.comparison import Comparison
from services.training.domain.dataset import ColumnType
from services.training.domain.history import JobEvent, MetricPoint
from services.training.domain.job import Device, Job, JobSpec, Source
from services.training.domain.model import Explanation, ExportFormat, Feature


@dataclass(frozen=True)
class Exit:
    """How an attempt's process ended. code: its exit status, −n for signal n, None when nobody saw it.

    out_of_memory: the system killed a process of this machine's share for want of memory meanwhile.
    last_words: the end of its log.
    """

    code: int | None = None
    out_of_memory: bool = False
    last_words: str = ""


class Executor(Protocol):
    """Runs attempts, each in a process group of its own, outliving this process."""

    def submit(self, job_id: str, attempt: int, slot: Slot) -> str:
        """Starts an attempt and answers its handle, which is valid in later processes too. One that runs
        already is not started twice.
        """

    def find(self, job_id: str, attempt: int) -> str:
        """The handle of an attempt that `submit` started without living to say so; empty when none lives."""

    def alive(self, handle: str) -> bool:
        """Whether any process of the attempt lives."""

    def frozen(self, handle: str) -> bool:
        """Whether the attempt's process is stopped, and does not go on until somebody lets it."""

    def cancel(self, handle: str, *, force: bool) -> None:
        """Asks the attempt to end, or with `force` ends it. No effect on one that is gone."""

    def exit(self, handle: str, job_id: str, attempt: int) -> Exit:
        """How an attempt that is gone ended."""

    def forget(self, job_id: str) -> None:
        """Deletes what is kept of the job's attempts, such as their logs."""


class Observer(Protocol):
    """Is told what becomes of attempts, to count it. Never raises, never waits."""

    def started(self, job: Job) -> None:
        """This process begins an attempt at it, or finds one that is under way."""

    def lost(self, reason: str) -> None:
        """An attempt's process is gone without a result, and nobody had asked for that."""

    def evicted(self) -> None:
        """An attempt is being ended for want of memory."""


class Memory(Protocol):
    """Of this machine. Never raises, never waits."""

    def short(self) -> bool:
        """Whether nothing should be begun that takes some."""

    def critical(self) -> bool:
        """Whether something has to end, or the kernel will end something."""


@dataclass(frozen=True)
class Slot:
    """Where an attempt runs. gpu: number of the device; None on a CPU. cores: for its processes."""

    device: Device
    gpu: int | None = None
    cores: int = 1


Record: TypeAlias = MetricPoint | JobEvent | Checkpoint | CandidateResult


class Outbox(Protocol):
    """What one attempt has to say, kept on its machine until the store has it. One process appends."""

    def append(self, record: Record) -> None:
        """Keeps it under the next seq, from 1. Never waits for the store, and never raises."""

    def read(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """At most `limit` records beyond seq `after`, in order. Each with its seq."""


Outboxes: TypeAlias = Callable[[str, int], Outbox]

Snapshot: TypeAlias = Callable[[], Mapping[str, Any]]


class Loop(Protocol):
    """The three verbs that training knows."""

    def report(self, step: int, progress: float, metrics: Mapping[str, float]) -> None: ...

    def checkpoint(self, step: int, snapshot: Snapshot) -> None: ...

    def should_stop(self) -> bool: ...


Told: TypeAlias = Callable[[CandidateResult], None]


class TrainedModel(Protocol):
    """A model that can predict and be exported.

    explanation: None where nothing was measured.
    """

    @property
    def explanation(self) -> Explanation | None: ...

    def predict(self, rows: Sequence[Mapping[str, object]]) -> list[Outcome]:
        """One outcome for each row; raises InvalidRow."""

    def export(self, format: ExportFormat, target_type: ColumnType) -> bytes:
        """A file that says the same as `predict`; raises Unexportable.

        target_type: how classes were written in the target column.
        """


@dataclass(frozen=True)
class Outcome:
    """What a model says of one row: a class as text, or a number, be it of a cluster; and each class's
    probability."""

    value: str | float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Learned:
    """What training yields. stopped: `should_stop` was obeyed, and there is nothing to keep.

    chosen: number of the candidate that the model is of, where there were several.
    """

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
    test_confusion: tuple[tuple[int, ...], ...] = ()
    chosen: int | None = None


class Learner(Protocol):
    """Trains and restores models."""

    def fit(
        self,
        spec: JobSpec,
        loop: Loop,
        *,
        resume: Mapping[str, Any] | None = None,
        workspace: Path | None = None,
        warn: Callable[[str], None] = lambda _text: None,
        told: Told | None = None,
    ) -> Learned:
        """Goes on from `resume`, what an earlier fit's snapshot held. Files of its own go to `workspace`.
        `warn` is told what is doubtful of the data, a sentence each, before training begins;
        `Learned.warnings` has it too. `told` hears what each candidate of the spec came to, those before
        `resume` included.

        Raises UntrainableData when the data do not suit the task, UnfitCheckpoint when `resume` does not
        suit the fit, LostRank when one of the spec's `workers` is gone.
        """

    def restore(self, model_id: str) -> TrainedModel:
        """The model as it was saved; raises FileNotFoundError."""

    def compare(
        self, candidates: Sequence[str], baselines: Sequence[str], on: JobSpec | Source
    ) -> Comparison:
        """Models of one target on the same rows.

        on: the training whose test part it is, where rows count by their weights; or all rows of a dataset
        that have the target, each of which counts 1. Raises Incomparable, and FileNotFoundError when a model
        or the dataset is gone.
        """


class UnfitCheckpoint(Exception):
    """A checkpoint that is whole, and not one of this fit; for example another release's."""


class LostRank(Exception):
    """A process that trains along is gone, or does not answer; from a checkpoint on, all can begin again."""


class UntrainableData(Exception):
    """The data do not suit the task; the message is for the caller."""


class Incomparable(Exception):
    """The models cannot be measured on these rows; the message is for the caller."""


class Unexportable(Exception):
    """The model has no such form; the message is for the caller."""


class InvalidRow(Exception):
    """A row that the model cannot take."""

    def __init__(self, row: int, column: str, problem: str) -> None:
        super().__init__(f"row {row}, column {column!r}: {problem}")
        self.row = row
        self.column = column
        self.problem = problem
