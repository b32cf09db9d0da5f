"""`mlapi datasets`."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import click
from mlapi.training.v1 import dataset_pb2

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document

COLUMN_TYPES = [name for name, number in dataset_pb2.Column.Type.items() if number]
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(;.*)?$")


@click.group("datasets")
def command() -> None:
    """Tables to train on."""


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--id", "dataset_id", help="Created when missing, replaced otherwise. Default: a new id.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="COLUMN=TYPE",
    help="INTEGER, FLOAT, BOOLEAN, TEXT or TIMESTAMP, where it is not to be found out; once for each column.",
)
@click.option(
    "--null", "nulls", multiple=True, metavar="TEXT", help="Stands for a missing value; once for each."
)
@click.option("--content-type", help="Media type. Default: by the suffix of the file.")
@json_option
@pass_session
def upload(
    session: Session, /, file: Path, types: tuple[str, ...], nulls: tuple[str, ...], **how: Any
) -> None:
    """Upload FILE (CSV or Parquet) as the newest version of a dataset."""
    columns, media_type = _types(types)
    how["content_type"] = how["content_type"] or media_type
    client = session.client()
    if session.as_json:
        dataset = client.datasets.upload(file, column_types=columns, null_values=nulls, **how)
        session.answer(to_document(dataset))
        return
    with display.upload_bar(display.console(stderr=True), file.name, file.stat().st_size) as progress:
        dataset = client.datasets.upload(
            file, progress=progress, column_types=columns, null_values=nulls, **how
        )
    _show(dataset)


def _types(options: tuple[str, ...]) -> tuple[dict[str, str], str | None]:
    """Column → type, and the media type, which `--type` was for before columns had types."""
    columns: dict[str, str] = {}
    media_type = None
    for option in options:
        column, equals, kind = option.rpartition("=")
        if equals and kind.upper() in COLUMN_TYPES:
            columns[column] = kind.upper()
        elif MEDIA_TYPE.match(option):
            media_type = option
        else:
            message = f"{option!r} is not COLUMN=TYPE with one of {', '.join(COLUMN_TYPES)}"
            raise click.BadParameter(message, param_hint="--type")
    return columns, media_type


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
