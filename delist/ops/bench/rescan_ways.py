"""Ways of comparing new signals with all stored hashes: ours and others'.

Others may hold the rows and be asked for the signals, or hold the signals and be asked for
the rows; flat ones take whichever is faster here, which a trial decides. Building over the
rows is not in their time, over the signals is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from delist.ops.bench import peers
from delist.ops.bench.peers import Contestant
from delist.ops.bench.stored_rows import NewSignals, image_of
from delist.ops.bench.timing import peer_is_installed, timed
from indexer.ann import ExactIndexes
from indexer.comparing import Comparison
from indexer.model import DIGESTS_PER_ROW
from indexer.ports import Digests
from indexer.settings import ScanSettings
from indexer.store import Store
from indexer.stored import StoredIndexes
from indexer.url import KEY_BYTES
from indexer.view import SignalViews

STREAMING, KEPT = "delist, streaming", "delist, kept index"
MOST_PEER_ROWS = 10_000_000
"""Rows up to which the public client's index is built: 7 s and 0.55 GB for a million."""

_TRIAL_SIGNALS, _TRIAL_PAIRS = 16, 1 << 26
_CHUNK = 1 << 16
_INDEX_BYTES = 1 << 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One re-scan.

    Attributes:
        seconds: for all signals and all rows.
        share: part of the work that was done; ``seconds`` is scaled up from it.
        exact: whether just the planted matches were found, as far as it was done.
        how: how it went about it.
    """

    seconds: float
    share: float
    exact: bool
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way that is ready to run.

    Attributes:
        build_s: seconds that building what it keeps took; None where it keeps nothing.
        size_bytes: what that takes; None where it keeps nothing or that cannot be told.
    """

    name: str
    run: Callable[[NewSignals], Run]
    build_s: float | None = None
    size_bytes: int | None = None


def our_ways(
    store: Store, folder: Path, *, threads: int, threshold_bits: int, now: datetime
) -> Iterator[Way]:
    """Prepare streaming, and build the index that is kept over the stored hashes."""
    factory = ExactIndexes()
    views = SignalViews(store, factory, folder)
    none = StoredIndexes(store, factory, folder / "none", most_bytes=0)
    kept = StoredIndexes(store, factory, folder, most_bytes=_INDEX_BYTES)

    def run(stored: StoredIndexes, signals: NewSignals) -> Run:
        started = time.perf_counter()
        keys = {place.to_bytes(KEY_BYTES): d.tobytes() for place, d in enumerate(signals.digests)}
        view = views.of(keys, version=1)
        settings = ScanSettings(threads=threads)
        parts = list(
            Comparison(store, stored, settings, view, threshold_bits=threshold_bits).parts(0)
        )
        seconds = time.perf_counter() - started
        found = {image_of(owner) for part in parts for owner in part.owners}
        indexed = sum(part.indexed for part in parts) / sum(part.images for part in parts)
        return Run(
            seconds=seconds,
            share=1.0,
            exact=found == {row // DIGESTS_PER_ROW for row in signals.near},
            how=f"{indexed:.0%} of the rows by the index" if indexed else "streamed",
        )

    yield Way(name=STREAMING, run=lambda signals: run(none, signals))
    with store.read() as txn:
        chunks = store.images.column.chunk_count(txn)
    started = time.perf_counter()
    for number in range(-(-chunks // kept.segment_chunks)):
        kept.build(number, now=now)
    build_s = time.perf_counter() - started
    size = sum(path.stat().st_size for path in folder.glob("images-*"))
    yield Way(name=KEPT, run=lambda signals: run(kept, signals), build_s=build_s, size_bytes=size)


def others(
    rows: Digests,
    pool: ThreadPoolExecutor,
    *,
    threads: int,
    threshold_bits: int,
    seconds: float,
    with_peer: bool,
) -> Iterator[Way]:
    """Build the others' indexes over all rows, uint8[n, 32]; faiss flat comes first."""

    def way(holder: Contestant, make: Callable[[Digests], Contestant] | None) -> Way:
        other = _Other(holder, make, rows, pool, threads, seconds)
        return Way(
            name=holder.name, run=other.run, build_s=holder.build_s, size_bytes=holder.size_bytes
        )

    for flat in (peers.faiss_flat, peers.flat_scan):
        yield way(flat(rows, threshold_bits), lambda held, flat=flat: flat(held, threshold_bits))  # type: ignore[misc]
    if with_peer and peer_is_installed() and len(rows) <= MOST_PEER_ROWS:
        *_, multi_hash = peers.peers(rows, threshold_bits)
        yield way(multi_hash, None)


@dataclass(slots=True)
class _Other:
    """An index over the rows, and how to make one over the signals where that may be faster."""

    holder: Contestant
    make: Callable[[Digests], Contestant] | None
    rows: Digests
    pool: ThreadPoolExecutor
    threads: int
    seconds: float
    chosen: dict[int, tuple[bool, float]] = field(default_factory=dict)
    """By number of signals: whether the signals are held, and the seconds that it all takes."""

    def run(self, signals: NewSignals) -> Run:
        count = len(signals.digests)
        if count not in self.chosen:
            self.chosen[count] = self._trial(signals.digests)
        held, expected_s = self.chosen[count]
        share = min(1.0, self.seconds / expected_s)
        return self._by_rows(signals, share) if held else self._by_signals(signals, share)

    def _trial(self, signals: Digests) -> tuple[bool, float]:
        few = signals[:_TRIAL_SIGNALS]
        self.holder.found(few[:1])
        by_signals = timed(self.holder.found, few)[0] * len(signals) / len(few) / self.threads
        if self.make is None:
            return False, by_signals
        some = self.rows[: max(1_024, _TRIAL_PAIRS // len(signals))]
        maker = self.make(signals)
        by_rows = timed(maker.found, some)[0] * len(self.rows) / len(some) / self.threads
        return by_rows < by_signals, min(by_rows, by_signals)

    def _by_signals(self, signals: NewSignals, share: float) -> Run:
        count = max(1, int(share * len(signals.digests)))
        asked = signals.digests[:count]
        parts = np.array_split(asked, min(self.threads, count))
        seconds, answers = timed(self._asked, self.holder, parts)
        found = {int(position) for answer in answers for position in answer[1]}
        near = signals.rows[:count]
        return Run(
            seconds=seconds * len(signals.digests) / count,
            share=count / len(signals.digests),
            exact=found == set(near[near >= 0].tolist()),
            how="holds the rows, asked for the signals",
        )

    def _by_rows(self, signals: NewSignals, share: float) -> Run:
        assert self.make is not None  # noqa: S101 - or it would not have been chosen
        count = max(1, int(share * len(self.rows)))
        parts = [self.rows[first : min(first + _CHUNK, count)] for first in range(0, count, _CHUNK)]
        build_s, holder = timed(self.make, signals.digests)
        seconds, answers = timed(self._asked, holder, parts)
        found = {
            int(row) + number * _CHUNK for number, answer in enumerate(answers) for row in answer[0]
        }
        return Run(
            seconds=build_s + seconds * len(self.rows) / count,
            share=count / len(self.rows),
            exact=found == {row for row in signals.near if row < count},
            how="holds the signals, asked for the rows",
        )

    def _asked(self, holder: Contestant, parts: Sequence[Digests]) -> list[tuple[np.ndarray, ...]]:
        return list(self.pool.map(holder.found, parts))
