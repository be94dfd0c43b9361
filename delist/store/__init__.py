"""The SQL store: cases, decisions, ledger, access codes, outbox; migrations.

Each module holds the statements of one concern and works inside the caller's
transaction (``Database.read`` and ``Database.write``).
"""

from delist.store.database import Database

__all__ = ["Database"]
