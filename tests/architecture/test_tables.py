"""What the migrations create is what the code believes the tables to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from services.chassis.schema import migrate
from services.training.adapters import migrations
from services.training.adapters.store_sql.tables import metadata

SCRIPTS = Path(migrations.__path__[0])


def described(engine: Engine) -> dict[str, Any]:
    """Table → all that the database knows of it."""
    found = inspect(engine)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "key": found.get_pk_constraint(table),
            "unique": sorted(found.get_unique_constraints(table), key=str),
            "indexes": sorted(found.get_indexes(table), key=str),
            "foreign keys": sorted(found.get_foreign_keys(table), key=str),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def statements(engine: Engine) -> set[str]:
    """The statements that SQLite remembers: they hold AUTOINCREMENT and ON DELETE, too."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT sql FROM sqlite_master WHERE name NOT LIKE '%alembic%'"))
        return {" ".join(row.sql.split()) for row in rows if row.sql}


def test_the_migrations_create_the_tables(tmp_path: Path) -> None:
    urls = {name: f"sqlite:///{tmp_path / name}.db" for name in ("migrated", "declared")}
    migrate(urls["migrated"], SCRIPTS)
    migrated, declared = (create_engine(url) for url in urls.values())
    metadata.create_all(declared)
    assert described(migrated).keys() == metadata.tables.keys()
    assert described(migrated) == described(declared)
    assert statements(migrated) == statements(declared)
    with migrated.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'again'}.db"
    migrate(url, SCRIPTS)
    with create_engine(url).begin() as connection:
        connection.execute(
            text("INSERT INTO requests VALUES ('r', 'CreateJob', 'f', 'job-1')"),
        )
    migrate(url, SCRIPTS)
    with create_engine(url).connect() as connection:
        assert connection.execute(text("SELECT resource_id FROM requests")).scalars().all() == ["job-1"]


def test_the_migrations_are_one_line_of_history() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
