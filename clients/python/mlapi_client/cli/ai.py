"""`mlapi ai`."""

from __future__ import annotations

from typing import Any

import click
from mlapi.ai_gateway.v1 import enhancement_pb2, enhancement_service_pb2

from mlapi_client import display, display_enhancement
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document


@click.group("ai")
def command() -> None:
    """The AI providers, and better models."""


@command.command()
@json_option
@pass_session
def status(session: Session) -> None:
    """Show every provider."""
    answer = session.client().ai.status()
    if session.as_json:
        session.answer(to_document(answer))
        return
    table = display.table("provider", "configured", "reachable", ">latency", "message")
    for item in answer.providers:
        latency = f"{item.latency_seconds * 1000:.0f} ms" if item.HasField("latency_seconds") else ""
        table.add_row(item.provider, _yes(item.configured), _yes(item.reachable), latency, item.message)
    display.console().print(table)


@command.command()
@click.option("--job", "job_id", default="", help="A job that has ended.")
@click.option("--model", "model_id", default="", help="A model.")
@click.option("--dataset", "dataset_id", default="", help="A dataset, with --target.")
@click.option("--target", default="", help="Column to be told.")
@click.option("--arm", "arms", multiple=True, help="random, tpe, llm, hybrid or local; may be repeated.")
@click.option("--trials", "max_trials", type=click.IntRange(1, 200), default=12, show_default=True)
@click.option("--max-cost", "max_cost_usd", type=float, default=0.0, help="US dollars.")
@click.option("--provider", "providers", multiple=True, help="A provider or model; may be repeated.")
@click.option("--seed", type=int, default=None)
@click.option("--background", is_flag=True, help="Answer with the task at once.")
@json_option
@pass_session
def enhance(session: Session, /, *, background: bool, **asked: Any) -> None:
    """Search for a model that is better than a job's, a model, or a dataset's default.

    Whatever is proposed is trained and measured; "no improvement" is an answer.
    """
    ai = session.client().ai
    if background:
        _show_task(session, ai.enhance_async(**asked))
        return
    screen = display.console(stderr=True)
    with display_enhancement.progress(screen, "searching") as show:
        found = ai.enhance(on_progress=show, **asked)
    _show(session, found)


@command.command()
@click.argument("task_id")
@json_option
@pass_session
def task(session: Session, /, task_id: str) -> None:
    """Show a task."""
    _show_task(session, session.client().ai.task(task_id))


@command.command()
@click.argument("task_id")
@json_option
@pass_session
def cancel(session: Session, /, task_id: str) -> None:
    """Stop a task."""
    _show_task(session, session.client().ai.cancel(task_id))


@command.command()
@click.argument("enhancement_id")
@click.option("--format", "format", type=click.Choice(["markdown", "html"]), default="markdown")
@pass_session
def report(session: Session, /, enhancement_id: str, format: Any) -> None:
    """Print the report of an enhancement that has ended."""
    click.echo(session.client().ai.report(enhancement_id, format))


@command.command()
@click.argument("enhancement_id")
@click.argument("name")
@click.option("--alias", default="champion", show_default=True)
@click.option("--force", is_flag=True, help="Although the report does not recommend it.")
@json_option
@pass_session
def adopt(session: Session, /, enhancement_id: str, name: str, alias: str, force: bool) -> None:
    """Register the best model under NAME, and move the alias to it."""
    version = session.client().ai.adopt(enhancement_id, name, alias=alias, force=force)
    if session.as_json:
        session.answer(to_document(version))
        return
    display.console().print(f"{name}@{alias} is version {version.version}, the model {version.model_id}.")


def _show(session: Session, found: enhancement_pb2.Enhancement) -> None:
    if session.as_json:
        session.answer(to_document(found))
        return
    screen = display.console()
    screen.print(display_enhancement.enhancement(found))
    screen.print(f"The whole report: mlapi ai report {found.enhancement_id}")


def _show_task(session: Session, task: enhancement_service_pb2.Task) -> None:
    if session.as_json:
        session.answer(to_document(task))
        return
    display.console().print(f"{task.task_id}  {task.status}  {task.progress:.0%}")
    if task.status != "processing" and task.HasField("result"):
        _show(session, task.result)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
