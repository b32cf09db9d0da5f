"""`mlapi jobs`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
from mlapi.training.v1 import job_pb2

from mlapi_client import display, hyperparameters
from mlapi_client.cli.session import FAILED, Session, json_option, pass_session
from mlapi_client.client import Client
from mlapi_client.documents import to_document
from mlapi_client.watching import Event

State = job_pb2.Job.State
LIVE_POINTS = 8


@click.group("jobs")
def command() -> None:
    """Training jobs."""


@command.command()
@click.argument("dataset_id", metavar="DATASET")
@click.option("--target", required=True, help="Column to be told.")
@click.option(
    "--algorithm",
    default="mlp",
    show_default=True,
    type=click.Choice(hyperparameters.ALGORITHMS),
    help="Which.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyperparameter, for example learning_rate=0.01 or hidden_sizes=64,64; as often as needed.",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="Default: found from the target column.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--name", default="", help="A name for people.")
@click.option("--validation-fraction", type=float, help="Part for early stopping and validation metrics.")
@click.option("--test-fraction", type=float, help="Part for test metrics, which training never sees.")
@click.option("--validation-dataset", default="", metavar="DATASET", help="In place of a part of DATASET.")
@click.option("--test-dataset", default="", metavar="DATASET", help="In place of a part of DATASET.")
@click.option("--watch", "watched", is_flag=True, help="Watch it until it ends.")
@json_option
@pass_session
def create(
    session: Session,
    /,
    dataset_id: str,
    target: str,
    assignments: tuple[str, ...],
    watched: bool,
    **given: Any,
) -> None:
    """Create a job that trains on DATASET to tell the target column."""
    client = session.client()
    job = client.jobs.create(
        dataset_id,
        target,
        algorithm=given["algorithm"],
        hyperparameters=hyperparameters.parse(given["algorithm"], assignments),
        task=given["task"],
        seed=given["seed"],
        display_name=given["name"],
        validation_fraction=given["validation_fraction"],
        test_fraction=given["test_fraction"],
        validation_dataset_id=given["validation_dataset"],
        test_dataset_id=given["test_dataset"],
    )
    if watched:
        if not session.as_json:
            click.echo(f"Created {job.job_id}.")
        _watch(session, client, job.job_id, "")
    elif session.as_json:
        session.answer(to_document(job))
    else:
        click.echo(f"Created {job.job_id}. Watch it: mlapi jobs watch {job.job_id}")


@command.command()
@click.argument("job_id")
@click.option("--cursor", default="", help="Only the points after this one.")
@json_option
@pass_session
def watch(session: Session, job_id: str, cursor: str) -> None:
    """Watch a job until it ends; Ctrl-C leaves it running.

    With --json one object a line: {"job": …} whenever it changes, {"point": …} for what training reports.
    """
    _watch(session, session.client(), job_id, cursor)


@command.command()
@click.argument("job_id")
@json_option
@pass_session
def get(session: Session, job_id: str) -> None:
    """Show a job."""
    job = session.client().jobs.get(job_id)
    if session.as_json:
        session.answer(to_document(job))
        return
    _show(job)


@command.command("list")
@click.option("--state", type=click.Choice(State.keys()[1:], case_sensitive=False), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, newest first. Default: all.")
@json_option
@pass_session
def list_(session: Session, state: str | None, limit: int | None) -> None:
    """List jobs, newest first."""
    found = list(islice(session.client().jobs.list(state), limit))
    if session.as_json:
        session.answer({"jobs": [to_document(job) for job in found]})
        return
    table = display.table("id", "state", ">done", "algorithm", "dataset", "target", "test", "created")
    for job in found:
        test = ", ".join(f"{name} {value:.4g}" for name, value in _headline(job))
        about = (job.WhichOneof("algorithm") or "", job.dataset_id, job.target, test)
        created = display.moment(job.create_time)
        table.add_row(job.job_id, State.Name(job.state), f"{job.progress:.0%}", *about, created)
    display.console().print(table)


@command.command()
@click.argument("job_id")
@json_option
@pass_session
def cancel(session: Session, job_id: str) -> None:
    """Ask a job to stop."""
    job = session.client().jobs.cancel(job_id)
    if session.as_json:
        session.answer(to_document(job))
        return
    click.echo(f"{job_id} is {State.Name(job.state)}.")


@command.command()
@click.argument("job_id")
@json_option
@pass_session
def delete(session: Session, job_id: str) -> None:
    """Delete a job that has ended; its model stays."""
    session.client().jobs.delete(job_id)
    if session.as_json:
        session.answer({})
        return
    click.echo(f"Deleted {job_id}.")


@command.command()
@click.argument("job_id")
@click.option("--cursor", default="", help="Only the points after this one.")
@json_option
@pass_session
def metrics(session: Session, job_id: str, cursor: str) -> None:
    """Show what training has reported so far."""
    points = list(session.client().jobs.metrics(job_id, cursor))
    if session.as_json:
        session.answer({"points": [to_document(point) for point in points]})
        return
    names = sorted({name for point in points for name in point.values})
    table = display.table(">step", ">done", *(f">{name}" for name in names))
    for point in points:
        values = (display.number(point.values.get(name)) for name in names)
        table.add_row(str(point.step), f"{point.progress:.0%}", *values)
    display.console().print(table)


def _watch(session: Session, client: Client, job_id: str, cursor: str) -> None:
    job = job_pb2.Job()
    try:
        for event in _shown(session, job_id, client.jobs.watch(job_id, cursor)):
            if isinstance(event, job_pb2.Job):
                job = event
    except KeyboardInterrupt:
        click.echo(
            f"\nStopped watching; {job_id} goes on. Watch again: mlapi jobs watch {job_id}"
            f" · stop it: mlapi jobs cancel {job_id}",
            err=True,
        )
        raise
    if not session.as_json:
        _show(job)
    if job.state != State.SUCCEEDED:
        click.get_current_context().exit(FAILED)


def _shown(session: Session, job_id: str, events: Iterator[Event]) -> Iterator[Event]:
    if session.as_json:
        for event in events:
            kind = "job" if isinstance(event, job_pb2.Job) else "point"
            session.answer({kind: to_document(event)})
            yield event
        return
    with display.TrainingView(display.console(stderr=True), job_id, LIVE_POINTS) as view:
        for event in events:
            view.update(event)
            yield event


def _show(job: job_pb2.Job) -> None:
    screen = display.console()
    chosen = display.hyperparameters_of(job)
    facts = {
        "job": f"{job.job_id}  {job.display_name}",
        "state": f"{State.Name(job.state)}  {job.progress:.0%}",
        "dataset": f"{job.dataset_id}, target {job.target}",
        "algorithm": job.WhichOneof("algorithm") or "",
        "settings": "  ".join(f"{name}={json.dumps(_round(value))}" for name, value in chosen.items()),
        "model": job.model_id,
        "took": f"{job.usage.wall_seconds:.1f} s, {job.usage.samples:,} rows trained on",
        "error": job.error.message,
    }
    for name, text in facts.items():
        if text:
            screen.print(f"{name:<10} {text}")
    if job.test_metrics or job.validation_metrics:
        screen.print()
        screen.print(display.metrics_table({"validation": job.validation_metrics, "test": job.test_metrics}))


def _headline(job: job_pb2.Job) -> list[tuple[str, float]]:
    return [(name, job.test_metrics[name]) for name in ("accuracy", "rmse") if name in job.test_metrics]


def _round(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
