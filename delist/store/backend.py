"""What SQLite and PostgreSQL do each in their own way, and words that both use for failure."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, Engine

BUSY_TIMEOUT_S = 60
"""Longest that a write waits for the one under way."""

DISK_FULL = (
    "the disk is full; free some space and repeat the command (nothing of the last write was kept)"
)


class Backend(Protocol):
    """A kind of database, ready to be connected to.

    Attributes:
        engine: makes connections on which nothing begins or commits by itself.
        whose: what holds the store, for messages: never with a password.
        shared: whether other machines may work on it too.
    """

    engine: Engine
    whose: str
    shared: bool

    def exists(self) -> bool:
        """Say whether there is anything to read; asking must create nothing."""

    def begin(self, connection: Connection, *, reading: bool) -> None:
        """Begin a transaction.

        One that reads sees the store as it is at its first statement until it ends, and cannot
        write. One that writes is the only one, and sees all that those before it wrote.
        """

    def begin_beside(self, connection: Connection) -> None:
        """Begin a transaction that writes beside the one writer, if the database can do that.

        For rows alone that no other transaction reads to decide what it writes.
        """

    def now(self, connection: Connection) -> datetime:
        """Return the database's own time, which is the same for all who work on it."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other processes from creating the store meanwhile."""

    def prepare(self) -> None:
        """Create what tables need to be created in."""

    def explain(self, error: BaseException) -> str:
        """Say in one line what went wrong, without any value: those are URLs and secrets."""

    def product(self, connection: Connection) -> str:
        """Name the program and its version."""

    def risk(self, connection: Connection) -> str:
        """Say which of the server's settings can lose what was written; empty for none."""
