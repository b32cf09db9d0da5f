"""A job in lines of text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from mlapi.training.v1 import job_pb2

from mlapi_client import display

State = job_pb2.Job.State


def show(job: job_pb2.Job) -> None:
    """Prints a job: what it is and how it stands, then its metrics."""
    screen = display.console()
    for name, text in {**_standing_facts(job), **_made_of(job), **_came_to(job)}.items():
        if text:
            screen.print(f"{name:<11} {text}")
    if job.test_metrics or job.validation_metrics:
        screen.print()
        screen.print(display.metrics_table({"validation": job.validation_metrics, "test": job.test_metrics}))


def standing(job: job_pb2.Job) -> str:
    """The state, and in a few words what comes next."""
    left = _seconds_left(job)
    more = {
        State.QUEUED: f"place {job.queue.position}" if job.HasField("queue") else "",
        State.RUNNING: "" if left is None else f"{display.clock(left)} left",
    }
    return ", ".join(part for part in (State.Name(job.state), more.get(job.state)) if part)


def headline(job: job_pb2.Job) -> list[tuple[str, float]]:
    """The test metrics by which a job is known at a glance."""
    return [
        (name, job.test_metrics[name])
        for name in ("accuracy", "rmse", "silhouette")
        if name in job.test_metrics
    ]


def _standing_facts(job: job_pb2.Job) -> dict[str, str]:
    return {
        "job": f"{job.job_id}  {job.display_name}",
        "state": f"{State.Name(job.state)}  {job.progress:.0%}",
        "queue": f"place {job.queue.position}: {job.queue.reason}" if job.HasField("queue") else "",
        "ends": _ends(job),
        "attempt": str(job.attempt or ""),
        "checkpoints": _checkpoints(job),
    }


def _made_of(job: job_pb2.Job) -> dict[str, str]:
    chosen = display.hyperparameters_of(job)
    version = f" version {job.dataset_version}" if job.dataset_version else ""
    return {
        "dataset": f"{job.dataset_id}{version}, target {job.target or 'none'}",
        "algorithm": job.WhichOneof("algorithm") or "",
        "settings": "  ".join(f"{name}={json.dumps(_round(value))}" for name, value in chosen.items()),
        "weights": _weights(job),
        "left out": ", ".join(repr(name) for name in job.excluded_columns),
        "made": "  ".join(_transform(one) for one in job.transforms),
        "began with": f"the weights of {job.warm_start_model_id}" if job.warm_start_model_id else "",
        "runs": _runs(job),
    }


def _came_to(job: job_pb2.Job) -> dict[str, str]:
    return {
        "model": job.model_id,
        "took": f"{job.usage.wall_seconds:.1f} s, {job.usage.samples:,} rows trained on",
        "error": job.error.message,
    }


def _ends(job: job_pb2.Job) -> str:
    left = _seconds_left(job)
    if left is None:
        return ""
    return f"about {display.moment(job.estimated_end_time)}, {display.clock(left)} left"


def _seconds_left(job: job_pb2.Job) -> float | None:
    """By this machine's clock: the last change may be long ago."""
    if not job.HasField("estimated_end_time"):
        return None
    end = job.estimated_end_time.ToDatetime(UTC)
    return max(0.0, (end - datetime.now(UTC)).total_seconds())


def _checkpoints(job: job_pb2.Job) -> str:
    if not job.checkpoints:
        return ""
    last = job.checkpoints[-1]
    return f"{len(job.checkpoints)}, the last after step {last.step} ({last.progress:.0%})"


def _weights(job: job_pb2.Job) -> str:
    classes = " ".join(f"{name}={weight:g}" for name, weight in sorted(job.class_weights.items()))
    parts = (
        f"rows by {job.weight_column!r}" if job.weight_column else "",
        "classes balanced" if job.class_weight == job_pb2.BALANCED else "",
        f"classes {classes}" if classes else "",
    )
    return ", ".join(part for part in parts if part)


def _transform(made: job_pb2.FeatureTransform) -> str:
    kind = job_pb2.FeatureTransform.Kind.Name(made.kind).lower()
    return f"{kind}={','.join(made.columns)}{f':{made.bins}' if made.bins else ''}"


def _runs(job: job_pb2.Job) -> str:
    device = job_pb2.Device.Name(job.device).lower() if job.device else ""
    parts = (
        f"on {device}" if device else "",
        f"by {job.workers} processes" if job.workers > 1 else "",
        f"priority {job.priority}" if job.priority else "",
        f"{job.max_attempts} attempt{'s' * (job.max_attempts > 1)}" if job.max_attempts else "",
        f"at most {job.time_limit_seconds:g} s" if job.time_limit_seconds else "",
    )
    return ", ".join(part for part in parts if part)


def _round(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
