"""How far logs were followed; written with what they led to."""

from sqlalchemy import Connection, insert, select, update

from delist.store.tables import log_positions

MATCH_LOG = "match"
SIGNAL_LOG = "signal"
RECRAWL = "recrawl"
"""How far the schedule of looks has followed the ledger."""


def load(connection: Connection, log: str) -> int:
    """Return the number of the last entry that was taken in, 0 before the first."""
    found = connection.scalar(select(log_positions.c.sequence).where(log_positions.c.log == log))
    return 0 if found is None else int(found)


def put(connection: Connection, log: str, sequence: int) -> None:
    """Note that everything up to an entry was taken in."""
    moved = connection.execute(
        update(log_positions).where(log_positions.c.log == log).values(sequence=sequence)
    )
    if not moved.rowcount:
        connection.execute(insert(log_positions).values(log=log, sequence=sequence))
