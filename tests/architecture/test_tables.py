"""What the migrations create is what the code believes the tables to be."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, inspect, text

from services.ai_gateway.adapters import migrations as ledger_migrations
from services.ai_gateway.adapters.ledger_sql.tables import VERSION
from services.ai_gateway.adapters.ledger_sql.tables import metadata as ledger_metadata
from services.chassis.schema import migrate
from services.training.adapters import migrations
from services.training.adapters.store_sql.tables import metadata
from tests.contract.postgres import Postgres

SCRIPTS = Path(migrations.__path__[0])
LEDGER = Path(ledger_migrations.__path__[0])
SCHEMAS = pytest.mark.parametrize(
    ("scripts", "metadata"), [(SCRIPTS, metadata), (LEDGER, ledger_metadata)], ids=["training", "ledger"]
)


@pytest.fixture(params=["sqlite", "postgres"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Two empty databases of a kind."""
    if request.param == "sqlite":
        yield [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two")]
        return
    server: Postgres = request.getfixturevalue("postgres")
    found = [server.empty(), server.empty()]
    yield found
    for url in found:
        server.drop(url)


def connected(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def described(engine: Engine) -> dict[str, Any]:
    """Table → all that the database knows of it. Columns that came later come last, which means nothing."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: {**column, "type": str(column["type"])} for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table),
            "unique": sorted(found.get_unique_constraints(table), key=str),
            "indexes": sorted(found.get_indexes(table), key=str),
            "foreign keys": sorted(found.get_foreign_keys(table), key=str),
            "more": more(engine, table),
        }
        for table in found.get_table_names()
        if table not in {"alembic_version", VERSION}
    }


def more(engine: Engine, table: str) -> set[str]:
    """What SQLAlchemy does not ask: AUTOINCREMENT and ON DELETE on SQLite, sequences on PostgreSQL."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            sequences = text("SELECT data_type, max_value FROM pg_sequences WHERE sequencename = :name")
            return {str(row) for row in connection.execute(sequences, {"name": f"{table}_position_seq"})}
        rows = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE tbl_name = :name"), {"name": table}
        )
        statements = [" ".join(row.sql.replace('"', "").split()) for row in rows if row.sql]
        # The parts of a statement: commas outside of brackets part them.
        return {part.strip() for one in statements for part in re.split(r",(?![^(]*\))|^[^(]*\(", one)}


@SCHEMAS
def test_the_migrations_create_the_tables(urls: list[str], scripts: Path, metadata: MetaData) -> None:
    migrate(urls[0], scripts)
    migrated, declared = (connected(url) for url in urls)
    metadata.create_all(declared)
    assert described(migrated).keys() == metadata.tables.keys()
    assert described(migrated) == described(declared)
    with migrated.connect() as connection:
        options: dict[str, Any] = {"compare_type": True, "compare_server_default": True}
        options["include_name"] = lambda name, kind, _: kind != "table" or name in metadata.tables
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    for engine in (migrated, declared):
        engine.dispose()


def test_all_services_can_share_one_database(urls: list[str]) -> None:
    for _ in range(2):
        migrate(urls[0], SCRIPTS)
        migrate(urls[0], LEDGER)
    engine = connected(urls[0])
    assert described(engine).keys() == metadata.tables.keys() | ledger_metadata.tables.keys()
    engine.dispose()


def test_what_is_compared_tells_tables_apart(urls: list[str]) -> None:
    migrate(urls[0], SCRIPTS, "0001")
    migrate(urls[1], SCRIPTS, "0001")
    engines = [connected(url) for url in urls]
    assert described(engines[0]) == described(engines[1])
    change = (
        "CREATE INDEX another ON jobs (job_id)"
        if urls[0].startswith("sqlite")
        else "ALTER SEQUENCE jobs_position_seq AS bigint"
    )
    with engines[1].begin() as connection:
        connection.execute(text(change))
    assert described(engines[0]) != described(engines[1])
    for engine in engines:
        engine.dispose()


def test_migrating_again_changes_nothing(urls: list[str]) -> None:
    migrate(urls[0], SCRIPTS)
    engine = connected(urls[0])
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO requests VALUES ('r', 'CreateJob', 'f', NULL, 0)"))
    before = described(engine)
    migrate(urls[0], SCRIPTS)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT method FROM requests")).scalars().all() == ["CreateJob"]
    assert described(engine) == before
    engine.dispose()


def test_services_that_start_together_do_not_collide(urls: list[str]) -> None:
    program = """
import sys
from pathlib import Path
from services.chassis.schema import migrate
print("ready", flush=True)
sys.stdin.readline()
migrate(sys.argv[1], Path(sys.argv[2]))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, urls[0], SCRIPTS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    errors = [one.communicate(timeout=60)[1] for one in started]
    assert [one.returncode for one in started] == [0, 0], errors
    engine = connected(urls[0])
    assert described(engine).keys() == metadata.tables.keys()
    engine.dispose()


def test_a_migration_that_fails_changes_nothing(urls: list[str]) -> None:
    migrate(urls[0], SCRIPTS, "0001")
    engine = connected(urls[0])
    before = described(engine)
    insert = text("INSERT INTO models (model_id, document) VALUES ('m', '{}')")  # it has no source
    with engine.begin() as connection:
        connection.execute(insert)
    with pytest.raises(KeyError):
        migrate(urls[0], SCRIPTS)
    assert described(engine) == before
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM models"))
    migrate(urls[0], SCRIPTS)
    assert described(engine).keys() == metadata.tables.keys()
    engine.dispose()


@pytest.mark.parametrize("scripts", [SCRIPTS, LEDGER])
def test_the_migrations_are_one_line_of_history(scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1
