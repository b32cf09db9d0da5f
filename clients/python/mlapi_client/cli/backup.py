"""`mlapi backup`: on the machine that has the data, beside the running services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mlapi_client import backup
from mlapi_client.cli.session import Session, json_option, pass_session

_FOLDER = click.Path(file_okay=False, path_type=Path)
data_dir: Callable[[Any], Any] = click.option(
    "--data-dir", envvar="DATA_DIR", default=".data", show_default=True, show_envvar=True, type=_FOLDER
)
database_url: Callable[[Any], Any] = click.option(
    "--database-url",
    envvar="DATABASE_URL",
    default="",
    show_envvar=True,
    help="Of PostgreSQL; better in the variable, for its password. Default: SQLite in the data directory.",
)
artifacts_url: Callable[[Any], Any] = click.option(
    "--artifacts-url",
    envvar="ARTIFACTS_URL",
    default="",
    show_envvar=True,
    help="Of object storage, such as s3://BUCKET/PREFIX; credentials are the environment's.",
)


@click.group("backup")
def command() -> None:
    """Databases, datasets, models and checkpoints."""


@command.command()
@click.argument("folder", type=_FOLDER)
@data_dir
@database_url
@artifacts_url
@click.option(
    "--with",
    "configuration",
    multiple=True,
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="A file of configuration to keep with it, such as that of API keys; as often as needed.",
)
@json_option
@pass_session
def create(session: Session, /, folder: Path, data_dir: Path, **asked: Any) -> None:
    """Back up into the new FOLDER, while the services run.

    With --artifacts-url what is in object storage is listed, not copied: keep versions of the bucket.
    """
    _done(session, "Backed up", lambda: backup.create(data_dir, folder, **asked))


@command.command()
@click.argument("folder", type=_FOLDER)
@artifacts_url
@click.option("--every-object", is_flag=True, help="Read all of the objects, not their manifests alone.")
@json_option
@pass_session
def verify(session: Session, folder: Path, artifacts_url: str, every_object: bool) -> None:
    """Read every byte of the backup in FOLDER.

    With --artifacts-url, see also whether the objects that it lists are there. It may name a copy.
    """
    _done(
        session,
        "Whole:",
        lambda: backup.verify(folder, artifacts_url=artifacts_url, every_object=every_object),
    )


@command.command()
@click.argument("folder", type=_FOLDER)
@data_dir
@database_url
@artifacts_url
@json_option
@pass_session
def restore(session: Session, /, folder: Path, data_dir: Path, **where: Any) -> None:
    """Put the backup in FOLDER back into an empty data directory, before the services start."""
    _done(session, "Restored", lambda: backup.restore(folder, data_dir, **where))


def _done(session: Session, what: str, act: Callable[[], backup.Report]) -> None:
    try:
        report = act()
    except (backup.BackupError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if session.as_json:
        session.answer(asdict(report))
        return
    objects = f" {report.objects:,} objects belong to it." if report.objects else ""
    click.echo(f"{what} {report.files:,} files, {report.bytes:,} bytes.{objects}")
    for name in report.vanished:
        click.echo(f"Deleted meanwhile: {name}")
