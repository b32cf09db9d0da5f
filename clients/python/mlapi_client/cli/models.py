"""`mlapi models`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
from mlapi.training.v1 import job_pb2, model_pb2
from rich.table import Table

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document

FORMATS = ("onnx", "safetensors")
# Classes of a confusion matrix that a terminal has room for.
_WIDEST_MATRIX = 8


@click.group("models")
def command() -> None:
    """Trained models."""


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, newest first. Default: all.")
@json_option
@pass_session
def list_(session: Session, limit: int | None) -> None:
    """List models, newest first."""
    found = list(islice(session.client().models.list(), limit))
    if session.as_json:
        session.answer({"models": [to_document(model) for model in found]})
        return
    table = display.table("id", "algorithm", "task", "target", "dataset", "test", "created")
    for model in found:
        test = ", ".join(
            f"{name} {model.test_metrics[name]:.4g}"
            for name in ("accuracy", "rmse", "silhouette")
            if name in model.test_metrics
        )
        about = (model.algorithm, _task(model), model.target, model.dataset_id, test)
        table.add_row(model.model_id, *about, display.moment(model.create_time))
    display.console().print(table)


@command.command()
@click.argument("model_id")
@json_option
@pass_session
def get(session: Session, model_id: str) -> None:
    """Show a model."""
    model = session.client().models.get(model_id)
    if session.as_json:
        session.answer(to_document(model))
        return
    _show(model)


@command.command()
@click.argument("model_id")
@click.option("--format", type=click.Choice(FORMATS), help="Default: by the suffix of FILE, else onnx.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: MODEL_ID.FORMAT."
)
@json_option
@pass_session
def export(session: Session, model_id: str, format: str | None, output: Path | None) -> None:
    """Write a model, preprocessing included, to a file."""
    if output is None:
        output = Path(f"{model_id}.{format or FORMATS[0]}")
    suffix = output.suffix.removeprefix(".")
    format = format or (suffix if suffix in FORMATS else FORMATS[0])
    try:
        session.client().models.export(model_id, output, format)
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from error
    if session.as_json:
        session.answer({"file": str(output), "format": format, "bytes": output.stat().st_size})
        return
    click.echo(f"Wrote {output}, {output.stat().st_size:,} bytes.")


@command.command()
@click.argument("model_id")
@json_option
@pass_session
def explain(session: Session, model_id: str) -> None:
    """Show which columns a model's predictions rest on."""
    found = session.client().models.explain(model_id)
    if session.as_json:
        session.answer(to_document(found))
        return
    table = display.table("column", f">{found.metric} grows by", ">standard error")
    for one in found.importances:
        table.add_row(one.feature, f"{one.mean:.4g}", f"{one.standard_error:.2g}")
    display.console().print(table)
    click.echo(f"{found.metric} {found.baseline:.4g} on {found.row_count} rows, with no column shuffled.")


@command.command()
@click.argument("model_id")
@json_option
@pass_session
def lineage(session: Session, model_id: str) -> None:
    """Show where a model comes from, and under which names it is known."""
    found = session.client().models.lineage(model_id)
    if session.as_json:
        session.answer(to_document(found))
        return
    facts = {
        "dataset": f"{found.dataset_id} version {found.dataset_version}, sha256 {found.dataset_sha256}",
        "began as": found.warm_start_model_id,
        "sweep": f"{found.sweep_id}, trial {found.trial}" if found.HasField("trial") else found.sweep_id,
        "job": found.job_id,
        "model": found.model_id,
        "weights": f"sha256 {found.weights_sha256}",
        "known as": ", ".join(f"{one.name}@{one.version}" for one in found.versions),
    }
    for name, text in facts.items():
        if text:
            display.console().print(f"{name:<10} {text}")


@command.command()
@click.argument("candidates", nargs=-1, required=True, metavar="CANDIDATE…")
@click.option(
    "--with", "baselines", multiple=True, required=True, metavar="MODEL", help="As often as needed."
)
@click.option("--dataset", "dataset_id", default="", help="Default: the test part that all were kept from.")
@json_option
@pass_session
def compare(
    session: Session, candidates: tuple[str, ...], baselines: tuple[str, ...], dataset_id: str
) -> None:
    """Compare models on rows that none of them was trained on."""
    found = session.client().models.compare(candidates, baselines, dataset_id=dataset_id)
    if session.as_json:
        session.answer(to_document(found))
        return
    table = display.table(f"on {found.row_count} rows of {found.dataset_id}", ">candidate", ">with")
    for name in sorted(found.candidate.metrics):
        pair = (found.candidate.metrics[name], found.baseline.metrics[name])
        table.add_row(name, *(f"{value:.4g}" for value in pair))
    display.console().print(table)
    gain = found.improvement
    click.echo(
        f"{found.loss} lower by {gain.mean:.4g} [{gain.low:.4g}, {gain.high:.4g}], p = {gain.p_value:.2g}; "
        f"better with a probability of {gain.probability:.1%}."
    )


@command.command()
@click.argument("model_id")
@json_option
@pass_session
def delete(session: Session, model_id: str) -> None:
    """Delete a model and its weights."""
    session.client().models.delete(model_id)
    if session.as_json:
        session.answer({})
        return
    click.echo(f"Deleted {model_id}.")


def _show(model: model_pb2.Model) -> None:
    screen = display.console()
    facts = {
        "model": f"{model.model_id}  {model.display_name}",
        "what": f"{model.algorithm}, {_task(model)}{f' of {model.target}' * bool(model.target)}",
        "from": f"job {model.job_id}, dataset {model.dataset_id}",
        "columns": ", ".join(feature.name for feature in model.features),
        "classes": ", ".join(model.classes),
        "weights": f"sha256 {model.weights_sha256}",
    }
    for name, text in facts.items():
        if text:
            screen.print(f"{name:<10} {text}")
    for warning in model.warnings:
        screen.print(f"warning    {warning}", style="yellow")
    screen.print()
    screen.print(display.metrics_table({"validation": model.validation_metrics, "test": model.test_metrics}))
    if 0 < len(model.test_confusion_matrix.classes) <= _WIDEST_MATRIX:
        screen.print()
        screen.print(_confusion(model.test_confusion_matrix))


def _confusion(matrix: model_pb2.ConfusionMatrix) -> Table:
    made = display.table("test rows of", *(f">taken for {name}" for name in matrix.classes))
    for name, row in zip(matrix.classes, matrix.rows, strict=True):
        made.add_row(name, *map(str, row.counts))
    return made


def _task(model: model_pb2.Model) -> str:
    return job_pb2.Task.Name(model.task).lower()
