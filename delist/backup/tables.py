"""The SQL store as members of an archive: the same rows from SQLite and PostgreSQL, into both."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Table, func, insert, select, text

from delist.errors import BackupDamagedError, DatabaseError, UsageError
from delist.store.tables import metadata

PREFIX = "sql/"
_ROWS_AT_ONCE = 2_000
_LEFT_OUT = frozenset({"sessions", "sign_on_delays", "job_leases", "crawl_queues"})
"""Who is signed on, who leads and what is in the crawlers' queue just now: put back, it would
revive what was ended since."""


def every() -> list[Table]:
    """List the tables that a backup holds, those that others refer to first."""
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


def rows(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """Iterate over the rows of a table; the caller's transaction says of which moment.

    Raises:
        DatabaseError: a row holds a value that no version of the program writes.
    """
    found = connection.execute(
        select(table).execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE)
    )
    try:
        for row in found:
            yield list(row)
    except (ValueError, TypeError):
        raise DatabaseError(
            f"{table.name} holds a value that cannot be read; it was edited"
        ) from None


def check_empty(connection: Connection) -> None:
    """Check that nothing is in the store that something could be lost of.

    Raises:
        UsageError: there is.
    """
    for table in every():
        if connection.execute(select(table).limit(1)).first() is not None:
            raise UsageError("the database is not empty; a backup is put back into an empty one")


def fill(
    connection: Connection, name: str, columns: list[str], batches: Iterable[list[list[Any]]]
) -> int:
    """Fill an empty table; returns the number of rows.

    Raises:
        BackupDamagedError: the table or its columns are not known here.
    """
    table = metadata.tables.get(name)
    if table is None or columns != [column.name for column in table.columns]:
        raise BackupDamagedError(f"the archive's table {name} is not laid out as here")
    total = 0
    for batch in batches:
        if any(len(row) != len(columns) for row in batch):
            raise BackupDamagedError(f"a row of {name} in the archive is not whole")
        connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in batch])
        total += len(batch)
    _go_on_counting(connection, table)
    return total


def _go_on_counting(connection: Connection, table: Table) -> None:
    """Let PostgreSQL give the next number; SQLite looks for the largest by itself."""
    column = table.autoincrement_column
    if connection.dialect.name != "postgresql" or column is None:
        return
    if not isinstance(column.type, (Integer, BigInteger)):
        return
    largest = connection.scalar(select(func.max(column)))
    if largest is not None:
        asked = text("select setval(pg_get_serial_sequence(:table, :column), :largest)")
        values = {"table": table.name, "column": column.name, "largest": largest}
        connection.execute(asked, values)
