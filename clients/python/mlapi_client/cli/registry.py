"""`mlapi registry`."""

from __future__ import annotations

from itertools import islice

import click
from mlapi.training.v1 import registry_pb2

from mlapi_client import display
from mlapi_client.cli.session import Session, json_option, pass_session
from mlapi_client.documents import to_document


@click.group("registry")
def command() -> None:
    """Models under names: NAME@ALIAS and NAME@VERSION stand for a model's id."""


@command.command()
@click.argument("name")
@click.argument("model_id")
@click.option("--alias", "aliases", multiple=True, help="Moved to it, such as champion; as often as needed.")
@click.option("--comment", default="", help="Why, for people.")
@json_option
@pass_session
def register(session: Session, name: str, model_id: str, aliases: tuple[str, ...], comment: str) -> None:
    """Make a model the next version of NAME."""
    version = session.client().registry.register(name, model_id, aliases=aliases, comment=comment)
    if session.as_json:
        session.answer(to_document(version))
        return
    click.echo(f"{name}@{version.version} is {model_id}.")


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many. Default: all.")
@json_option
@pass_session
def list_(session: Session, limit: int | None) -> None:
    """List names in alphabetical order."""
    found = list(islice(session.client().registry.list(), limit))
    if session.as_json:
        session.answer({"registered_models": [to_document(one) for one in found]})
        return
    table = display.table("name", ">versions", "aliases", "changed")
    for one in found:
        table.add_row(one.name, str(len(one.versions)), _aliases(one), display.moment(one.update_time))
    display.console().print(table)


@command.command()
@click.argument("name")
@json_option
@pass_session
def get(session: Session, name: str) -> None:
    """Show a name and its versions."""
    _answer(session, session.client().registry.get(name))


@command.command()
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=click.IntRange(min=0))
@click.option("--expected", type=click.IntRange(min=0), help="Only if it points there; 0: to none.")
@json_option
@pass_session
def alias(session: Session, name: str, alias: str, version: int, expected: int | None) -> None:
    """Move ALIAS to VERSION; 0 removes it."""
    _answer(session, session.client().registry.set_alias(name, alias, version, expected_version=expected))


@command.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="Only this one. Default: all of NAME.")
@json_option
@pass_session
def delete(session: Session, name: str, version: int | None) -> None:
    """Delete NAME, or a version of it; models stay."""
    registry = session.client().registry
    if version is None:
        registry.delete(name)
    else:
        registry.delete_version(name, version)
    if session.as_json:
        session.answer({})
        return
    click.echo(f"Deleted {name}{f'@{version}' * (version is not None)}.")


def _answer(session: Session, named: registry_pb2.RegisteredModel) -> None:
    if session.as_json:
        session.answer(to_document(named))
        return
    table = display.table(">version", "model", "aliases", "comment", "registered")
    for one in named.versions:
        aliases = ", ".join(sorted(name for name, number in named.aliases.items() if number == one.version))
        about = (one.model_id, aliases, one.comment, display.moment(one.create_time))
        table.add_row(str(one.version), *about)
    display.console().print(table)


def _aliases(named: registry_pb2.RegisteredModel) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(named.aliases.items()))
