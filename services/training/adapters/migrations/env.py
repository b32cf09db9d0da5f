"""Alembic's entry: runs the migrations on the database of the configuration."""

from alembic import context
from sqlalchemy import create_engine

from services.training.adapters.store_sql.tables import metadata

engine = create_engine(context.config.get_main_option("sqlalchemy.url", ""))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
