"""What every command has: where the API is, and how to answer the person or the program that calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlapi_client import errors

if TYPE_CHECKING:
    from mlapi_client.client import Client

Command = TypeVar("Command", bound=Callable[..., Any])

FAILED = 1
EXIT_CODES: Mapping[type[errors.MlapiError], int] = {
    errors.NotFound: 3,
    errors.InvalidArgument: 4,
    errors.FailedPrecondition: 5,
    errors.AlreadyExists: 5,
    errors.Aborted: 5,
    errors.Unavailable: 6,
    errors.DeadlineExceeded: 6,
    errors.ResourceExhausted: 6,
}


class Session:
    """One run of `mlapi`. as_json: the answer is for a program."""

    def __init__(self, address: str, timeout: float, **caller: str) -> None:
        """caller: `tenant`, `api_key` and `ca_file`, as `Client` takes them."""
        self._address = address
        self._timeout = timeout
        self._caller = caller
        self.as_json = False

    def client(self) -> Client:
        """A client, closed with the command."""
        from mlapi_client.client import Client  # noqa: PLC0415

        context = click.get_current_context()
        client = Client(self._address, self._timeout, None, **self._caller)
        return context.find_root().with_resource(client)

    def answer(self, document: Mapping[str, Any]) -> None:
        """Writes the one JSON document, or a line of several."""
        click.echo(json.dumps(document, ensure_ascii=False))

    def fail(self, error: errors.MlapiError) -> int:
        """Says what went wrong, on stderr; the exit code."""
        if self.as_json:
            click.echo(json.dumps({"error": _document(error)}, ensure_ascii=False), err=True)
        else:
            click.echo(_block(error), err=True)
        return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED)


pass_session = click.make_pass_decorator(Session)


def json_option(command: Command) -> Command:
    """Adds `--json`, which sets `Session.as_json`."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Answer in JSON, for programs."
    )(command)


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    session = ctx.find_object(Session)
    assert session is not None
    session.as_json = value


def _document(error: errors.MlapiError) -> dict[str, Any]:
    return {
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "field_violations": [violation._asdict() for violation in error.field_violations],
        "metadata": error.metadata,
    }


def _block(error: errors.MlapiError) -> str:
    lines = [f"{click.style('Error', fg='red', bold=True)} {error.reason}: {error.message}"]
    # A single violation is what the message says already.
    violations = error.field_violations if len(error.field_violations) > 1 else ()
    lines += [f"  {violation.field}: {violation.description}" for violation in violations]
    if "request_id" in error.metadata and error.code in ("INTERNAL", "UNKNOWN"):
        lines.append(f"  request id, for the service's log: {error.metadata['request_id']}")
    return "\n".join(lines)
