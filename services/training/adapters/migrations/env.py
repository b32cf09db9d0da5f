"""Alembic's entry: runs the migrations in the transaction that `chassis.schema` has begun."""

from alembic import context

from services.training.adapters.store_sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
