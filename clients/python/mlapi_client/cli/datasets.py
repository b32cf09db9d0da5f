"""`mlapi datasets`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
from mlapi.training.v1 import dataset_pb2

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document


@click.group("datasets")
def command() -> None:
    """Tables to train on."""


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--id", "dataset_id", help="Created when missing, replaced otherwise. Default: a new id.")
@click.option("--type", "content_type", help="Media type. Default: by the suffix of the file.")
@json_option
@pass_session
def upload(session: Session, file: Path, dataset_id: str | None, content_type: str | None) -> None:
    """Upload FILE (CSV or Parquet) as the content of a dataset."""
    client = session.client()
    if session.as_json:
        session.answer(to_document(client.datasets.upload(file, dataset_id, content_type)))
        return
    with display.upload_bar(display.console(stderr=True), file.name, file.stat().st_size) as progress:
        dataset = client.datasets.upload(file, dataset_id, content_type, progress)
    _show(dataset)


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, newest first. Default: all.")
@json_option
@pass_session
def list_(session: Session, limit: int | None) -> None:
    """List datasets, newest first."""
    found = list(islice(session.client().datasets.list(), limit))
    if session.as_json:
        session.answer({"datasets": [to_document(dataset) for dataset in found]})
        return
    table = display.table("id", "state", ">rows", ">columns", ">size", "updated")
    for item in found:
        state = dataset_pb2.Dataset.State.Name(item.state)
        counts = (f"{item.row_count:,}", str(len(item.columns)), display.size(item.byte_count))
        table.add_row(item.dataset_id, state, *counts, display.moment(item.update_time))
    display.console().print(table)


@command.command()
@click.argument("dataset_id")
@json_option
@pass_session
def get(session: Session, dataset_id: str) -> None:
    """Show a dataset and its columns."""
    dataset = session.client().datasets.get(dataset_id)
    if session.as_json:
        session.answer(to_document(dataset))
        return
    _show(dataset)


@command.command()
@click.argument("dataset_id")
@json_option
@pass_session
def delete(session: Session, dataset_id: str) -> None:
    """Delete a dataset."""
    session.client().datasets.delete(dataset_id)
    if session.as_json:
        session.answer({})
        return
    click.echo(f"Deleted {dataset_id}.")


def _show(dataset: dataset_pb2.Dataset) -> None:
    screen = display.console()
    screen.print(f"{dataset.dataset_id}  {dataset.row_count:,} rows, {len(dataset.columns)} columns")
    if dataset.sha256:
        screen.print(f"sha256 {dataset.sha256}", style="dim", soft_wrap=True)
    table = display.table(
        "column", "type", ">missing", ">different", ">min", ">mean", ">max", "most frequent"
    )
    for column in dataset.columns:
        profile, kind = column.profile, dataset_pb2.Column.Type.Name(column.type)
        numbers = (
            display.number(getattr(profile, name)) if profile.HasField(name) else ""
            for name in ("minimum", "mean", "maximum")
        )
        top = ", ".join(f"{top.value} ({top.count})" for top in profile.top_values[:3])
        counts = (f"{profile.null_count:,}", f"{profile.distinct_count:,}")
        table.add_row(column.name, kind, *counts, *numbers, top)
    screen.print(table)
