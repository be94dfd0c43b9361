"""Hash columns: digests in fixed-size chunks of contiguous rows.

A re-scan reads a chunk as NumPy arrays that lie in the memory map, and never
walks a cursor row by row. An image's sixteen digests (two paths, eight
variants) are one row: the position says the variant, one owner key serves all.

Layout of a chunk, version 1, little-endian, always of full size::

    0   4 bytes   b"DLHC"
    4   uint16    version
    6   uint16    digests in a row, d
    8   uint32    rows in the chunk, n
    12  4 bytes   zero
    16  n*d*32    digests
    ..  n*16      owner keys
    ..  n         flags: 0 free, otherwise 1 + position in ``tuple(Background)``

Chunk numbers are big-endian keys; row r lies in chunk r // n. Freed rows are
zeroed at once, so that a digest that was withdrawn leaves the chunk, and reused.

Databases of a column::

    NAME         chunk number, 8 bytes -> chunk
    NAME.free    row number, 8 bytes -> nothing, where the row is free;
                 b"next" -> number of the first row behind the end, 8 bytes
    NAME.stamps  number of a block of 128 chunks, 8 bytes -> their stamps, 8 bytes each:
                 the transaction that changed the chunk last;
                 b"removed" -> number of rows removed or overwritten so far, 8 bytes

All numbers in keys and in these values are big-endian.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import lmdb
import numpy as np
from numpy.typing import NDArray

from indexer.errors import StoreDamagedError
from indexer.model import DIGEST_BYTES
from indexer.store.environment import Environment

Moved = Callable[[bytes, int, int], None]
"""Called with a row's owner, the row's number before, and its number now."""


class Compact(Protocol):
    """Moves rows of one column to its front, with what their owners' records say of them."""

    def __call__(self, txn: lmdb.Transaction, *, most: int) -> tuple[int, int]:
        """Take up to ``most`` rows from the end; see ``HashColumn.compact``."""


OWNER_BYTES = 16
_HEADER = struct.Struct("<4sHHI4x")
_MAGIC, _VERSION = b"DLHC", 1
_NEXT = b"next"
_REMOVED = b"removed"
_STAMPS_PER_BLOCK = 128
_CHUNKS_PER_COMPACTION = 32


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """One chunk. The arrays are views of the map, valid inside their transaction only.

    Attributes:
        digests: uint8[rows, digests_per_row, 32].
        owners: uint8[rows, 16].
        flags: uint8[rows]; 0 where the row is free.
    """

    digests: NDArray[np.uint8]
    owners: NDArray[np.uint8]
    flags: NDArray[np.uint8]


