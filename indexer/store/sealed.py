"""Records that can be taken back: sealed with a key that is thrown away with them.

LMDB copies a page whenever it changes, copies only the part that is in use, and uses its
buffers again. So the bytes of a small record may stay in gaps of pages of any database, in
the file and in the memory of any process that writes, long after the record was deleted:
of 6,000 records that were zeroed and then deleted, 666 were still found in pages in use
(docs/adr/0012). So what has to be able to leave is stored sealed. Its key lies in a hash
column, whose chunks take several pages each, and such pages LMDB writes whole and never
puts to other use in memory. When the row is zeroed and the freed pages are overwritten
(``freed.py``), no copy of the key is left, and every copy of the record is noise.

Layout of a sealed record::

    0   1 byte   255 (a record of ``codec.py`` begins with its version, and is read too)
    1   8 bytes  row of the key, big-endian
    9   ..       the bytes of ``codec.py``, XORed with SHAKE-256 of the key

Each key seals one version of one record: a record that changes has a new key.
"""

import hashlib
import secrets
from collections.abc import Iterator
from typing import Generic, TypeVar

import lmdb

from indexer.errors import StoreDamagedError
from indexer.store.codec import RecordCodec
from indexer.store.columns import HashColumn
from indexer.store.environment import Environment

T = TypeVar("T")
_SEALED = 255
_HEAD_BYTES = 9
# More than a page, or LMDB could leave a copy; and little, since it is copied for each change.
_ROWS_PER_CHUNK = 128


class SealedRecords(Generic[T]):
    """One kind of record in one database, by key of 16 bytes. Removed, it cannot be read again."""

    def __init__(self, environment: Environment, name: str, cls: type[T]) -> None:
        self._db = environment.database(name.encode())
        self._codec = RecordCodec(cls)
        self._name = cls.__name__
        self.keys = HashColumn(
            environment, f"{name}.keys", digests_per_row=1, rows_per_chunk=_ROWS_PER_CHUNK
        )

    def find(self, txn: lmdb.Transaction, key: bytes) -> T | None:
        """Find a record.

        Raises:
            StoreDamagedError: it breaks its layout.
        """
        raw = txn.get(key, db=self._db)
        return None if raw is None else self._open(txn, raw)

    def every(self, txn: lmdb.Transaction) -> Iterator[tuple[bytes, T]]:
        """Iterate over keys and records, in the order of the keys."""
        with txn.cursor(db=self._db) as cursor:
            for key, raw in cursor:
                yield bytes(key), self._open(txn, raw)

    def put(self, txn: lmdb.Transaction, key: bytes, record: T, *, overwrite: bool = True) -> bool:
        """Store a record under a new key; say whether it was stored."""
        held = txn.get(key, db=self._db)
        if held is not None and not overwrite:
            return False
        row = None if held is None else _row_of(held)
        secret = secrets.token_bytes(32)
        with self.keys.writer(txn) as writer:
            if row is None:
                row = writer.add(digests=secret, owner=key)
            else:
                writer.replace(row, digests=secret, owner=key)
        sealed = _mixed(self._codec.encode(record), secret)
        txn.put(key, bytes((_SEALED,)) + row.to_bytes(8) + sealed, db=self._db)
        return True

    def delete(self, txn: lmdb.Transaction, key: bytes) -> bool:
        """Delete a record and its key; say whether there was one."""
        held = txn.get(key, db=self._db)
        if held is None:
            return False
        row = _row_of(held)
        txn.delete(key, db=self._db)
        if row is not None:
            with self.keys.writer(txn) as writer:
                writer.remove(row)
        return True

    def compact(self, txn: lmdb.Transaction, *, most: int) -> tuple[int, int]:
        """Move keys to the front; see ``HashColumn.compact``."""

        def moved(key: bytes, _old: int, new: int) -> None:
            held = bytes(txn.get(key, db=self._db) or b"")
            if not held:
                raise StoreDamagedError(f"a key of a stored {self._name} has no record")
            txn.put(key, held[:1] + new.to_bytes(8) + held[_HEAD_BYTES:], db=self._db)

        return self.keys.compact(txn, most=most, moved=moved)

    def _open(self, txn: lmdb.Transaction, raw: bytes | memoryview) -> T:
        row = _row_of(raw)
        if row is None:
            return self._codec.decode(raw)
        secret = self.keys.row(txn, row)
        if secret is None or len(raw) < _HEAD_BYTES:
            raise StoreDamagedError(f"a stored {self._name} has lost its key")
        return self._codec.decode(_mixed(bytes(raw[_HEAD_BYTES:]), secret))


def _row_of(raw: bytes | memoryview) -> int | None:
    """Return the row of a sealed record's key; None for a record that is not sealed."""
    return int.from_bytes(raw[1:_HEAD_BYTES]) if raw and raw[0] == _SEALED else None


def _mixed(data: bytes, secret: bytes) -> bytes:
    """Seal, or open again."""
    stream = hashlib.shake_256(secret).digest(len(data))
    return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))
