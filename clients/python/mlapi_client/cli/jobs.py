"""`mlapi jobs`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import click
from mlapi.training.v1 import job_pb2

from mlapi_client import display, hyperparameters
from mlapi_client.cli import job_facts
from mlapi_client.cli.interrupt import leaving_at_once
from mlapi_client.cli.session import FAILED, Session, json_option, pass_session
from mlapi_client.client import Client
from mlapi_client.documents import to_document
from mlapi_client.watching import Event

State = job_pb2.Job.State
LIVE_POINTS = 8
# As in WatchJobResponse.
KINDS = {job_pb2.Job: "job", job_pb2.MetricPoint: "point", job_pb2.JobEvent: "log"}


def _pairs(_context: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, float]:
    found = {}
    for pair in text.split(",") if text else ():
        name, _equals, number = pair.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{pair!r} has to be written CLASS=NUMBER", param=parameter) from None
    return found


def _transforms(
    _context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> list[dict[str, Any]]:
    return [_transform(text, parameter) for text in given]


def _transform(text: str, option: click.Parameter) -> dict[str, Any]:
    """`KIND=COLUMN`, `KIND=COLUMN,COLUMN` or `bins=COLUMN:BINS`."""
    kind, equals, rest = text.partition("=")
    known = job_pb2.FeatureTransform.Kind.keys()[1:]
    if not equals or kind.upper() not in known:
        names = ", ".join(one.lower() for one in known)
        message = f"{text!r} has to be written KIND=COLUMN,…, where KIND is one of {names}"
        raise click.BadParameter(message, param=option)
    found: dict[str, Any] = {"kind": kind.upper()}
    column, colon, number = rest.rpartition(":")
    if found["kind"] == "BINS" and colon and number.isdigit():
        found["bins"], rest = int(number), column
    return {**found, "columns": rest.split(",")}


@click.group("jobs")
def command() -> None:
    """Training jobs."""


@command.command()
@click.argument("dataset_id", metavar="DATASET")
@click.option("--target", default="", help="Column to be told; kmeans goes without.")
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
    type=click.Choice(["classification", "regression", "clustering"]),
    help="Default: found from the algorithm and the target column.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--name", "display_name", default="", help="A name for people.")
@click.option("--validation-fraction", type=float, help="Part for early stopping and validation metrics.")
@click.option("--test-fraction", type=float, help="Part for test metrics, which training never sees.")
@click.option("--split-seed", type=click.IntRange(0, 2**32 - 1), help="Divides the rows. Default: --seed.")
@click.option(
    "--validation-dataset",
    "validation_dataset_id",
    default="",
    metavar="DATASET",
    help="In place of a part of DATASET.",
)
@click.option(
    "--test-dataset",
    "test_dataset_id",
    default="",
    metavar="DATASET",
    help="In place of a part of DATASET.",
)
@click.option(
    "--dataset-version",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    help="Version of DATASET; 0: the newest.",
)
@click.option(
    "--warm-start",
    "warm_start_model_id",
    default="",
    metavar="MODEL",
    help="Begin with the weights of this model.",
)
@click.option(
    "--device", type=click.Choice(["cpu", "gpu"]), help="What to train on. Default: the platform chooses."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 2**31 - 1),
    help="Processes that train it together: mlp, logistic and kmeans. Default: one.",
)
@click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    default=0,
    show_default=True,
    help="Jobs of a higher one run first.",
)
@click.option(
    "--max-attempts", type=click.IntRange(1, 10), help="When processes are lost. Default: the service's."
)
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="What all attempts together may run. Default: no limit.",
)
@click.option(
    "--weight-column",
    default="",
    metavar="COLUMN",
    help="How much each row counts, in training and in metrics. Default: all alike.",
)
@click.option(
    "--class-weight",
    type=click.Choice(["balanced"]),
    help="Rows of each class count as much in all as those of any other, in training.",
)
@click.option(
    "--class-weights",
    callback=_pairs,
    metavar="CLASS=NUMBER,…",
    help="How much rows of each class count, in training, for example rose=2,tulip=0.5. Others: 1.",
)
@click.option(
    "--exclude",
    "excluded_columns",
    multiple=True,
    metavar="COLUMN",
    help="A column that is to be no feature; as often as needed.",
)
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    callback=_transforms,
    metavar="KIND=COLUMN,…",
    help="A column made of others: log=income, bins=age:10, ratio=debt,income, difference=…, date_parts=…,"
    " frequency=…; as often as needed.",
)
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
    **options: Any,
) -> None:
    """Create a job that trains on DATASET, to tell the target column or to group rows that are alike."""
    if not target and options["algorithm"] != "kmeans":
        raise click.UsageError("Missing option '--target'; only kmeans goes without.")
    client = session.client()
    chosen = hyperparameters.parse(options["algorithm"], assignments)
    job = client.jobs.create(dataset_id, target, hyperparameters=chosen, **options)
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
@click.option("--cursor", default="", help="Only the points and events after this one.")
@json_option
@pass_session
def watch(session: Session, job_id: str, cursor: str) -> None:
    """Watch a job until it ends; Ctrl-C leaves it running.

    With --json one object a line: {"job": …} whenever it changes, {"point": …} for what training reports,
    {"log": …} for what happens to it; else only warnings and errors of the latter are told.
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
    job_facts.show(job)


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
        test = ", ".join(f"{name} {value:.4g}" for name, value in job_facts.headline(job))
        about = (job.WhichOneof("algorithm") or "", job.dataset_id, job.target, test)
        created = display.moment(job.create_time)
        table.add_row(job.job_id, job_facts.standing(job), f"{job.progress:.0%}", *about, created)
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
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="In place of the one that it has; 0 for none. Default: as it was.",
)
@json_option
@pass_session
def resume(session: Session, job_id: str, time_limit: float | None) -> None:
    """Queue a job again that has FAILED or was CANCELLED; it goes on from its last checkpoint."""
    job = session.client().jobs.resume(job_id, time_limit)
    if session.as_json:
        session.answer(to_document(job))
        return
    last = f"step {job.checkpoints[-1].step}" if job.checkpoints else "the start"
    click.echo(
        f"{job_id} is {State.Name(job.state)}; it goes on from {last}. Watch it: mlapi jobs watch {job_id}"
    )


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


