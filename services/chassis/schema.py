"""Brings schemas up to date by Alembic. Apart from `database`: only a starting service needs it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config


def migrate(url: str, scripts: Path) -> None:
    """Brings the schema at `url` to the newest revision of the Alembic `scripts`."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
