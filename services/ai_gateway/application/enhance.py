"""Proposals for better hyperparameters, from what training has on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.ai_gateway.application.ports import Caller, Job, Point, Start, Trainer
from services.ai_gateway.domain.advisor import RULES, advise
from services.ai_gateway.domain.findings import Data, Epoch, Findings
from services.ai_gateway.domain.hyperparameters import LINEAR
from services.ai_gateway.domain.proposal import Proposal
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, invalid_fields

DEFAULT_PROPOSALS = 3
MOST_PROPOSALS = 10
ENDED = frozenset(("SUCCEEDED", "FAILED", "CANCELLED"))

ENHANCE = "enhance"  # what its limits are called


@dataclass(frozen=True)
class Request:
    """One of job_id, model_id, or dataset_id with target; max_proposals: 0 for the default."""

    job_id: str = ""
    model_id: str = ""
    dataset_id: str = ""
    target: str = ""
    max_proposals: int = 0


@dataclass(frozen=True)
class Enhancement:
    """What the advisor says. summary: what it has read."""

    enhancement_id: str
    summary: str
    proposals: list[Proposal]


@dataclass(frozen=True)
class Enhance:
    """The embedded advisor over the training service."""

    trainer: Trainer
    new_id: Callable[[str], str]

    def __call__(self, request: Request, caller: Caller) -> Enhancement:
        """Raises InvalidArgument naming the fields, FailedPrecondition for a job that has not ended, and
        what the training service refuses."""
        check(request)
        if request.dataset_id:
            findings, read = self._of_dataset(request.dataset_id, request.target, caller)
        else:
            job_id = request.job_id or self.trainer.job_of_model(request.model_id, caller)
            findings, read = self._of_job(job_id, caller)
        proposals = advise(findings, request.max_proposals or DEFAULT_PROPOSALS)
        summary = f"A rule engine of {len(RULES)} rules, not a language model, read {read}."
        return Enhancement(self.new_id("enhancement"), summary, proposals)

    def _of_dataset(self, dataset_id: str, target: str, caller: Caller) -> tuple[Findings, str]:
        start = self.trainer.start(dataset_id, target, "", caller)
        _, data = self.trainer.data(dataset_id, target, caller)
        read = f"the dataset {dataset_id!r} for {start.task} of {target!r}: {_said(data)}"
        return Findings(start.task, start.defaults, data=data), read

    def _of_job(self, job_id: str, caller: Caller) -> tuple[Findings, str]:
        job = self.trainer.job(job_id, caller)
        if job.task not in LINEAR:
            problem = f"{job_id!r} does {job.task}, for which the advisor has no rules"
            raise invalid_fields({"job_id": problem})
        if job.state not in ENDED:
            message = f"The job {job_id!r} is {job.state}; wait until it has ended."
            raise FailedPrecondition("JOB_NOT_FINISHED", message, job_id=job_id, state=job.state)
        points = _last_attempt(self.trainer.points(job_id, caller))
        data, start = self._data_of(job, caller)
        findings = Findings(
            task=job.task,
            defaults=start.defaults,
            tried=job.hyperparameters,
            trained=job.state == "SUCCEEDED",
            data=data,
            epochs=epochs(points),
            metrics=job.validation_metrics,
            reported={name: value for point in points for name, value in point.values.items()},
            steps=points[-1].step if points else 0,
        )
        about = _said(data) if data else "whose dataset is gone or has other content by now"
        curves = f"{len(points)} points of {job.hyperparameters.algorithm}"
        return findings, f"the job {job_id!r}, {job.state}: {curves}, {about}"

    def _data_of(self, job: Job, caller: Caller) -> tuple[Data | None, Start]:
        """The data as the job saw them; None when there is no telling any more."""
        unknown = Start(job.task, {})
        try:
            sha256, data = self.trainer.data(job.dataset_id, job.target, caller)
            if sha256 != job.dataset_sha256:
                return None, unknown
            return data, self.trainer.start(job.dataset_id, job.target, job.task, caller)
        except (NotFound, FailedPrecondition, InvalidArgument):  # deleted, or changed in between
            return None, unknown


def check(request: Request) -> None:
    """Raises InvalidArgument naming every field at fault."""
    given = [name for name in ("job_id", "model_id", "dataset_id") if getattr(request, name)]
    problems = {}
    if not given:
        problems["job_id"] = "one of job_id, model_id, or dataset_id with target is required"
    for extra in given[1:]:
        problems[extra] = f"cannot stand beside {given[0]}: one of job_id, model_id, dataset_id"
    if request.dataset_id and not request.target:
        problems["target"] = "is required with dataset_id"
    if request.target and given and not request.dataset_id:
        problems["target"] = "goes with dataset_id only"
    if not 0 <= request.max_proposals <= MOST_PROPOSALS:
        problems["max_proposals"] = f"has to be from 1 to {MOST_PROPOSALS}, got {request.max_proposals}"
    if problems:
        raise invalid_fields(problems)


def epochs(points: list[Point]) -> tuple[Epoch, ...]:
    """The points that are epochs. Training leaves out a number that is none, so a loss not there is lost."""
    return tuple(
        Epoch(
            number=int(point.values["epoch"]),
            train_loss=point.values.get("train_loss"),
            validation_loss=point.values.get("validation_loss"),
            learning_rate=point.values.get("learning_rate", 0.0),
        )
        for point in points
        if "epoch" in point.values
    )


def _last_attempt(points: list[Point]) -> list[Point]:
    last = max((point.attempt for point in points), default=0)
    return [point for point in points if point.attempt == last]


def _said(data: Data) -> str:
    text = f"{data.rows} rows of {data.columns} columns, {data.null_share:.1%} of the values missing"
    if not data.class_shares:
        return text
    return f"{text}, {len(data.class_shares)} classes of which the largest has {data.class_shares[0]:.0%}"
