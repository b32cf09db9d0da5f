"""`mlapi ai`."""

from __future__ import annotations

from typing import Any

import click

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document


@click.group("ai")
def command() -> None:
    """The AI providers, and proposals for better models."""


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
@click.option("--max", "max_proposals", type=click.IntRange(1, 10), default=3, show_default=True)
@json_option
@pass_session
def enhance(session: Session, /, **asked: Any) -> None:
    """Propose better hyperparameters for a job, a model or a dataset. Nothing is trained."""
    answer = session.client().ai.enhance(**asked)
    if session.as_json:
        session.answer(to_document(answer))
        return
    screen = display.console()
    screen.print(display.proposals(answer))
    for proposal in answer.proposals[:1]:
        name = proposal.WhichOneof("algorithm")
        settings = " ".join(f"--set {change.field}={change.after}" for change in proposal.changes)
        screen.print(
            f"\nMeasure the first: mlapi jobs create DATASET --target T --algorithm {name} {settings}"
        )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
