"""Alembic's entry: runs the migrations in the transaction that `chassis.schema` has begun.

On PostgreSQL the services share one database, so this one's version has a table of its own.
"""

from alembic import context

from services.ai_gateway.adapters.ledger_sql.tables import VERSION, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION
)
context.run_migrations()
