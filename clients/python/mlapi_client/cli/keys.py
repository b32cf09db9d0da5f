"""`mlapi keys`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from mlapi_client import display, key_file
from mlapi_client.cli.session import Session, json_option, pass_session

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Expiry(click.ParamType[Any]):
    """`90d`, `12h`, `4w`, or a time."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if found := re.fullmatch(r"(\d{1,5})([hdw])", value):
            return datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is neither like 90d, 12h, 4w nor like 2027-01-31", param, ctx)


def _tenant(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not _TENANT.fullmatch(value):
        raise click.BadParameter("has to be 1 to 64 letters, digits, '.', '_' or '-'", ctx, param)
    return value


def _limit(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not key_file.is_limit(value):
        raise click.BadParameter("has to be like 50/hour or 200/day, 50/hour", ctx, param)
    return value


file_option: Callable[[Any], Any] = click.option(
    "--file",
    "path",
    envvar="API_KEYS_FILE",
    required=True,
    show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of keys.",
)


@click.group("keys")
def command() -> None:
    """API keys, in the file that the services read. They see a change within a second."""


@command.command()
@click.option("--tenant", required=True, callback=_tenant, help="Whose key it is.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(key_file.SCOPES),
    help="What it is for; several are allowed.",
)
@click.option("--expires", type=Expiry(), help="Like 90d, 12h, 4w or 2027-01-31; never, when absent.")
@click.option(
    "--requests",
    default="",
    callback=_limit,
    help="Like '200/day, 50/hour', in the place of each service's usual limit.",
)
@click.option("--name", default="", help="What you call it.")
@file_option
@json_option
@pass_session
def create(session: Session, /, path: Path, **asked: Any) -> None:
    """Create a key, and show it: the only time that it can be seen."""
    record, key = key_file.create(path, **asked)
    if session.as_json:
        session.answer({"key": key, **asdict(record)})
        return
    click.echo(key)
    until = f"until {record.expires}" if record.expires else "for ever"
    facts = f"For {record.tenant}, {', '.join(record.scopes)}, {until}."
    click.echo(f"{facts} Keep it: only its hash is stored.", err=True)


@command.command("list")
@file_option
@json_option
@pass_session
def list_(session: Session, path: Path) -> None:
    """List the keys."""
    records = key_file.read(path)
    if session.as_json:
        session.answer({"keys": [_shown(record) for record in records]})
        return
    table = display.table("key", "tenant", "scopes", "requests", "name", "created", "expires")
    for one in records:
        cells = (one.id, one.tenant, " ".join(one.scopes), one.requests or "as usual", one.name, one.created)
        table.add_row(*cells, one.expires or "never")
    display.console().print(table)


@command.command()
@click.argument("key_id")
@file_option
@json_option
@pass_session
def revoke(session: Session, key_id: str, path: Path) -> None:
    """Take a key out of the file. KEY_ID: the part of the key between its two first underscores."""
    record = key_file.revoke(path, key_id)
    if session.as_json:
        session.answer(_shown(record))
    else:
        click.echo(f"revoked {record.id} of {record.tenant}")


def _shown(record: key_file.KeyRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "sha256"}
