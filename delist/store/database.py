"""The SQL store: opening it, its transactions, and its errors in our words.

SQLite in WAL mode under the data directory. A write transaction takes the write
lock at its start (``BEGIN IMMEDIATE``), so that two processes never both read
before they write. Statements are never shown with their values: those are URLs.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, column, create_engine, event, inspect, select, table
from sqlalchemy.exc import DBAPIError, OperationalError

from delist.errors import DatabaseError, DatabaseVersionError
from delist.store.tables import HEAD

_BUSY_TIMEOUT_S = 60.0
_FULL_TEXTS = ("disk is full", "disk I/O error")


class Database:
    """The open SQL store. Thread-safe; to be opened anew in every process."""

    def __init__(self, data_dir: Path) -> None:
        """Open the store under a data directory, creating it or bringing it up to date.

        Raises:
            DatabaseVersionError: it was written by a newer version of the program.
            DatabaseError: it cannot be opened.
        """
        self.path = data_dir / "delist.sqlite3"
        with _translated("open"):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._engine = create_engine(
                f"sqlite:///{self.path}",
                connect_args={"timeout": _BUSY_TIMEOUT_S},
                hide_parameters=True,
            )
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
            if self._version() != HEAD:
                self._migrate(data_dir)

    def _version(self) -> str | None:
        if not self.path.exists():
            return None
        with self._engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.scalar(
                select(column("version_num")).select_from(table("alembic_version"))
            )

    def _migrate(self, data_dir: Path) -> None:
        """Bring the store up to date, one process at a time."""
        from delist.store.migrations import KNOWN, upgrade  # noqa: PLC0415 - alembic loads slowly

        with (data_dir / "delist.migration.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = self._version()
            if version is not None and version not in KNOWN:
                raise DatabaseVersionError(
                    f"{self.path} was written by a newer version of delist (layout {version}); "
                    "use that version, or another data directory"
                )
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            _switch_to_wal(self.path)
            with self._engine.begin() as connection:
                upgrade(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction."""
        with _translated("read"), self._engine.connect() as connection:
            yield connection.execution_options(delist_read=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open the one write transaction. It is durable when the block is left."""
        with _translated("write"), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _switch_to_wal(path: Path) -> None:
    """Switch a database file to write-ahead logging, for good.

    SQLite does not wait for other connections here as it does elsewhere, so we do: one that
    just asks for the version is gone in a moment.
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
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


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
    # The driver would begin transactions late and commit at schema changes; we say BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("delist_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turn the driver's and the file system's errors into ours, without any value."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        text = str(cause) if isinstance(error, OperationalError | sqlite3.Error) else ""
        if any(part in text for part in _FULL_TEXTS):
            raise DatabaseError(
                "the disk is full; free some space and repeat the command "
                "(nothing of the last write was kept)"
            ) from None
        # Operational messages name files and locks, never values.
        raise DatabaseError(
            f"cannot {action} the case store: {text or type(cause).__name__}"
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise DatabaseError(f"cannot {action} the case store: {reason}") from None
