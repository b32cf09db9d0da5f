"""`Sweeps` over the training service's generated stubs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

import grpc
from google.protobuf import struct_pb2
from mlapi.training.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2,
    registry_service_pb2_grpc,
    sweep_pb2,
    sweep_service_pb2,
    sweep_service_pb2_grpc,
)

from services.ai_gateway.adapters import sweeps_messages as messages
from services.ai_gateway.adapters.trainer_grpc import TASK_NAMES, call
from services.ai_gateway.application.ports import Caller, Order
from services.ai_gateway.domain.consulting import ALGORITHM, Profile
from services.ai_gateway.domain.enhancement import Asked, Subject
from services.ai_gateway.domain.finals import Comparison
from services.ai_gateway.domain.trials import Measured, Rejection
from services.chassis.errors import FailedPrecondition, NotFound, invalid_fields

ENDED = frozenset((job_pb2.Job.SUCCEEDED, job_pb2.Job.FAILED, job_pb2.Job.CANCELLED))
SWEEP_ENDED = frozenset((sweep_pb2.Sweep.SUCCEEDED, sweep_pb2.Sweep.FAILED, sweep_pb2.Sweep.CANCELLED))
# Searched beside the input's own, by task.
OTHERS = {
    "classification": ("mlp", "boosted_trees", "logistic"),
    "regression": ("mlp", "boosted_trees", "linear"),
}


class GrpcSweeps:
    """See `Sweeps`. channel: to the training service."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self._sweeps = sweep_service_pb2_grpc.SweepServiceStub(channel)
        self._registry = registry_service_pb2_grpc.RegistryServiceStub(channel)

    def subject(self, asked: Asked, caller: Caller) -> Subject:
        """See Sweeps."""
        job = self._job(asked, caller)
        task = TASK_NAMES[job.task]
        if task not in OTHERS:
            field = next(name for name in ("job_id", "model_id", "dataset_id") if getattr(asked, name))
            raise invalid_fields({field: f"it is about {task}, for which there is nothing to search"})
        base = messages.base(job, asked.seed)
        algorithm = str(job.WhichOneof("algorithm"))
        chosen = str(self._validated(base, "", caller).WhichOneof("algorithm"))
        usual = self._validated(base, algorithm, caller)
        space, metric = self._space(base, (algorithm, *OTHERS[task]), caller)
        message = sweep_service_pb2.CreateSweepRequest(space=space)
        return Subject(
            dataset_id=base.dataset_id,
            dataset_version=base.dataset_version,
            target=base.target,
            task=task,
            algorithm=algorithm,
            metric=metric,
            base=messages.as_json(base),
            space=messages.as_json(message),
            parameters=tuple(messages.parameter(one) for one in space),
            values=messages.unlike(job, usual, chosen),
            seed=base.seed,
            job_id=job.job_id,
            model_id=asked.model_id,
        )

    def _job(self, asked: Asked, caller: Caller) -> job_pb2.Job:
        """The job to begin with; that of a dataset is one that nobody has made."""
        if asked.dataset_id:
            request = job_service_pb2.CreateJobRequest(
                dataset_id=asked.dataset_id, target=asked.target, seed=asked.seed or 0, validate_only=True
            )
            job: job_pb2.Job = call(self._jobs.CreateJob, request, caller)
            job.job_id = ""
            return job
        job_id = asked.job_id
        if asked.model_id:
            model = model_service_pb2.GetModelRequest(model_id=asked.model_id)
            job_id = call(self._models.GetModel, model, caller).job_id
        job = call(self._jobs.GetJob, job_service_pb2.GetJobRequest(job_id=job_id), caller)
        if job.state not in ENDED:
            state = job_pb2.Job.State.Name(job.state)
            message = f"The job {job_id!r} is {state}; wait until it has ended."
            raise FailedPrecondition("JOB_NOT_FINISHED", message, job_id=job_id, state=state)
        return job

    def _validated(
        self, base: job_service_pb2.CreateJobRequest, algorithm: str, caller: Caller
    ) -> job_pb2.Job:
        """The job of that algorithm's defaults, or of what the platform chooses; it is not made."""
        request = messages.with_algorithm(base, algorithm)
        request.validate_only = True
        job: job_pb2.Job = call(self._jobs.CreateJob, request, caller)
        return job

    def _space(
        self, base: job_service_pb2.CreateJobRequest, algorithms: Sequence[str], caller: Caller
    ) -> tuple[list[sweep_pb2.Parameter], str]:
        """What is usually searched for each of several algorithms, and by which metric."""
        names = list(dict.fromkeys(algorithms))
        choice = sweep_pb2.Choice(values=[struct_pb2.Value(string_value=name) for name in names])
        space, metric = [sweep_pb2.Parameter(name=ALGORITHM, choice=choice)], ""
        for name in names:
            request = sweep_service_pb2.CreateSweepRequest(
                job=messages.with_algorithm(base, name),
                budget=sweep_pb2.SweepBudget(max_trials=1),
                validate_only=True,
            )
            sweep = call(self._sweeps.CreateSweep, request, caller)
            metric = sweep.metric
            for one in sweep.space:
                one.name = f"{name}.{one.name}"
                for condition in one.conditions:
                    condition.parameter = f"{name}.{condition.parameter}"
                space.append(one)
        return space, metric

    def profile(self, subject: Subject, caller: Caller) -> Profile:
        """See Sweeps."""
        request = dataset_service_pb2.GetDatasetRequest(dataset_id=subject.dataset_id)
        dataset = call(self._datasets.GetDataset, request, caller)
        rows = dataset.row_count
        target = next((one for one in dataset.columns if one.name == subject.target), None)
        counts = [one.count for one in target.profile.top_values] if target else []
        whole = subject.task == "classification" and rows and sum(counts) == rows
        shares = tuple(count / rows for count in counts) if whole else ()
        return Profile(rows, tuple(messages.column(one, rows) for one in dataset.columns), shares)

    def refused(self, order: Order, caller: Caller) -> list[Rejection]:
        """See Sweeps."""
        request = messages.request(order)
        request.validate_only, request.request_id = True, ""
        sweep = call(self._sweeps.CreateSweep, request, caller)
        return [Rejection(one.index, one.source, one.reason) for one in sweep.rejections]

    def create_sweep(self, order: Order, caller: Caller) -> str:
        """See Sweeps."""
        return str(call(self._sweeps.CreateSweep, messages.request(order), caller).sweep_id)

    def sweep(self, sweep_id: str, caller: Caller) -> Measured:
        """See Sweeps."""
        request = sweep_service_pb2.GetSweepRequest(sweep_id=sweep_id)
        sweep = call(self._sweeps.GetSweep, request, caller)
        listed = sorted(sweep.trials, key=lambda one: one.number)
        over = [one for one in listed if one.state != sweep_pb2.Trial.RUNNING]
        return Measured(
            ended=sweep.state in SWEEP_ENDED,
            trials=tuple(messages.trial(one, sweep.metric) for one in over),
            model_id=sweep.model_id,
            cost_usd=sweep.cost_usd,
            seconds=sweep.usage.wall_seconds,
            problem=sweep.error.message,
        )

    def cancel_sweep(self, sweep_id: str, caller: Caller) -> None:
        """See Sweeps."""
        with suppress(NotFound, FailedPrecondition):
            call(self._sweeps.CancelSweep, sweep_service_pb2.CancelSweepRequest(sweep_id=sweep_id), caller)

    def compare(self, candidates: Sequence[str], baselines: Sequence[str], caller: Caller) -> Comparison:
        """See Sweeps."""
        request = model_service_pb2.CompareModelsRequest(
            candidate_model_ids=candidates, baseline_model_ids=baselines
        )
        found = call(self._models.CompareModels, request, caller)
        return Comparison(
            found.row_count,
            found.loss,
            messages.side(found.candidate),
            messages.side(found.baseline),
            messages.difference(found.improvement),
            messages.difference(found.over_constant),
        )

    def warnings(self, model_id: str, caller: Caller) -> tuple[str, ...]:
        """See Sweeps."""
        request = model_service_pb2.GetModelRequest(model_id=model_id)
        return tuple(call(self._models.GetModel, request, caller).warnings)

    def delete_model(self, model_id: str, caller: Caller) -> None:
        """See Sweeps."""
        with suppress(NotFound):
            call(self._models.DeleteModel, model_service_pb2.DeleteModelRequest(model_id=model_id), caller)

    def register(  # noqa: PLR0917 (what a version is)
        self, name: str, model_id: str, alias: str, enhancement_id: str, comment: str, caller: Caller
    ) -> int:
        """See Sweeps."""
        request = registry_service_pb2.RegisterModelRequest(
            name=name,
            model_id=model_id,
            aliases=[alias],
            enhancement_id=enhancement_id,
            comment=comment[:1000],
            request_id=_request_id(enhancement_id, name, alias),
        )
        version: registry_pb2.ModelVersion = call(self._registry.RegisterModel, request, caller)
        return int(version.version)


def _request_id(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
