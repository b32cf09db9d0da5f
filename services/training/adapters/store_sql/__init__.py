"""The system of record in SQL: SQLite or PostgreSQL."""

from services.training.adapters.store_sql.store import SqlStore

__all__ = ["SqlStore"]
