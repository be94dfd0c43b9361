"""The whole store as pairs of keys and values, and a new store made of them.

Pairs and not pages: a page holds old bytes beside what is in use, and what was withdrawn must
not travel in them (ADR 0012).
"""

from collections.abc import Iterable, Iterator, Sequence

import lmdb

from indexer.errors import StoreDamagedError
from indexer.store.environment import Environment

_BATCH_BYTES = 16 * 1024 * 1024

Pair = tuple[bytes | memoryview, bytes | memoryview]


def names(txn: lmdb.Transaction) -> list[str]:
    """List the databases of a store."""
    with txn.cursor() as cursor:
        return [bytes(key).decode() for key in cursor.iternext(values=False)]


def pairs(environment: Environment, txn: lmdb.Transaction, name: str) -> Iterator[Pair]:
    """Iterate over a database in the order of its keys; valid within the transaction."""
    with txn.cursor(db=environment.database(name.encode())) as cursor:
        yield from cursor


def fill(environment: Environment, name: str, batches: Iterable[Sequence[Pair]]) -> int:
    """Fill a database that nobody else uses yet; returns the number of pairs.

    Each transaction is of some MiB, so that a store of any size fits.

    Raises:
        StoreDamagedError: the pairs are not in the order of their keys.
        StoreFullError: the map or the disk is full.
    """
    handle = environment.database(name.encode())
    with environment.write() as txn:
        # What opening the store has put there (its layout) comes with the pairs.
        txn.drop(handle, delete=False)
    total = 0
    for part in _by_size(batches):
        with environment.write() as txn, txn.cursor(db=handle) as cursor:
            consumed, added = cursor.putmulti(part, append=True, overwrite=False)
        if consumed != len(part) or added != len(part):
            raise StoreDamagedError("a database of the store is not in the order of its keys")
        total += len(part)
    return total


def _by_size(batches: Iterable[Sequence[Pair]]) -> Iterator[list[Pair]]:
    part: list[Pair] = []
    size = 0
    for batch in batches:
        part += batch
        size += sum(len(key) + len(value) for key, value in batch)
        if size >= _BATCH_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