@command.command()
@click.argument("job_id")
@click.option("--cursor", default="", help="Only the events after this one.")
@json_option
@pass_session
def events(session: Session, job_id: str, cursor: str) -> None:
    """Show what has happened to a job so far."""
    found = list(session.client().jobs.events(job_id, cursor))
    if session.as_json:
        session.answer({"events": [to_document(event) for event in found]})
        return
    table = display.table("time", "level", ">attempt", "type", "message")
    for event in found:
        level, attempt = job_pb2.JobEvent.Level.Name(event.level), str(event.attempt or "")
        style = display.LEVEL_STYLES.get(event.level)
        time = display.moment(event.time)
        table.add_row(time, level, attempt, event.type, event.message, style=style)
    display.console().print(table)


def _watch(session: Session, client: Client, job_id: str, cursor: str) -> None:
    job = job_pb2.Job()
    left = (
        f"Stopped watching; {job_id} goes on. Watch again: mlapi jobs watch {job_id}"
        f" · stop it: mlapi jobs cancel {job_id}"
    )
    with leaving_at_once(left):
        for event in _shown(session, job_id, client.jobs.watch(job_id, cursor)):
            if isinstance(event, job_pb2.Job):
                job = event
    if not session.as_json:
        job_facts.show(job)
    if job.state != State.SUCCEEDED:
        click.get_current_context().exit(FAILED)


def _shown(session: Session, job_id: str, events: Iterator[Event]) -> Iterator[Event]:
    if session.as_json:
        for event in events:
            session.answer({KINDS[type(event)]: to_document(event)})
            yield event
        return
    with display.TrainingView(display.console(stderr=True), job_id, LIVE_POINTS) as view:
        for event in events:
            view.update(event)
            yield event
