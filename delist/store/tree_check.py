"""Checking the ledger against its tree: every leaf, every tile, and the newest checkpoint."""

from sqlalchemy import Connection, func, select

from delist.errors import LedgerError, LogProofError
from delist.store import tree
from delist.store.tables import ledger_tiles
from delist.tlog.merkle import leaf_hash
from delist.tlog.tiles import Growth


def verify(connection: Connection, *, records: int) -> None:
    """Check the tiles against the records, and the newest checkpoint's head against both.

    Args:
        records: how many the ledger holds, of which the chain was checked.

    Raises:
        LedgerError: the ledger was cut or rewritten, or the tree was edited.
    """
    size = tree.size(connection)
    newest = tree.newest(connection)
    signed = 0 if newest is None else newest.size
    if max(size, signed) > records:
        raise LedgerError(
            f"the ledger was cut: {max(size, signed)} records were in its tree, it holds {records}"
        )
    if signed > size:
        raise LedgerError("the ledger's tree was cut: its newest checkpoint is of more records")
    _check_tiles(connection, size)
    if newest is not None:
        check_head(connection, newest)


def check_head(connection: Connection, held: tree.StoredCheckpoint) -> None:
    """Check that tree and ledger still hold what a checkpoint was signed over.

    Raises:
        LedgerError: the ledger was cut or rewritten since.
    """
    try:
        head = held.head
        root = tree.root(connection, held.size)
    except LogProofError:
        raise LedgerError("the ledger's tree or its newest checkpoint was edited") from None
    if head.size != held.size or root != head.root:
        raise LedgerError("the ledger's tree contradicts its newest checkpoint; it was rewritten")
    if tree.hash_at(connection, held.size) != held.ledger_hash:
        raise LedgerError(
            f"the ledger was cut or rewritten: record {held.size} is not the one that the newest"
            " checkpoint ends with"
        )


def _check_tiles(connection: Connection, size: int) -> None:
    growth, tiles = Growth(), 0
    for entries in tree.leaves_of(connection, 0, size):
        leaves = b"".join(map(leaf_hash, entries))
        for tile in growth.append(leaves):
            _check_tile(connection, *tile)
            tiles += 1
    for tile in growth.edge():
        _check_tile(connection, *tile)
        tiles += 1
    if connection.scalar(select(func.count()).select_from(ledger_tiles)) != tiles:
        raise LedgerError("the ledger's tree has tiles that no record stands behind")


def _check_tile(connection: Connection, level: int, number: int, hashes: bytes) -> None:
    if tree.read_tile(connection, level, number) != hashes:
        raise LedgerError(
            f"tile {number} of level {level} of the ledger's tree does not fit its records;"
            " one of both was rewritten"
        )
