"""Proposals of the embedded advisor, from what training has on record: what works without any vendor."""

from __future__ import annotations

from dataclasses import dataclass

from services.ai_gateway.application.ports import Caller, Job, Point, Start, Trainer
from services.ai_gateway.domain.advisor import advise
from services.ai_gateway.domain.enhancement import Subject
from services.ai_gateway.domain.findings import Data, Epoch, Findings
from services.ai_gateway.domain.hyperparameters import LINEAR
from services.ai_gateway.domain.proposal import Proposal
from services.ai_gateway.domain.trials import Proposed
from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound


@dataclass(frozen=True)
class Advice:
    """The advisor over the training service."""

    trainer: Trainer

    def __call__(self, subject: Subject, most: int, caller: Caller) -> list[Proposed]:
        """At most so many, most promising first; raises what the training service refuses."""
        if subject.task not in LINEAR:
            return []
        findings = self._of_job(subject, caller) if subject.job_id else self._of_dataset(subject, caller)
        return [_proposed(one, findings) for one in advise(findings, most)]

    def _of_dataset(self, subject: Subject, caller: Caller) -> Findings:
        start = self.trainer.start(subject.dataset_id, subject.target, "", caller)
        _, data = self.trainer.data(subject.dataset_id, subject.target, caller)
        return Findings(start.task, start.defaults, data=data)

    def _of_job(self, subject: Subject, caller: Caller) -> Findings:
        job = self.trainer.job(subject.job_id, caller)
        points = _last_attempt(self.trainer.points(subject.job_id, caller))
        data, start = self._data_of(job, caller)
        return Findings(
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


def _proposed(proposal: Proposal, findings: Findings) -> Proposed:
    """With what is unlike the platform's defaults: all else is as it would be."""
    params = proposal.hyperparameters
    defaults = findings.defaults.get(params.algorithm)
    usual = defaults.values if defaults else {}
    unlike = {name: value for name, value in params.values.items() if value != usual.get(name)}
    values = {f"{params.algorithm}.{name}": _json(value) for name, value in unlike.items()}
    return Proposed({"algorithm": params.algorithm, **values}, f"local/{proposal.rule}")


def _json(value: float | tuple[int, ...]) -> float | list[int]:
    return list(value) if isinstance(value, tuple) else value
