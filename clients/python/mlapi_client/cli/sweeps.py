"""`mlapi sweeps`."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click
from mlapi.training.v1 import sweep_pb2

from mlapi_client import display, hyperparameters
from mlapi_client.cli.session import FAILED, Session, json_option, pass_session
from mlapi_client.documents import to_document

State = sweep_pb2.Sweep.State


@click.group("sweeps")
def command() -> None:
    """Searches over hyperparameters."""


def _searched(_context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> list[Any]:
    return [_parameter(text, parameter) for text in given]


def _parameter(text: str, option: click.Parameter) -> dict[str, Any]:
    """`NAME=LOW:HIGH`, `NAME=LOW:HIGH:log`, or `NAME=A|B|C`; whole numbers are a range of such."""
    name, equals, rest = text.partition("=")
    if equals and "|" in rest:
        return {"name": name, "choice": {"values": [_value(one) for one in rest.split("|")]}}
    try:
        low, high, *more = rest.split(":")
        kind = "int" if low.lstrip("-").isdigit() and high.lstrip("-").isdigit() else "float"
        ends = {"low": _number(low), "high": _number(high)}
        if not equals or more not in ([], ["log"]):
            raise ValueError
    except ValueError:
        message = f"{text!r} has to be written NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A|B"
        raise click.BadParameter(message, param=option) from None
    return {"name": name, kind: {**ends, "log": more == ["log"]}}


def _number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _value(text: str) -> Any:
    """A number, text, or several whole numbers with commas."""
    try:
        return [int(one) for one in text.split(",")] if "," in text else _number(text)
    except ValueError:
        return text


@command.command()
@click.argument("dataset_id", metavar="DATASET")
@click.option("--target", default="", help="Column to be told.")
@click.option("--trials", "max_trials", required=True, type=click.IntRange(min=1), help="At most so many.")
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
    help="A hyperparameter that is not searched; as often as needed.",
)
@click.option(
    "--search",
    "space",
    multiple=True,
    callback=_searched,
    metavar="NAME=RANGE",
    help="learning_rate=0.001:0.1:log, max_depth=3:9, hidden_sizes=64,64|256,256; default: what is usual.",
)
@click.option(
    "--sampler", type=click.Choice(["tpe", "random"]), default="tpe", show_default=True, help="How to choose."
)
@click.option("--pruner", type=click.Choice(["asha"]), help="Ends trials early. Default: none is.")
@click.option(
    "--folds",
    type=click.IntRange(0, 10),
    default=0,
    help="Of cross-validation. Default: by the rows.",
)
@click.option("--metric", default="", help="What trials are ranked by, on the validation part.")
@click.option("--parallel", type=click.IntRange(min=0), default=0, help="Trials at once. Default: all slots.")
@click.option("--max-seconds", type=click.FloatRange(min=0), default=0.0, help="Ends it after so long.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--name", "display_name", default="", help="A name for people.")
@click.option("--keep-models", is_flag=True, help="Of every trial, not only the best; yours to delete.")
@click.option("--wait", is_flag=True, help="Until it has ended.")
@json_option
@pass_session
def create(
    session: Session,
    /,
    dataset_id: str,
    algorithm: str,
    assignments: tuple[str, ...],
    wait: bool,
    **options: Any,
) -> None:
    """Search for good hyperparameters on DATASET."""
    client = session.client()
    given = hyperparameters.parse(algorithm, assignments)
    sweep = client.sweeps.create(dataset_id, algorithm=algorithm, hyperparameters=given, **options)
    if wait:
        sweep = client.sweeps.wait(sweep.sweep_id)
    _answer(session, sweep)
    if wait and sweep.state != State.SUCCEEDED:
        raise SystemExit(FAILED)


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, newest first. Default: all.")
@json_option
@pass_session
def list_(session: Session, limit: int | None) -> None:
    """List sweeps, newest first."""
    found = list(islice(session.client().sweeps.list(), limit))
    if session.as_json:
        session.answer({"sweeps": [to_document(sweep) for sweep in found]})
        return
    table = display.table("id", "state", "dataset", "target", "metric", "created")
    for sweep in found:
        about = (State.Name(sweep.state), sweep.base.dataset_id, sweep.base.target, sweep.metric)
        table.add_row(sweep.sweep_id, *about, display.moment(sweep.create_time))
    display.console().print(table)


@command.command()
@click.argument("sweep_id")
@json_option
@pass_session
def get(session: Session, sweep_id: str) -> None:
    """Show a sweep and its leaderboard."""
    _answer(session, session.client().sweeps.get(sweep_id))


@command.command()
@click.argument("sweep_id")
@json_option
@pass_session
def cancel(session: Session, sweep_id: str) -> None:
    """Stop a sweep; what it has measured stays."""
    _answer(session, session.client().sweeps.cancel(sweep_id))


@command.command()
@click.argument("sweep_id")
@json_option
@pass_session
def resume(session: Session, sweep_id: str) -> None:
    """Go on with a sweep that was cancelled."""
    _answer(session, session.client().sweeps.resume(sweep_id))


@command.command()
@click.argument("sweep_id")
@json_option
@pass_session
def delete(session: Session, sweep_id: str) -> None:
    """Delete a sweep that has ended, with its trials; its model stays."""
    session.client().sweeps.delete(sweep_id)
    if session.as_json:
        session.answer({})
        return
    click.echo(f"Deleted {sweep_id}.")


def _answer(session: Session, sweep: sweep_pb2.Sweep) -> None:
    if session.as_json:
        session.answer(to_document(sweep))
        return
    screen = display.console()
    screen.print(f"sweep       {sweep.sweep_id}, {State.Name(sweep.state)}")
    if sweep.model_id:
        screen.print(f"model       {sweep.model_id}")
    if sweep.cost_usd:
        screen.print(f"cost        {sweep.cost_usd:.2f} USD")
    if sweep.trials:
        screen.print(_leaderboard(sweep))


def _leaderboard(sweep: sweep_pb2.Sweep) -> Any:
    kept = sweep.keep_models
    table = display.table(
        "trial", "state", sweep.metric, "test", "seconds", "by", "values", *(["model"] if kept else [])
    )
    for trial in sweep.trials:
        values = ", ".join(f"{name}={_shown(value)}" for name, value in sorted(trial.values.items()))
        measured = [_metric(part, sweep.metric) for part in (trial.validation_metrics, trial.test_metrics)]
        state = sweep_pb2.Trial.State.Name(trial.state)
        about = (f"{trial.seconds:.1f}", trial.source, values, *([trial.model_id] if kept else []))
        table.add_row(str(trial.number), state, *measured, *about)
    return table


def _metric(metrics: Any, name: str) -> str:
    return f"{metrics[name]:.4g}" if name in metrics else ""


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else ",".join(f"{one:g}" for one in value)
