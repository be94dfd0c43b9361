"""Overwriting the pages that LMDB has freed, while others read and write.

LMDB never changes a page in use; it writes a copy, and what was there before stays in the
file until the page is taken again. So a digest that was zeroed is still on the free pages.
LMDB offers nothing to overwrite them. Filling a scratch database until the free list is
used up would do it, but takes all free pages away from other writers meanwhile, must grow
the file to know that it is done, and cannot work on a full map. So they are overwritten
in the file itself, by their numbers, while the write lock is held: nobody writes then, and
nobody reads a page that is free in the newest state, but for readers of older states.

(1) Commit a transaction, so that what is to go was freed before the newest state. (On a
    map so full that this fails, what was freed last counts as held by a reader.)
(2) With the write lock: read the newest meta page and the free list from the file, and
    compare them with what LMDB says. If anything differs, nothing is overwritten.
(3) Pages freed in transaction T are taken by LMDB itself once T is older than the newest
    state and than every reader's. The same rule holds here, so a crash loses no more than
    with LMDB: the state before the newest one is whole, too.
(4) Overwrite a batch of those pages that were free at (1), and give the lock back; again,
    until none is left but those that a reader still holds. What another writer takes
    meanwhile it writes over whole.

Behind the last page of the newest state the file may hold what a killed writer left; it is
overwritten as well. Only pages that are not zero already are written, so the file does not
grow and a full disk does not matter. Killed at any moment, some free pages are zero.

Layout of the file, LMDB's data version 1 (lmdb.h, mdb.c of 0.9), native byte order::

    page    uint64 number, uint16, uint16 flags, uint16 lower, uint16 upper (or uint32 pages)
    meta    on pages 0 and 1 behind that: uint32 magic, uint32 version, 2 x uint64,
            the free list's and the main database, uint64 last page, uint64 transaction
    database  uint32, uint16, uint16, uint64 branch, leaf and overflow pages, entries, root
    branch, leaf: uint16 offsets of nodes from byte 16 to lower; a node is uint16 x 4 (low and
            high part of a number, flags, size of the key), key, value
    free list: transaction -> uint64 count, uint64 page numbers
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np
from numpy.typing import NDArray

from indexer.errors import StoreDamagedError, StoreError, StoreFullError
from indexer.store.environment import Environment

_PAGE_HEAD = struct.Struct("=QHHHH")
_META_HEAD = struct.Struct("=IIQQ")
_DATABASE = struct.Struct("=IHHQQQQQ")
_META_TAIL = struct.Struct("=QQ")
_NODE = struct.Struct("=HHHH")
_NUMBER = struct.Struct("=Q")
_MAGIC, _DATA_VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _DATABASE_NODE = 1, 2
_NOWHERE = (1 << 64) - 1
_METAS = 2
_BATCH_PAGES = 4096
"""Pages overwritten under one lock: 16 MiB, some ten milliseconds."""
_RUN_PAGES = 256

Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwritten:
    """What was overwritten.

    Attributes:
        overwritten: pages that held something.
        pinned: pages that an older reader may still look at; to be tried again.
    """

    overwritten: int
    pinned: int


class _Tree(NamedTuple):
    pages: int
    root: int


class _Free(NamedTuple):
    """Free pages, ascending, and the transaction that freed each."""

    pages: Numbers
    freed_in: Numbers


def overwrite_freed(
    environment: Environment, *, stopped: Callable[[], bool] = lambda: False
) -> Overwritten:
    """Overwrite everything that was freed before now with zeros; durable when it returns.

    Args:
        environment: where; may be in use by any process.
        stopped: asked between two batches.

    Raises:
        StoreDamagedError: the file is not laid out as above; nothing was overwritten.
        StoreError: it cannot be read or written.
    """
    try:
        before = environment.touch()  # (1)
    except StoreFullError:
        before = _NOWHERE
    written = 0
    wanted: Numbers | None = None
    with _opened(environment.path / "data.mdb") as file:
        while True:
            with environment.write() as txn:
                free = _free_pages(file, environment, txn)  # (2)
                if wanted is None:
                    wanted = free.pages[free.freed_in < before]
                wanted = np.intersect1d(wanted, free.pages, assume_unique=True)
                oldest = environment.oldest_reader(txn)
                usable = free.pages[free.freed_in < oldest]  # (3)
                batch = np.intersect1d(wanted, usable, assume_unique=True)[:_BATCH_PAGES]
                written += _overwrite(file, batch, environment.page_bytes)  # (4)
            wanted = np.setdiff1d(wanted, batch, assume_unique=True)
            if not len(batch) or not len(wanted) or stopped():
                break
        os.fdatasync(file)
    return Overwritten(overwritten=written, pinned=len(wanted))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDWR)
        try:
            yield file
        finally:
            # LMDB's own locks are on its other file; closing this one drops none of them.
            os.close(file)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StoreError(f"cannot overwrite what the store has freed: {reason}") from None


def _overwrite(file: int, pages: Numbers, page_bytes: int) -> int:
    """Overwrite pages that are not zero; returns how many were not."""
    written = 0
    for run in _runs(pages):
        at = int(run[0]) * page_bytes
        raw = os.pread(file, len(run) * page_bytes, at)
        held = np.frombuffer(raw.ljust(len(run) * page_bytes, b"\0"), np.uint8)
        used = np.flatnonzero(held.reshape(len(run), page_bytes).any(axis=1)).astype(np.uint64)
        for part in _runs(run[0] + used):
            zeros = bytes(len(part) * page_bytes)
            # Never behind the end, which would let the file grow.
            zeros = zeros[: at + len(raw) - int(part[0]) * page_bytes]
            if os.pwrite(file, zeros, int(part[0]) * page_bytes) != len(zeros):
                raise StoreError("cannot overwrite what the store has freed: cut short")
        written += len(used)
    return written


def _runs(pages: Numbers) -> Iterator[Numbers]:
    """Split ascending numbers where one is missing, and where a run gets long."""
    gaps = np.flatnonzero(np.diff(pages) != 1) + 1
    for run in np.split(pages, gaps):
        for first in range(0, len(run), _RUN_PAGES):
            yield run[first : first + _RUN_PAGES]


def _free_pages(file: int, environment: Environment, txn: lmdb.Transaction) -> _Free:
    """Read which pages are free in the newest state; the write lock is held.

    Raises:
        StoreDamagedError: anything is not as LMDB says or as it must be.
    """
    reader = _Reader(file, environment.page_bytes)
    free_list, main, last_page, newest = reader.meta()
    expected = environment.last_page()
    _require(newest == txn.id() - 1 and last_page == expected, "the newest state")
    parts, owners = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for key, flags, value in reader.nodes(free_list.root):
        _require(len(key) == _NUMBER.size and not flags & ~_BIG, "the free list")
        count = _NUMBER.unpack_from(value)[0]
        pages = np.frombuffer(value, np.uint64, offset=_NUMBER.size)
        _require(count <= len(pages), "the free list")
        parts.append(pages[:count])
        owners.append(np.full(count, _NUMBER.unpack(key)[0], np.uint64))
    used = free_list.pages + main.pages
    for _, flags, value in reader.nodes(main.root):
        if flags & _DATABASE_NODE:
            used += _tree(_DATABASE.unpack(value)).pages
    pages, freed_in = np.concatenate(parts), np.concatenate(owners)
    order = np.argsort(pages)
    pages, freed_in = pages[order], freed_in[order]
    if len(pages):
        _require(pages[0] >= _METAS and pages[-1] <= last_page, "the free list")
        _require(bool((np.diff(pages) != 0).all()), "the free list")
    # Every page is in use or free: a list read wrongly does not fit in.
    _require(used + len(pages) + _METAS == last_page + 1, "the number of pages")
    size = os.fstat(file).st_size
    behind = np.arange(last_page + 1, -(-size // environment.page_bytes), dtype=np.uint64)
    return _Free(np.concatenate([pages, behind]), np.concatenate([freed_in, np.zeros_like(behind)]))


class _Reader:
    """Reads pages of the newest state off the file."""

    def __init__(self, file: int, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes

    def meta(self) -> tuple[_Tree, _Tree, int, int]:
        """Return the free list, the main database, the last page and the transaction."""
        found = []
        for number in range(_METAS):
            raw = self._read(number, 1)
            at = _PAGE_HEAD.size
            magic, version, _, _ = _META_HEAD.unpack_from(raw, at)
            _require((magic, version) == (_MAGIC, _DATA_VERSION), "the data version")
            at += _META_HEAD.size
            free_list, main = (
                _DATABASE.unpack_from(raw, at),
                _DATABASE.unpack_from(raw, at + _DATABASE.size),
            )
            last, transaction = _META_TAIL.unpack_from(raw, at + 2 * _DATABASE.size)
            _require(free_list[0] == self._page_bytes, "the page size")
            found.append((transaction, last, free_list, main))
        transaction, last, free_list, main = max(found)
        return _tree(free_list), _tree(main), last, transaction

    def nodes(self, root: int) -> Iterator[tuple[bytes, int, bytes]]:
        """Iterate over key, flags and value of the nodes of a tree."""
        waiting = [] if root == _NOWHERE else [root]
        while waiting:
            number = waiting.pop()
            page = self._read(number, 1)
            held, _, flags, lower, _ = _PAGE_HEAD.unpack_from(page)
            _require(held == number and flags in {_BRANCH, _LEAF}, "a page")
            _require(_PAGE_HEAD.size <= lower <= len(page), "a page")
            for at in struct.unpack_from(f"={(lower - _PAGE_HEAD.size) // 2}H", page, 16):
                low, high, node_flags, key_bytes = _NODE.unpack_from(page, at)
                if flags == _BRANCH:
                    waiting.append(low | high << 16 | node_flags << 32)
                    continue
                start = at + _NODE.size
                key = page[start : start + key_bytes]
                size, start = low | high << 16, start + key_bytes
                if node_flags & _BIG:
                    value = self._overflow(_NUMBER.unpack_from(page, start)[0], size)
                else:
                    value = page[start : start + size]
                _require(len(value) == size, "a value")
                yield key, node_flags, value

    def _overflow(self, number: int, size: int) -> bytes:
        pages = -(-(_PAGE_HEAD.size + size) // self._page_bytes)
        raw = self._read(number, pages)
        held, _, flags, _, _ = _PAGE_HEAD.unpack_from(raw)
        _require(held == number and flags == _OVERFLOW, "a value's pages")
        return raw[_PAGE_HEAD.size : _PAGE_HEAD.size + size]

    def _read(self, number: int, pages: int) -> bytes:
        raw = os.pread(self._file, pages * self._page_bytes, number * self._page_bytes)
        _require(len(raw) == pages * self._page_bytes, "the size of the file")
        return raw


def _tree(fields: tuple[int, ...]) -> _Tree:
    _, _, _, branches, leaves, overflows, _, root = fields
    return _Tree(branches + leaves + overflows, root)


def _require(true: bool, what: str) -> None:  # noqa: FBT001 - like assert
    if not true:
        raise StoreDamagedError(
            f"the store's file is not laid out as expected ({what}); nothing was overwritten"
        )
