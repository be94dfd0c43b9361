"""The SQL store: opening it, its transactions, and its errors in our words.

One transaction writes at a time, and reads never wait: the same on SQLite and on
PostgreSQL (ADR 0021). Statements are never shown with their values: those are URLs.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, column, event, inspect, select, table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from delist.errors import DatabaseError, DatabaseVersionError
from delist.settings import DatabaseSettings
from delist.store.backend import DISK_FULL, Backend
from delist.store.news import announce
from delist.store.postgres import Postgres
from delist.store.sqlite import Sqlite
from delist.store.tables import HEAD, ledger_head

_READING, _TOLD = "delist_read", "delist_ledger_written"
_BESIDE = "delist_beside"
Fence = Callable[[Connection], None]
"""Looks, at the start of a write transaction, whether this process may still write."""


class Database:
    """The open SQL store. Thread-safe; to be opened anew in every process.

    Attributes:
        data_dir: what is derived from the store lies there, whichever database it is.
        fence: looked at when a write transaction begins; what it raises ends that one. None
            where nobody else could have taken this process's place.
    """

    def __init__(self, data_dir: Path, settings: DatabaseSettings = DatabaseSettings()) -> None:
        """Open the store, creating it or bringing it up to date.

        Args:
            data_dir: where SQLite has its file.
            settings: which database; by default SQLite.

        Raises:
            SettingsError: the address of the database is wrong or cannot be read.
            DatabaseVersionError: it was written by a newer version of the program.
            DatabaseError: it cannot be opened.
        """
        url = settings.load_url()
        self.data_dir = data_dir
        self.fence: Fence | None = None
        try:
            self._backend: Backend = Postgres(url) if url else Sqlite(data_dir)
        except OSError as error:
            raise _failed("open", _reason(error)) from None
        self._engine = self._backend.engine
        event.listen(self._engine, "begin", self._say_begin)
        event.listen(self._engine, "before_cursor_execute", _look_at)
        try:
            with self._translated("open"):
                if self._version() != HEAD:
                    self._migrate()
        except BaseException:
            self.close()
            raise

    def _version(self) -> str | None:
        if not self._backend.exists():
            return None
        with self._transaction(reading=True) as connection:
            return _version_of(connection)

    def _migrate(self) -> None:
        """Bring the store up to date, one process at a time."""
        from delist.store.migrations import upgrade  # noqa: PLC0415 - alembic loads slowly

        with self._backend.alone():
            self._check(self._version())
            self._backend.prepare()
            with self._transaction(reading=False) as connection:
                self._check(_version_of(connection))
                upgrade(connection)

    def _check(self, version: str | None) -> None:
        from delist.store.migrations import KNOWN  # noqa: PLC0415

        if version is not None and version not in KNOWN:
            raise DatabaseVersionError(
                f"{self._backend.whose} was written by a newer version of delist"
                f" (layout {version}); use that version, or another data directory or database"
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction: a snapshot, in which nothing can be written."""
        with self._translated("read"), self._transaction(reading=True) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open the one write transaction. It is durable when the block is left."""
        with self._translated("write"), self._transaction(reading=False) as connection:
            if self.fence is not None:
                self.fence(connection)
            yield connection

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """Open a transaction that writes beside the one writer: only for who leads, and when.

        On PostgreSQL it waits for no other write, however long that takes; on SQLite it does.
        """
        with (
            self._translated("write"),
            self._transaction(reading=False, beside=True) as connection,
        ):
            yield connection

    @property
    def is_shared(self) -> bool:
        """Whether processes on other machines may work on the same store."""
        return self._backend.shared

    def now(self, connection: Connection) -> datetime:
        """Return the database's own time."""
        return self._backend.now(connection)

    def product(self) -> str:
        """Name the program that keeps the store, and its version."""
        with self.read() as connection:
            return self._backend.product(connection)

    def risk(self) -> str:
        """Say what in the server's settings can lose what was written; empty for nothing."""
        with self.read() as connection:
            return self._backend.risk(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self, *, reading: bool, beside: bool = False) -> Iterator[Connection]:
        with self._begun(reading=reading, beside=beside) as connection:
            connection.info.pop(_TOLD, None)
            yield connection
            connection.commit()
            if connection.info.pop(_TOLD, False) and not reading:
                announce(news_path(self.data_dir))

    def _begun(self, *, reading: bool, beside: bool) -> Connection:
        """Begin a transaction; once more where an idle connection turns out to be closed."""
        try:
            return self._begin(reading=reading, beside=beside)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        return self._begin(reading=reading, beside=beside)

    def _begin(self, *, reading: bool, beside: bool) -> Connection:
        connection = self._engine.connect()
        try:
            connection.execution_options(**{_READING: reading, _BESIDE: beside}).begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _say_begin(self, connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(_BESIDE, False):
            self._backend.begin_beside(connection)
        else:
            self._backend.begin(connection, reading=options.get(_READING, False))

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        """Turn errors of driver and file system into ours, without any value."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
            raise _failed(action, self._backend.explain(cause)) from None
        except OSError as error:
            raise _failed(action, _reason(error)) from None


def news_path(data_dir: Path) -> Path:
    """Say where readers learn that the ledger has grown; see ``delist.store.news``."""
    return data_dir / "serving" / "news"


def _version_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(select(column("version_num")).select_from(table("alembic_version")))


def _failed(action: str, reason: str) -> DatabaseError:
    if reason == DISK_FULL:
        return DatabaseError(reason)
    return DatabaseError(f"cannot {action} the case store: {reason}")


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _look_at(
    connection: Any,  # noqa: ANN401
    _cursor: Any,  # noqa: ANN401
    statement: str,
    parameters: Any,  # noqa: ANN401
    _context: Any,  # noqa: ANN401
    executemany: bool,  # noqa: FBT001
) -> None:
    """Refuse text that PostgreSQL cannot keep on SQLite too, in the same words.

    And note who has to do with the ledger's head: readers are told after the commit.
    """
    if ledger_head.name in statement:
        connection.info[_TOLD] = True
    rows: Sequence[Any] = parameters if executemany else (parameters,)
    for row in rows:
        for value in row.values() if isinstance(row, Mapping) else row or ():
            if isinstance(value, str) and not _can_be_stored(value):
                raise DatabaseError("the case store keeps no text with NUL or half characters")


def _can_be_stored(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
