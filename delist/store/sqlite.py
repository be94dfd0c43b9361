"""SQLite: one file under the data directory, in WAL mode."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event

from delist.store.backend import BUSY_TIMEOUT_S, DISK_FULL

_FULL_TEXTS = ("disk is full", "disk I/O error")


class Sqlite:
    """A file of its own. A write takes the file's write lock at its start."""

    shared = False

    def __init__(self, data_dir: Path) -> None:
        """Make the data directory; the file comes with ``prepare``."""
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = data_dir / "delist.sqlite3"
        self.whose = str(self.path)
        self.engine = create_engine(
            f"sqlite:///{self.path}",
            connect_args={"timeout": BUSY_TIMEOUT_S},
            hide_parameters=True,
            pool_use_lifo=True,  # each connection has a cache of pages: the warmest goes on
        )
        event.listen(self.engine, "connect", _set_up)

    def exists(self) -> bool:
        """See the port."""
        return self.path.exists()

    def begin(self, connection: Connection, *, reading: bool) -> None:
        """See the port."""
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reading else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    def begin_beside(self, connection: Connection) -> None:
        """See the port. There is one write lock only."""
        self.begin(connection, reading=False)

    def now(self, connection: Connection) -> datetime:
        """See the port."""
        said = connection.exec_driver_sql("select strftime('%Y-%m-%d %H:%M:%f', 'now')")
        return datetime.fromisoformat(str(said.scalar_one())).replace(tzinfo=UTC)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """See the port."""
        with self.path.with_name("delist.migration.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def prepare(self) -> None:
        """See the port."""
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        _switch_to_wal(self.path)

    def explain(self, error: BaseException) -> str:
        """See the port. Operational messages name files and locks, never values."""
        text = str(error) if isinstance(error, sqlite3.OperationalError) else ""
        if any(part in text for part in _FULL_TEXTS):
            return DISK_FULL
        return text or type(error).__name__

    def product(self, connection: Connection) -> str:
        """See the port."""
        return f"SQLite {connection.exec_driver_sql('select sqlite_version()').scalar_one()}"

    def risk(self, connection: Connection) -> str:  # noqa: ARG002 - the port's signature
        """See the port. Every connection of ours sets what it needs."""
        return ""


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
    # The driver would begin transactions late and commit at schema changes; we say BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _switch_to_wal(path: Path) -> None:
    """Switch a database file to write-ahead logging, for good.

    SQLite does not wait for other connections here as it does elsewhere, so we do: one that
    just asks for the version is gone in a moment.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    with closing(sqlite3.connect(path)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return
