"""Brings schemas up to date by Alembic. Apart from `database`: only a starting service needs it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from services.chassis.database import Database

# Names the lock that one migration holds on PostgreSQL; any number that nobody else uses.
_MIGRATING = 0x6D6C_6170_6900


def migrate(url: str, scripts: Path, revision: str = "head") -> None:
    """Brings the schema at `url` to `revision` of the Alembic `scripts`, the newest unless told otherwise.

    All of it or nothing. Services that start together wait for each other. Raises Unavailable when the
    database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    database = Database(url)
    try:
        with database.write() as connection:
            if not database.embedded:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        database.close()
