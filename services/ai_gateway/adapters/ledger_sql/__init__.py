"""The ledger in SQL: budgets, claims, entries, and their sums."""

from services.ai_gateway.adapters.ledger_sql.ledger import SqlLedger

__all__ = ["SqlLedger"]
