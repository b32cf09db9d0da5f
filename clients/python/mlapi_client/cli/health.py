"""`mlapi health`."""

from __future__ import annotations

import click

from mlapi_client import display
from mlapi_client.cli.session import FAILED, Session, json_option, pass_session
from mlapi_client.documents import to_document


@click.command("health")
@json_option
@pass_session
def command(session: Session) -> None:
    """Show what works and what does not; exit code 1 unless everything does."""
    report = session.client().health()
    if session.as_json:
        session.answer(to_document(report))
    else:
        screen = display.console()
        screen.print(f"{report.status}  version {report.version}, {display.moment(report.timestamp)}")
        table = display.table("part", "status", "message")
        for parts in (report.services, report.ai_services):
            for name in sorted(parts):
                table.add_row(name, parts[name].status, parts[name].message)
        screen.print(table)
    if report.status != "healthy":
        click.get_current_context().exit(FAILED)