class HashColumn:
    """Rows of digests with an owner key each, in one database."""

    def __init__(
        self, environment: Environment, name: str, *, digests_per_row: int, rows_per_chunk: int
    ) -> None:
        self._chunks = environment.database(name.encode())
        self._free = environment.database(f"{name}.free".encode())
        self._stamps = environment.database(f"{name}.stamps".encode())
        self.digests_per_row = digests_per_row
        self.rows_per_chunk = rows_per_chunk
        self._row_bytes = digests_per_row * DIGEST_BYTES
        self._owners_at = _HEADER.size + rows_per_chunk * self._row_bytes
        self._flags_at = self._owners_at + rows_per_chunk * OWNER_BYTES
        self._size = self._flags_at + rows_per_chunk

    def chunk_count(self, txn: lmdb.Transaction) -> int:
        """Count the chunks, free rows included."""
        return -(-self._next_row(txn) // self.rows_per_chunk)

    def chunk(self, txn: lmdb.Transaction, number: int) -> ColumnChunk:
        """Map one chunk; free rows are in it, with flag 0.

        Raises:
            StoreDamagedError: the chunk is missing or breaks its layout.
        """
        raw = txn.get(_key(number), db=self._chunks)
        if raw is None:
            raise StoreDamagedError(f"hash chunk {number} is missing")
        self._check(number, raw)
        flat = np.frombuffer(raw, dtype=np.uint8)
        rows = self.rows_per_chunk
        return ColumnChunk(
            digests=flat[_HEADER.size : self._owners_at].reshape(rows, -1, DIGEST_BYTES),
            owners=flat[self._owners_at : self._flags_at].reshape(rows, OWNER_BYTES),
            flags=flat[self._flags_at :],
        )

    def _check(self, number: int, raw: bytes | memoryview) -> None:
        if len(raw) != self._size:
            raise StoreDamagedError(f"hash chunk {number} has a wrong size")
        header = (_MAGIC, _VERSION, self.digests_per_row, self.rows_per_chunk)
        if _HEADER.unpack_from(raw) != header:
            raise StoreDamagedError(f"hash chunk {number} has an unknown layout")

    def writer(self, txn: lmdb.Transaction) -> "ColumnWriter":
        """Start changes; each chunk is written once, when the ``with`` block is left."""
        return ColumnWriter(self, txn)

    def _next_row(self, txn: lmdb.Transaction) -> int:
        raw = txn.get(_NEXT, db=self._free)
        return 0 if raw is None else int.from_bytes(raw)

    def take_row(self, txn: lmdb.Transaction) -> int:
        """Reserve a free row, or a new one at the end."""
        with txn.cursor(db=self._free) as cursor:
            if cursor.first() and bytes(cursor.key()) != _NEXT:
                row = int.from_bytes(cursor.key())
                cursor.delete()
                return row
        row = self._next_row(txn)
        txn.put(_NEXT, (row + 1).to_bytes(8), db=self._free)
        return row

    def give_row(self, txn: lmdb.Transaction, row: int) -> None:
        """Mark a row as free."""
        txn.put(row.to_bytes(8), b"", db=self._free)

    def row(self, txn: lmdb.Transaction, row: int) -> bytes | None:
        """Copy the digests of one row; None where the row is free or behind the end.

        Raises:
            StoreDamagedError: the chunk breaks its layout.
        """
        number, position = divmod(row, self.rows_per_chunk)
        raw = txn.get(_key(number), db=self._chunks)
        if raw is None:
            return None
        self._check(number, raw)
        if not raw[self._flags_at + position]:
            return None
        at = _HEADER.size + position * self._row_bytes
        return bytes(raw[at : at + self._row_bytes])

    def removed(self, txn: lmdb.Transaction) -> int:
        """Count the rows that were ever removed or overwritten: it grows when digests go."""
        return int.from_bytes(txn.get(_REMOVED, db=self._stamps) or b"")

    def note_removed(self, txn: lmdb.Transaction, rows: int) -> None:
        """Add to ``removed``."""
        txn.put(_REMOVED, (self.removed(txn) + rows).to_bytes(8), db=self._stamps)

    def rows(self, txn: lmdb.Transaction) -> tuple[int, int]:
        """Count the rows up to the end, and how many of them are free."""
        entries = int(txn.stat(self._free)["entries"])
        return self._next_row(txn), max(0, entries - 1)

    def compact(self, txn: lmdb.Transaction, *, most: int, moved: Moved) -> tuple[int, int]:
        """Take up to ``most`` rows from the end, live ones into free rows before.

        Args:
            txn: a write transaction without an open ``writer``.
            most: rows that are taken; fewer, if that would rewrite more than 32 chunks.
            moved: told of each live row, to bring its owner's record up to date.

        Returns:
            How many live rows were moved, and how many chunks were dropped.
        """
        before, moves = self.chunk_count(txn), 0
        end = self._next_row(txn)
        with self.writer(txn) as writer:
            for _ in range(most):
                if not self.rows(txn)[1] or writer.chunks >= _CHUNKS_PER_COMPACTION:
                    break
                end -= 1
                if not txn.delete(_key(end), db=self._free):
                    target = self.take_row(txn)
                    moved(writer.move(end, target), end, target)
                    moves += 1
                txn.put(_NEXT, end.to_bytes(8), db=self._free)
            after = self.chunk_count(txn)
            writer.forget(after)
        for number in range(after, before):
            txn.delete(_key(number), db=self._chunks)
        return moves, before - after

    def load(self, txn: lmdb.Transaction, number: int) -> bytearray:
        """Copy a chunk for changing it, or start an empty one.

        Raises:
            StoreDamagedError: the chunk breaks its layout.
        """
        raw = txn.get(_key(number), db=self._chunks)
        if raw is not None:
            self._check(number, raw)
            return bytearray(raw)
        empty = bytearray(self._size)
        _HEADER.pack_into(empty, 0, _MAGIC, _VERSION, self.digests_per_row, self.rows_per_chunk)
        return empty

    def store(self, txn: lmdb.Transaction, number: int, raw: bytearray) -> None:
        """Write a changed chunk, and stamp it."""
        txn.put(_key(number), raw, db=self._chunks)
        self._stamp(txn, number)

    def _stamp(self, txn: lmdb.Transaction, number: int) -> None:
        block, position = divmod(number, _STAMPS_PER_BLOCK)
        stamps = bytearray(txn.get(_key(block), db=self._stamps) or 8 * _STAMPS_PER_BLOCK)
        at = slice(8 * position, 8 * position + 8)
        # LMDB counts its transactions anew in a compacted copy; a stamp never goes back.
        stamps[at] = max(txn.id(), int.from_bytes(stamps[at]) + 1).to_bytes(8)
        txn.put(_key(block), stamps, db=self._stamps)

    def stamps(self, txn: lmdb.Transaction) -> NDArray[np.uint64]:
        """Return every chunk's stamp: it grows whenever a row of the chunk changes.

        Equal stamps of one chunk in two transactions mean equal bytes. A chunk that has not
        changed since before there were stamps has 0.
        """
        count = self.chunk_count(txn)
        found = np.zeros(-(-count // _STAMPS_PER_BLOCK) * _STAMPS_PER_BLOCK, np.uint64)
        with txn.cursor(db=self._stamps) as cursor:
            for key, block in cursor:
                first = int.from_bytes(key) * _STAMPS_PER_BLOCK
                if first >= count:
                    break
                found[first : first + _STAMPS_PER_BLOCK] = np.frombuffer(block, ">u8")
        return found[:count]

    def get_row(self, raw: bytearray, position: int) -> tuple[bytes, bytes, int]:
        """Read digests, owner and flag of one row of a chunk's bytes."""
        at = _HEADER.size + position * self._row_bytes
        owner_at = self._owners_at + position * OWNER_BYTES
        digests = bytes(raw[at : at + self._row_bytes])
        owner = bytes(raw[owner_at : owner_at + OWNER_BYTES])
        return digests, owner, raw[self._flags_at + position]

    def set_row(
        self, raw: bytearray, position: int, *, digests: bytes, owner: bytes, flag: int
    ) -> None:
        """Write one row into a chunk's bytes."""
        if len(digests) != self._row_bytes or len(owner) != OWNER_BYTES:
            # A slice of another length would shift every row behind it.
            raise ValueError(f"a row has {self._row_bytes} and {OWNER_BYTES} bytes")
        at = _HEADER.size + position * self._row_bytes
        raw[at : at + self._row_bytes] = digests
        at = self._owners_at + position * OWNER_BYTES
        raw[at : at + OWNER_BYTES] = owner
        raw[self._flags_at + position] = flag


class ColumnWriter:
    """Collects changes of one transaction, so that each chunk is rewritten once."""

    def __init__(self, column: HashColumn, txn: lmdb.Transaction) -> None:
        self._column = column
        self._txn = txn
        self._open: dict[int, bytearray] = {}
        self._removed = 0

    def add(self, *, digests: bytes, owner: bytes, flag: int = 1) -> int:
        """Add a row and return its number. ``digests`` is one whole row; ``flag`` >= 1."""
        row = self._column.take_row(self._txn)
        self._set(row, digests=digests, owner=owner, flag=flag)
        return row

    def replace(self, row: int, *, digests: bytes, owner: bytes, flag: int = 1) -> None:
        """Overwrite a row in place."""
        self._removed += 1
        self._set(row, digests=digests, owner=owner, flag=flag)

    def remove(self, row: int) -> None:
        """Zero a row and free it."""
        self._removed += 1
        self._zero(row)
        self._column.give_row(self._txn, row)

    def move(self, row: int, target: int) -> bytes:
        """Write a live row to another place, zero it where it was, and return its owner.

        Which rows are free, and where the end is, are the caller's business.

        Raises:
            StoreDamagedError: the row is not live.
        """
        raw, position = self._chunk_of(row)
        digests, owner, flag = self._column.get_row(raw, position)
        if not flag:
            raise StoreDamagedError(f"row {row} of a hash column is neither live nor free")
        self._set(target, digests=digests, owner=owner, flag=flag)
        self._zero(row)
        return owner

    @property
    def chunks(self) -> int:
        """How many chunks will be written."""
        return len(self._open)

    def forget(self, first: int) -> None:
        """Do not write the chunks from ``first`` on: they are about to be dropped."""
        self._open = {number: raw for number, raw in self._open.items() if number < first}

    def _zero(self, row: int) -> None:
        empty = bytes(self._column.digests_per_row * DIGEST_BYTES)
        self._set(row, digests=empty, owner=bytes(OWNER_BYTES), flag=0)

    def _set(self, row: int, *, digests: bytes, owner: bytes, flag: int) -> None:
        raw, position = self._chunk_of(row)
        self._column.set_row(raw, position, digests=digests, owner=owner, flag=flag)

    def _chunk_of(self, row: int) -> tuple[bytearray, int]:
        number, position = divmod(row, self._column.rows_per_chunk)
        if number not in self._open:
            self._open[number] = self._column.load(self._txn, number)
        return self._open[number], position

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for number, raw in sorted(self._open.items()):
                self._column.store(self._txn, number, raw)
            if self._removed:
                self._column.note_removed(self._txn, self._removed)
        self._open.clear()
        self._removed = 0


def _key(number: int) -> bytes:
    return number.to_bytes(8)
