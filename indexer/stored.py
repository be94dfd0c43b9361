"""Indexes over the stored hashes, kept where they make re-scans cheaper than streaming.

The image column is cut into segments of ``SEGMENT_CHUNKS`` chunks. A segment may have an
index: a generation (``indexer.ann.generation``) of the digests that it held when it was
built, with two labels:

- ``rows``, uint32[n]: the rows, counted from the segment's first, of which the digests are,
  sixteen a row;
- ``stamps``, uint64[chunks]: the chunks' stamps (``indexer.store.columns``) at that time.

A chunk whose stamp is another one now is streamed; all others are answered by the index. So
an index is right at any time, and the older it is the less it saves.

Rent or buy. Whether an index pays depends on how often new signals come, on the disk and on
the memory, which nobody knows beforehand. So the time that an index would have saved is
added up for each segment, scan by scan, and once it exceeds the time that building takes,
the index is built: over any course of events that costs at most about twice what the best
choice would have cost. Both times are measured here; before the first build the constants
below stand in (docs/adr/0013).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import structlog
from numpy.typing import NDArray

from indexer.errors import IndexDamagedError
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW
from indexer.ports import Digests, Found, IndexFactory, MappedAnnIndex
from indexer.store import IndexPointer, SegmentCosts, Store
from indexer.store.locks import alone

SEGMENT_CHUNKS = 2_560
"""Chunks of a segment: 655,360 rows, 10.5 million digests."""

LEAST_DIGESTS = 1_000_000
"""Digests of a segment below which none is kept: streaming takes no longer than loading one."""

_BUILD_S = 1.5e-6
"""Seconds that building takes for each digest, before it was measured."""
_LOOKUP_S = 6e-12
"""Seconds of one look-up for each digest of the index."""
_INDEX_BYTES, _LEAST_INDEX_BYTES = 160, 5 << 20
"""Bytes of an index for each digest, and beside them."""
_PREFIX = "images-"
_ROWS, _STAMPS = "rows", "stamps"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Segment:
    """The index over a segment as it was once.

    Attributes:
        first: number of the segment's first chunk.
        rows: uint32[n], counted from the segment's first row; ``DIGESTS_PER_ROW`` digests each.
        stamps: uint64[chunks] of that time.
    """

    first: int
    index: MappedAnnIndex
    rows: NDArray[np.uint32]
    stamps: NDArray[np.uint64]

    def unchanged(self, stamps: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say which chunks of the segment are as they were; ``stamps`` are those of now."""
        same = np.zeros(len(stamps), np.bool_)
        both = min(len(stamps), len(self.stamps))
        same[:both] = (stamps[:both] == self.stamps[:both]) & (stamps[:both] != 0)
        return same

    def find(self, digests: Digests, *, threshold_bits: int) -> NDArray[np.uint32]:
        """Return the rows, each once, that had a hash within the threshold of any digest."""
        found: Found = self.index.find(digests, threshold_bits=threshold_bits)
        return np.unique(self.rows[found[1] // DIGESTS_PER_ROW])


class StoredIndexes:
    """The indexes of all segments. Thread-safe."""

    def __init__(
        self,
        store: Store,
        factory: IndexFactory,
        folder: Path,
        *,
        most_bytes: int,
        segment_chunks: int = SEGMENT_CHUNKS,
        least_digests: int = LEAST_DIGESTS,
    ) -> None:
        """Keep indexes in ``folder``, of at most ``most_bytes`` in all."""
        self._store = store
        self._factory = factory
        self._folder = folder
        self._most_bytes = most_bytes
        self._least_digests = least_digests
        self.segment_chunks = segment_chunks
        self._mapped: dict[str, Segment] = {}

    def load(self, txn: lmdb.Transaction, number: int) -> Segment | None:
        """Map the index of a segment; None when there is none that can be used."""
        pointer = self._store.index_pointers.load(txn, _pointer_name(number))
        if not pointer.name:
            return None
        segment = self._mapped.get(pointer.name)
        if segment is None:
            segment = self._map(number, pointer.name)
            if segment is not None:
                self._mapped = {
                    name: held for name, held in self._mapped.items() if held.first != segment.first
                } | {pointer.name: segment}
        return segment

    def _map(self, number: int, name: str) -> Segment | None:
        try:
            index = self._factory.map(self._folder / name)
            rows = index.labels[_ROWS].view(np.uint32)
            stamps = index.labels[_STAMPS].view(np.uint64)
        except FileNotFoundError:  # a newer one has taken its place
            return None
        except (IndexDamagedError, OSError, KeyError, ValueError) as error:
            _log.error("stored_index.unusable", segment=number, error=type(error).__name__)
            return None
        most = self.segment_chunks * self._store.images.column.rows_per_chunk
        if len(rows) * DIGESTS_PER_ROW != len(index) or (len(rows) and rows.max() >= most):
            _log.error("stored_index.unusable", segment=number, error="WrongRows")
            return None
        return Segment(number * self.segment_chunks, index, rows, stamps)

    def note_streamed(self, number: int, *, signals: int, seconds: float) -> None:
        """Add what an index of the segment would have saved of a scan that streamed it."""
        digests = self.segment_chunks * self._store.images.column.rows_per_chunk * DIGESTS_PER_ROW
        saved = seconds - signals * digests * _LOOKUP_S
        if self._most_bytes and saved > 0:
            with self._store.write() as txn:
                costs = self._store.segment_costs.load(txn, _pointer_name(number))
                costs = replace(costs, streamed_s=costs.streamed_s + saved)
                self._store.segment_costs.put(txn, _pointer_name(number), costs)

    def build_due(self, *, now: datetime, stopped: Callable[[], bool] = lambda: False) -> int:
        """Build the indexes that would have paid by now; returns how many were built.

        Raises:
            OSError: the disk is full; what was there before is still there.
        """
        if not self._most_bytes:
            return 0
        built = 0
        with alone(self._folder / "images.lock") as free:
            if not free:
                return 0
            for number in self._numbers():
                if stopped():
                    break
                if self._is_due(number):
                    self._build(number, now=now)
                    built += 1
            self._sweep()
        return built

    def build(self, number: int, *, now: datetime) -> None:
        """Build the index of a segment now.

        Raises:
            OSError: it cannot be written; what was there before is still there.
        """
        with alone(self._folder / "images.lock") as free:
            if free:
                self._build(number, now=now)
                self._sweep()

    def drop_outdated(self, *, before: datetime) -> int:
        """Remove indexes from before a time whose chunks have changed; returns how many.

        They may still hold digests of images that have gone since.
        """
        dropped = 0
        with alone(self._folder / "images.lock") as free:
            if not free:
                return 0
            with self._store.read() as txn:
                pointers = self._pointers(txn)
                outdated = [
                    number
                    for number, pointer in pointers.items()
                    if pointer.written_at is not None
                    and pointer.written_at < before
                    and not self._is_current(txn, number)
                ]
            for number in outdated:
                with self._store.write() as txn:
                    self._store.index_pointers.put(txn, _pointer_name(number), IndexPointer())
                dropped += 1
            self._sweep()
        return dropped

    def verify(self) -> int:
        """Check all indexes whole; returns how many there are.

        Raises:
            FileNotFoundError, IndexDamagedError: one cannot be used.
        """
        with self._store.read() as txn:
            pointers = self._pointers(txn)
        for pointer in pointers.values():
            self._factory.verify(self._folder / pointer.name)
        return len(pointers)

    def _is_due(self, number: int) -> bool:
        with self._store.read() as txn:
            costs = self._store.segment_costs.load(txn, _pointer_name(number))
            chunks = len(self._stamps(txn, number))
            others = [pointer.name for n, pointer in self._pointers(txn).items() if n != number]
        digests = chunks * self._store.images.column.rows_per_chunk * DIGESTS_PER_ROW
        if digests < self._least_digests:
            return False
        held = sum(path.stat().st_size for name in others if (path := self._folder / name).exists())
        if held + digests * _INDEX_BYTES + _LEAST_INDEX_BYTES > self._most_bytes:
            return False
        return costs.streamed_s > (costs.build_s or digests * _BUILD_S)

    def _build(self, number: int, *, now: datetime) -> None:
        started = time.monotonic()
        with self._store.read() as txn:
            stamps = self._stamps(txn, number)
        digests, rows = self._read(number, len(stamps))
        name = f"{_pointer_name(number)}-{int(stamps.max(initial=0))}.idx"
        labels: dict[str, NDArray[Any]] = {_ROWS: rows, _STAMPS: stamps}
        self._factory.write(self._folder / name, digests, labels, version=0)
        costs = SegmentCosts(build_s=time.monotonic() - started)
        with self._store.write() as txn:
            pointer = IndexPointer(name=name, written_at=now)
            self._store.index_pointers.put(txn, _pointer_name(number), pointer)
            self._store.segment_costs.put(txn, _pointer_name(number), costs)

    def _read(self, number: int, chunks: int) -> tuple[Digests, NDArray[np.uint32]]:
        """Copy the digests of a segment, and the numbers of their rows.

        Chunk by chunk: one that changes meanwhile has another stamp than was read before,
        so what is copied of it does not count.
        """
        column = self._store.images.column
        first = number * self.segment_chunks
        digests = np.empty(
            (chunks * column.rows_per_chunk, DIGESTS_PER_ROW, DIGEST_BYTES), np.uint8
        )
        rows = np.empty(len(digests), np.uint32)
        done = 0
        for place in range(chunks):
            with self._store.read() as txn:
                if first + place >= column.chunk_count(txn):
                    break
                chunk = column.chunk(txn, first + place)
                live = np.flatnonzero(chunk.flags)
                digests[done : done + len(live)] = chunk.digests[live]
            rows[done : done + len(live)] = live + place * column.rows_per_chunk
            done += len(live)
        return digests[:done].reshape(-1, DIGEST_BYTES), rows[:done]

    def _is_current(self, txn: lmdb.Transaction, number: int) -> bool:
        segment = self.load(txn, number)
        stamps = self._stamps(txn, number)
        return (
            segment is not None
            and len(stamps) >= len(segment.stamps)
            and bool(segment.unchanged(stamps)[: len(segment.stamps)].all())
        )

    def _stamps(self, txn: lmdb.Transaction, number: int) -> NDArray[np.uint64]:
        first = number * self.segment_chunks
        return self._store.images.column.stamps(txn)[first : first + self.segment_chunks]

    def _numbers(self) -> range:
        with self._store.read() as txn:
            chunks = self._store.images.column.chunk_count(txn)
        return range(-(-chunks // self.segment_chunks))

    def _pointers(self, txn: lmdb.Transaction) -> dict[int, IndexPointer]:
        """Map the numbers of the segments that have an index to where it is."""
        return {
            int(name.removeprefix(_PREFIX)): pointer
            for name, pointer in self._store.index_pointers.every(txn).items()
            if name.startswith(_PREFIX) and pointer.name
        }

    def _sweep(self) -> None:
        """Remove the files that nothing points to. Whoever has one mapped keeps it."""
        with self._store.read() as txn:
            names = {pointer.name for pointer in self._pointers(txn).values()}
        for path in self._folder.glob(f"{_PREFIX}*"):
            if path.name not in names:
                path.unlink(missing_ok=True)


def _pointer_name(number: int) -> str:
    return f"{_PREFIX}{number}"
