"""The command `mlapi`. A module for each noun; what it needs is loaded when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from mlapi_client.cli.interrupt import INTERRUPTED
from mlapi_client.cli.session import Session
from mlapi_client.errors import MlapiError

# Name → module, and the line in `mlapi --help`, which is there before anything is loaded.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "datasets": ("datasets", "Upload, list, show and delete tables to train on."),
    "jobs": ("jobs", "Create, watch, cancel, resume and delete training jobs."),
    "sweeps": ("sweeps", "Search for good hyperparameters; cancel, resume, show and delete searches."),
    "models": ("models", "List, show and delete trained models."),
    "registry": ("registry", "Models under names: register, move aliases, list, show and delete."),
    "predict": ("predict", "Predict rows with a model."),
    "ai": ("ai", "Status of the AI providers; better models, measured."),
    "health": ("health", "What works and what does not."),
    "backup": ("backup", "Back up, verify and restore the data of an installation, on its machine."),
    "audit": ("audit", "Who changed what: list, verify and archive the audit log, where its database is."),
    "keys": ("keys", "Create, list and revoke API keys, in the file that the services read."),
}


class Commands(click.Group):
    """Loads a command when it is called, and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = import_module(f"mlapi_client.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MlapiError as error:
            ctx.exit(ctx.find_object(Session).fail(error))  # type: ignore[union-attr]
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--address",
    envvar="MLAPI_ADDRESS",
    default="127.0.0.1:5000",
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT or URL",
    help="Where the API is.",
)
@click.option(
    "--timeout",
    envvar="MLAPI_TIMEOUT",
    default=30.0,
    show_default=True,
    show_envvar=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="What a call gets; uploads and watches take as long as they take.",
)
@click.option(
    "--tenant",
    envvar="MLAPI_TENANT",
    default="",
    show_envvar=True,
    help="On whose behalf; jobs are shared fairly.",
)
@click.option(
    "--api-key",
    envvar="MLAPI_API_KEY",
    default="",
    show_envvar=True,
    metavar="KEY",
    help="Where the API asks for one. Better in the variable: others can read command lines.",
)
@click.option(
    "--ca-file",
    envvar="MLAPI_CA_FILE",
    default="",
    show_envvar=True,
    metavar="FILE",
    help="CA to trust at an address of https://. Default: those that are known to all.",
)
@click.version_option(package_name="ml-training-api", prog_name="mlapi")
@click.pass_context
def main(  # noqa: PLR0917 (its options)
    ctx: click.Context, address: str, timeout: float, tenant: str, api_key: str, ca_file: str
) -> None:
    """Train models by calling an API.

    \b
      mlapi datasets upload iris.csv --id iris
      mlapi jobs create iris --target species --watch
      mlapi predict MODEL --rows '[{"petal_length": 1.4, "petal_width": 0.2}]'

    Every command takes --json: one JSON document on stdout (a watch: one a line), errors as JSON on stderr.

    \b
    Exit codes:
      0    all is well
      1    the job failed or was cancelled, the product is not healthy, or the service has a defect
      2    the command line is wrong
      3    not found
      4    an argument is invalid
      5    not in this state: a precondition or a conflict
      6    unavailable, out of time, or a limit is reached: try again later
      130  interrupted
    """
    ctx.obj = Session(address, timeout, tenant=tenant, api_key=api_key, ca_file=ca_file)
