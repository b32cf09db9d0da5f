"""`mlapi audit`: on a machine that reaches the databases, beside the running services."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from mlapi_client import audit, display
from mlapi_client.audit import Entry, Place, Verdict
from mlapi_client.cli.backup import data_dir, database_url
from mlapi_client.cli.session import Session, json_option, pass_session

_FILE = click.Path(dir_okay=False, path_type=Path)


def service(required: bool) -> Callable[[Any], Any]:
    """Adds `--service`."""
    text = "Whose log." if required else "Whose log; both, when absent."
    return click.option("--service", type=click.Choice(audit.SERVICES), required=required, help=text)


@click.group("audit")
def command() -> None:
    """Who changed what.

    Every call that changes something is in it, whatever came of it, and callers who were turned away. Calls
    of AI models are in the ledger: `GET /v1/ai/usage`.
    """


@command.command("list")
@service(required=False)
@click.option("--tenant", help="Only of this tenant.")
@click.option("--key", help="Only by the key with this public id.")
@click.option("--resource", help="Only about this, such as a job's id.")
@click.option("--request-id", help="Only of this request.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The last of them.")
@data_dir
@database_url
@json_option
@pass_session
def list_(
    session: Session,
    /,
    service: str | None,
    limit: int,
    data_dir: Path,
    database_url: str,
    **wanted: str | None,
) -> None:
    """List entries, the latest last."""
    found = list[Entry]()
    with _told():
        for place in _places(service, data_dir, database_url):
            found += deque((entry for entry in place.read() if _fits(entry, wanted)), limit)
    found = sorted(found, key=lambda entry: str(entry["time"]))[-limit:]
    if session.as_json:
        session.answer({"entries": found})
        return
    table = display.table(">seq", "time", "tenant", "key", "method", "resource", "code", "request id")
    for one in found:
        method = one["method"].rpartition("/")[2] + (f" (+{one['left_out']})" if one["left_out"] else "")
        shown = (one["time"][:19], one["tenant"], one["key"], method, one["resource"], one["code"])
        table.add_row(str(one["seq"]), *shown, one["request_id"])
    display.console().print(table)


@command.command()
@service(required=False)
@click.option("--head", "heads", multiple=True, help="A hash noted earlier, which has to be there still.")
@click.option("--since", default="", help="A hash noted earlier; only what came after it is checked.")
@click.option("--archive", "archives", multiple=True, type=_FILE, help="What comes before, or part of it.")
@data_dir
@database_url
@json_option
@pass_session
def verify(
    session: Session,
    *,
    service: str | None,
    heads: tuple[str, ...],
    since: str,
    archives: tuple[Path, ...],
    data_dir: Path,
    database_url: str,
) -> None:
    """Recompute every hash, and name the first entry that is wrong, moved or missing.

    That the end was cut off, or everything made anew, only --head can show: the services log a head every
    hour and when they end ("audit head"). With --head or --since name the service.
    """
    if (heads or since) and service is None:
        raise click.UsageError("--head and --since belong to one service: add --service")
    verdicts = dict[str, Verdict]()
    for place in _places(service, data_dir, database_url):
        with _told(place.service):
            before = [audit.archived(path, place.service) for path in archives]
            entries = audit.joined(*before, place.read())
            verdicts[place.service] = audit.verify(entries, heads=heads, since=since)
    if session.as_json:
        session.answer({name: asdict(verdict) for name, verdict in verdicts.items()})
        return
    for name, verdict in verdicts.items():
        click.echo(f"{name}: {verdict.entries} entries are whole; head {verdict.last} {verdict.head}")


@command.command()
@service(required=False)
@click.argument("file", type=click.File("x"))
@data_dir
@database_url
def export(service: str | None, file: TextIO, data_dir: Path, database_url: str) -> None:
    """Write all entries to the new FILE (- for stdout), as lines of JSON that `verify --archive` reads."""
    with _told():
        for place in _places(service, data_dir, database_url):
            file.writelines(audit.line(place.service, entry) + "\n" for entry in place.read())


@command.command()
@service(required=True)
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), required=True, help="A day, UTC.")
@click.option("--archive", type=_FILE, required=True, help="The new file that they go to.")
@data_dir
@database_url
@json_option
@pass_session
def prune(
    session: Session, *, service: str, before: datetime, archive: Path, data_dir: Path, database_url: str
) -> None:
    """Move what is older than a day to an archive. An entry says that this was done, and up to where."""
    [place] = _places(service, data_dir, database_url)
    with _told(service):
        verdict = audit.prune(place, before.replace(tzinfo=UTC), archive)
    if session.as_json:
        session.answer(asdict(verdict))
    else:
        click.echo(f"{verdict.entries} entries are in {archive}; the last is {verdict.last} {verdict.head}")


def _places(service: str | None, data_dir: Path, database_url: str) -> list[Place]:
    return [Place(name, data_dir, database_url) for name in ([service] if service else audit.SERVICES)]


def _fits(entry: Entry, wanted: Mapping[str, str | None]) -> bool:
    return all(value is None or entry[name] == value for name, value in wanted.items())


@contextmanager
def _told(name: str = "") -> Iterator[None]:
    try:
        yield
    except (audit.AuditError, OSError) as error:
        raise click.ClickException(f"{name}: {error}" if name else str(error)) from error
