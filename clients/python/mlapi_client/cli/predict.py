"""`mlapi predict`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import click
from mlapi.training.v1 import model_pb2

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.client import Client
from mlapi_client.errors import InvalidValue

BOOLEANS = {"true": True, "false": False}


@click.command("predict")
@click.argument("model_id", metavar="MODEL")
@click.option("--rows", "text", metavar="JSON", help='A list of objects: [{"column": value, …}, …].')
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The same in a file, or a CSV file with a header.",
)
@json_option
@pass_session
def command(session: Session, model_id: str, text: str | None, file: Path | None) -> None:
    """Predict rows with MODEL."""
    if (text is None) == (file is None):
        raise click.UsageError("Give the rows by one of --rows and --file.")
    client = session.client()
    rows = _parsed(text) if text is not None else _read(client, model_id, file)
    predictions = client.models.predict(model_id, rows)
    if session.as_json:
        session.answer({"predictions": predictions})
        return
    table = display.table(">row", "value", "probabilities")
    for index, prediction in enumerate(predictions):
        best = sorted(prediction["probabilities"].items(), key=lambda item: -item[1])[:3]
        shares = "  ".join(f"{name} {share:.1%}" for name, share in best)
        table.add_row(str(index), str(prediction["value"]), shares)
    display.console().print(table)


def _read(client: Client, model_id: str, file: Path | None) -> list[dict[str, Any]]:
    assert file is not None
    try:
        if file.suffix.lower() == ".csv":
            return _csv_rows(file, client.models.get(model_id))
        return _parsed(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidValue.of("rows", f"{file.name} is not UTF-8 text: {error}") from None


def _parsed(text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise InvalidValue.of("rows", f"is not JSON: {error}") from None
    if isinstance(rows, dict):
        rows = rows.get("rows", [rows])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidValue.of("rows", "has to be a list of objects")
    return rows


def _csv_rows(file: Path, model: model_pb2.Model) -> list[dict[str, Any]]:
    """Text for each cell, as the service reads it; what is a boolean depends on the column."""
    numeric = {feature.name for feature in model.features if feature.kind == model_pb2.Feature.NUMERIC}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        return [
            {name: _cell(text, name in numeric) for name, text in row.items() if name is not None}
            for row in csv.DictReader(lines)
        ]


def _cell(text: str | None, numeric: bool) -> str | bool | None:
    if not text:
        return None
    return BOOLEANS.get(text.lower(), text) if numeric else text
