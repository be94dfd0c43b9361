"""The ledger's hash tree in tiles, and the checkpoints that were signed over it.

Leaves are appended when a checkpoint is made, not with each record, so a record costs no more
for it. How far the tree reaches is told by its tiles; every step is one short transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_

from delist.commitments import chain_hash, entry_of
from delist.errors import LedgerError, LogProofError
from delist.store.ledger import FORMAT, GENESIS
from delist.store.tables import checkpoints, ledger_tiles
from delist.store.tables import suppression_records as records
from delist.tlog.checkpoints import Checkpoint
from delist.tlog.merkle import HASH_BYTES, leaf_hash, root_of
from delist.tlog.notes import Note
from delist.tlog.tiles import WIDTH, Growth, nodes_of

STEP = 1 << 16
"""Most leaves that one transaction appends."""

_BATCH = 5 * WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint as it was signed.

    Attributes:
        ledger_hash: hash of the record that the tree ends with.
        note: the signed text.
    """

    size: int
    ledger_hash: str
    note: str
    signed_at: datetime

    @property
    def head(self) -> Checkpoint:
        """What the note says."""
        return Checkpoint.parse(Note.parse(self.note).text)


def size(connection: Connection) -> int:
    """Return how many leaves the tiles hold."""
    lowest = ledger_tiles.c.level == 0
    number = connection.scalar(select(func.max(ledger_tiles.c.number)).where(lowest))
    if number is None:
        return 0
    return int(number) * WIDTH + len(read_tile(connection, 0, number)) // HASH_BYTES


def read_tile(connection: Connection, level: int, number: int) -> bytes:
    """Return the hashes of a tile, as many as there are; none where there is no tile."""
    at = (ledger_tiles.c.level == level) & (ledger_tiles.c.number == number)
    found = connection.scalar(select(ledger_tiles.c.hashes).where(at))
    return b"" if found is None else bytes(found)


def root(connection: Connection, at_size: int) -> bytes:
    """Return the head that the tree had at a size.

    Raises:
        LogProofError: the tiles do not reach so far.
    """
    node = nodes_of(lambda level, number, _width: read_tile(connection, level, number), at_size)
    return root_of(node, 0, at_size)


def newest(connection: Connection) -> StoredCheckpoint | None:
    """Load the checkpoint that was signed last."""
    chosen = select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)
    found = connection.execute(chosen).first()
    return None if found is None else StoredCheckpoint(**found._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def at(connection: Connection, at_size: int) -> StoredCheckpoint | None:
    """Load the checkpoint of a size."""
    found = connection.execute(select(checkpoints).where(checkpoints.c.size == at_size)).first()
    return None if found is None else StoredCheckpoint(**found._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def add(connection: Connection, checkpoint: StoredCheckpoint) -> None:
    """Store a checkpoint that was just signed."""
    names = StoredCheckpoint.__dataclass_fields__
    values = {name: getattr(checkpoint, name) for name in names}
    connection.execute(insert(checkpoints).values(**values))


def hash_at(connection: Connection, sequence: int) -> str | None:
    """Return the hash of a record, which stands for all up to it; None when it is not there."""
    if sequence == 0:
        return GENESIS
    return connection.scalar(select(records.c.hash).where(records.c.sequence == sequence))


def extend(connection: Connection) -> bool:
    """Append the leaves of up to ``STEP`` records; returns whether there may be more.

    Raises:
        LedgerError: a record is missing, or does not follow from the one before it.
    """
    start = size(connection)
    try:
        growth = Growth(lambda level, number, _width: read_tile(connection, level, number), start)
    except LogProofError as error:
        raise LedgerError(f"the ledger's tree was edited: {error}") from None
    previous = hash_at(connection, start)
    if previous is None:
        raise LedgerError(f"record {start} is missing; the ledger's tree is longer than the ledger")
    made: dict[tuple[int, int], bytes] = {}
    for leaves in _leaves(connection, start, previous):
        made |= {(level, number): hashes for level, number, hashes in growth.append(leaves)}
    made |= {(level, number): hashes for level, number, hashes in growth.edge()}
    if growth.size > start:
        _store(connection, made)
    return growth.size == start + STEP


def leaves_of(connection: Connection, start: int, stop: int) -> Iterator[list[bytes]]:
    """Give the entries of the log from an index up to another, exclusive, in batches.

    Raises:
        LedgerError: a record is missing, or its commitment is none.
    """
    for rows in _rows(connection, start, stop):
        yield [entry_of(row.sequence, _bytes_of(row.commitment)) for row in rows]


def _leaves(connection: Connection, start: int, previous: str) -> Iterator[bytes]:
    for rows in _rows(connection, start, start + STEP):
        for row in rows:
            chained = chain_hash(previous, row.sequence, row.commitment)
            if row.previous_hash != previous or (row.format == FORMAT and row.hash != chained):
                raise LedgerError(f"record {row.sequence} was edited; nothing was signed")
            previous = row.hash
        yield b"".join(leaf_hash(entry_of(row.sequence, _bytes_of(row.commitment))) for row in rows)


def _rows(
    connection: Connection, start: int, stop: int
) -> Iterator[Sequence[Row[Any, Any, Any, Any, Any]]]:
    columns = (
        records.c.sequence, records.c.commitment, records.c.previous_hash, records.c.hash,
        records.c.format,
    )  # fmt: skip
    while start < stop:
        chosen = select(*columns).where(records.c.sequence > start, records.c.sequence <= stop)
        found = connection.execute(chosen.order_by(records.c.sequence).limit(_BATCH)).all()
        if not found:
            return
        if found[-1].sequence != start + len(found):
            raise LedgerError(f"a record behind number {start} is missing")
        yield found
        start = found[-1].sequence


def _bytes_of(commitment: str) -> bytes:
    try:
        return bytes.fromhex(commitment)
    except ValueError:
        raise LedgerError("a commitment was edited") from None


def _store(connection: Connection, made: dict[tuple[int, int], bytes]) -> None:
    places = tuple_(ledger_tiles.c.level, ledger_tiles.c.number)
    names = list(made)
    for start in range(0, len(names), WIDTH):
        connection.execute(delete(ledger_tiles).where(places.in_(names[start : start + WIDTH])))
    rows = [
        {"level": level, "number": number, "hashes": hashes}
        for (level, number), hashes in made.items()
    ]
    connection.execute(insert(ledger_tiles), rows)
