"""Comparing all stored hashes with some signals: streamed, or by the indexes that are kept.

Streaming takes the image column block by block through the signals' index, in several
threads; each block in a read transaction of its own, so that no page stays pinned. Where a
segment has an index (``indexer.stored``), its chunks that have not changed since can be
answered the other way round: the signals are looked up in it. Which is cheaper depends on
both numbers and on the machine, so a piece of each is done and timed first; what the two
pieces found counts, whichever goes on.
"""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW
from indexer.ports import Digests
from indexer.settings import ScanSettings
from indexer.store import Store
from indexer.store.columns import ColumnChunk
from indexer.stored import Segment, StoredIndexes
from indexer.view import SignalView

BLOCK_CHUNKS = 16
"""Chunks that one task compares: 65,536 digests."""

_AHEAD = 2
"""Blocks for each thread that are compared before the first is taken."""
_SAMPLE_SIGNALS = 32
_SAMPLE_CHUNKS, _SAMPLE_SHARE = 64, 8
_SIGNALS_A_PART = 8_192
_NAP_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of the work that is done.

    Attributes:
        next_chunk: all chunks before this one have been compared.
        images: rows that were compared.
        indexed: how many of them by an index that is kept.
        owners: keys of images that may match, each once.
    """

    next_chunk: int
    images: int = 0
    indexed: int = 0
    owners: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Block:
    chunks: int
    images: int
    owners: tuple[bytes, ...]
    seconds: float


class Comparison:
    """One pass of a view's signals over the stored images. Writes nothing but what it took."""

    def __init__(
        self,
        store: Store,
        stored: StoredIndexes,
        settings: ScanSettings,
        view: SignalView,
        *,
        threshold_bits: int,
        block_chunks: int = BLOCK_CHUNKS,
    ) -> None:
        self._store = store
        self._column = store.images.column
        self._stored = stored
        self._view = view
        self._threshold_bits = threshold_bits
        self._block_chunks = block_chunks
        self._threads = settings.threads or processors()
        self._images_per_s = settings.images_per_s
        self._began = time.monotonic()
        self._streamed = _Block(0, 0, (), 0.0)

    def parts(self, first_chunk: int) -> Generator[Part, None, None]:
        """Compare all chunks from ``first_chunk`` on; yields what is done, piece by piece."""
        with self._store.read() as txn:
            chunks = self._column.chunk_count(txn)
        step = self._stored.segment_chunks
        pool = ThreadPoolExecutor(self._threads, "scan")
        try:
            for number in range(first_chunk // step, -(-chunks // step)):
                first = max(first_chunk, number * step)
                yield from self._segment(
                    pool, number, range(first, min(number * step + step, chunks))
                )
        finally:
            pool.shutdown(cancel_futures=True)

    def _segment(self, pool: ThreadPoolExecutor, number: int, chunks: range) -> Iterator[Part]:
        digests = self._view.digests
        if digests is None:
            yield from self._stream(pool, chunks)
            return
        with self._store.read() as txn:
            segment = self._stored.load(txn, number)
            stamps = self._column.stamps(txn)[chunks.start : chunks.stop]
        before = self._streamed.seconds
        if segment is not None and segment.first == chunks.start:
            yield from self._by_index(pool, segment, digests, chunks, segment.unchanged(stamps))
        else:
            yield from self._stream(pool, chunks)
        seconds = self._streamed.seconds - before
        self._stored.note_streamed(number, signals=len(digests), seconds=seconds)

    def _by_index(
        self,
        pool: ThreadPoolExecutor,
        segment: Segment,
        digests: Digests,
        chunks: range,
        unchanged: NDArray[np.bool_],
    ) -> Iterator[Part]:
        """Stream what has changed, and the rest if that is cheaper than looking up in the index."""
        yield from self._stream(pool, _chosen(chunks, ~unchanged), hold=chunks.start)
        if not self._streamed.chunks:
            same = np.flatnonzero(unchanged)
            sample = same[: min(_SAMPLE_CHUNKS, -(-len(same) // _SAMPLE_SHARE))]
            unchanged[sample] = False
            yield from self._stream(pool, (sample + chunks.start).tolist(), hold=chunks.start)
        segment.find(digests[:1], threshold_bits=self._threshold_bits)  # loads what it needs
        started = time.perf_counter()
        rows = [segment.find(digests[:_SAMPLE_SIGNALS], threshold_bits=self._threshold_bits)]
        a_signal = (time.perf_counter() - started) / min(_SAMPLE_SIGNALS, len(digests))
        rest = digests[_SAMPLE_SIGNALS:]
        a_chunk = self._streamed.seconds / max(self._streamed.chunks, 1)
        if len(rest) * a_signal > unchanged.sum() * a_chunk:
            yield from self._stream(pool, _chosen(chunks, unchanged), hold=chunks.start)
            yield Part(next_chunk=chunks.stop)
            return
        for start in range(0, len(rest), _SIGNALS_A_PART):
            pieces = np.array_split(rest[start : start + _SIGNALS_A_PART], self._threads)
            rows += pool.map(
                lambda piece: segment.find(piece, threshold_bits=self._threshold_bits), pieces
            )
            yield Part(next_chunk=chunks.start)
        places = segment.rows // self._column.rows_per_chunk
        images = int(unchanged[places[places < len(unchanged)]].sum())
        owners = self._owners(chunks.start, unchanged, np.unique(np.concatenate(rows)))
        yield Part(next_chunk=chunks.stop, images=images, indexed=images, owners=owners)

    def _owners(
        self, first: int, unchanged: NDArray[np.bool_], rows: NDArray[np.uint32]
    ) -> tuple[bytes, ...]:
        """Name the images of a segment's rows, as far as their chunks are unchanged."""
        places, positions = np.divmod(rows, np.uint32(self._column.rows_per_chunk))
        owners: dict[bytes, None] = {}
        for place in np.unique(places):
            if place < len(unchanged) and unchanged[place]:
                with self._store.read() as txn:
                    chunk = self._column.chunk(txn, first + int(place))
                    owners.update(_named(chunk, positions[places == place]))
        return tuple(owners)

    def _stream(
        self, pool: ThreadPoolExecutor, chunks: Sequence[int], *, hold: int | None = None
    ) -> Iterator[Part]:
        """Compare chunks block by block; ``hold``: what parts name as next, if not in order."""
        waiting: deque[tuple[int, Future[_Block]]] = deque()
        for start in range(0, len(chunks), self._block_chunks):
            block = chunks[start : start + self._block_chunks]
            yield from self._pause(block[0] if hold is None else hold)
            next_chunk = block[-1] + 1 if hold is None else hold
            waiting.append((next_chunk, pool.submit(self._block, block)))
            if len(waiting) > _AHEAD * self._threads:
                yield self._taken(*waiting.popleft())
        while waiting:
            yield self._taken(*waiting.popleft())

    def _block(self, chunks: Sequence[int]) -> _Block:
        """Compare a block: how many rows it has, and the keys of the images that may match."""
        started = time.perf_counter()
        images, owners = 0, dict[bytes, None]()
        with self._store.read() as txn:
            for number in chunks:
                chunk = self._column.chunk(txn, number)
                live = np.flatnonzero(chunk.flags)
                if len(live):
                    # Free rows are zeros, far from any signal; what they match is not named.
                    queries = chunk.digests[: live[-1] + 1].reshape(-1, DIGEST_BYTES)
                    found = self._view.find(queries, threshold_bits=self._threshold_bits)[0]
                    if len(found):  # in hardly any: even naming nothing would take a while
                        owners.update(_named(chunk, np.unique(found // DIGESTS_PER_ROW)))
                    images += len(live)
        return _Block(len(chunks), images, tuple(owners), time.perf_counter() - started)

    def _taken(self, next_chunk: int, waiting: "Future[_Block]") -> Part:
        block, before = waiting.result(), self._streamed
        self._streamed = _Block(
            before.chunks + block.chunks,
            before.images + block.images,
            (),
            before.seconds + block.seconds / self._threads,
        )
        return Part(next_chunk=next_chunk, images=block.images, owners=block.owners)

    def _pause(self, next_chunk: int) -> Iterator[Part]:
        """Wait while more was streamed than is allowed; empty parts let the caller stop it."""
        while self._images_per_s:
            due = self._began + self._streamed.images / self._images_per_s
            left = due - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _NAP_S))
            yield Part(next_chunk=next_chunk)


def processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chosen(chunks: range, which: NDArray[np.bool_]) -> list[int]:
    return (np.flatnonzero(which) + chunks.start).tolist()


def _named(chunk: ColumnChunk, rows: NDArray[Any]) -> dict[bytes, None]:
    """Return the keys of the images that rows of a chunk belong to, free rows left out."""
    live = rows[chunk.flags[rows] != 0]
    return {owner.tobytes(): None for owner in chunk.owners[live]}
