"""Re-scans: signals against the images that are stored already, without a recrawl.

``delta`` takes the signals that were added since the last one; ``full`` takes all
and also ends matches that no longer hold (a lower threshold, another hasher).
Both stream the hash column chunk by chunk, outside any write transaction; what a
chunk finds is checked again and written in one transaction together with the
position, so that a scan that was killed goes on where it was.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import lmdb
import numpy as np

from indexer.lookup import HashRows, Lookup, match_of
from indexer.match import FEED_KIND_PDQ
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, Match, SignalEventKind
from indexer.store import ScanCursor, Store
from indexer.view import SignalView
from indexer.visits import replace_matches

DELTA, FULL = "delta", "full"
_LOG_BATCH = 10_000
_CHUNKS_PER_COMMIT = 64
_IMAGES_PER_COMMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a re-scan did.

    Attributes:
        signals: signals that were compared.
        images: image hash rows that were compared.
        matches: matches that are new or changed.
        complete: False when it was stopped; the next scan goes on from there.
    """

    signals: int
    images: int
    matches: int
    seconds: float
    complete: bool = True

    def with_part(self, part: Self) -> Self:
        """Add what a further pass did."""
        return replace(
            self,
            signals=self.signals + part.signals,
            images=self.images + part.images,
            matches=self.matches + part.matches,
            seconds=round(self.seconds + part.seconds, 3),
            complete=part.complete,
        )


Progress = Callable[[int, int], None]
"""Called with chunks done and chunks in all."""


class Scanner:
    """Compares stored images with signals again."""

    def __init__(self, store: Store, lookup: Lookup) -> None:
        self._store = store
        self._lookup = lookup

    def delta(
        self,
        *,
        now: datetime,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda _done, _all: None,
    ) -> ScanReport:
        """Compare the signals added since the last delta scan with every stored image.

        A scan that was stopped goes on first; what was added since then is a second pass.
        """
        with self._store.read() as txn:
            version = self._store.signals.version(txn)
        report, done = ScanReport(signals=0, images=0, matches=0, seconds=0.0), -1
        while report.complete and done < version:
            with self._store.read() as txn:
                cursor = self._store.scan_cursors.load(txn, DELTA)
                if not cursor.target:
                    cursor = ScanCursor(done=cursor.done, target=max(cursor.done, version))
                view = self._added_between(txn, cursor.done, cursor.target)
            if view.count:
                part = self._run(
                    DELTA, view, cursor, now=now, stopped=stopped, on_progress=on_progress
                )
                report = report.with_part(part)
            else:
                self._finish(DELTA, cursor)
            done = cursor.target
        return report

    def full(
        self,
        *,
        now: datetime,
        resume: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        on_progress: Progress = lambda _done, _all: None,
    ) -> ScanReport:
        """Compare every signal with every stored image; goes on from a stop if ``resume``."""
        view = self._lookup.views.newest()
        with self._store.read() as txn:
            cursor = self._store.scan_cursors.load(txn, FULL)
        if not resume or not cursor.target:
            cursor = ScanCursor(target=view.version)
        self._end_stale(view, now=now)
        return self._run(FULL, view, cursor, now=now, stopped=stopped, on_progress=on_progress)

    def _added_between(self, txn: lmdb.Transaction, done: int, target: int) -> SignalView:
        """Collect the signals that the log adds after ``done`` and that are still live."""
        keys: dict[bytes, bytes] = {}
        while done < target:
            events = list(self._store.signals.log.after(txn, done, limit=_LOG_BATCH))
            for event in events:
                if event.kind is SignalEventKind.ADDED and event.sequence <= target:
                    signal = self._store.signals.find(txn, event.signal_key)
                    if signal is not None and signal.kind == FEED_KIND_PDQ:
                        keys[signal.key] = signal.digest
            done = events[-1].sequence
        return self._lookup.views.of(keys, version=target)

    def _run(
        self,
        name: str,
        view: SignalView,
        cursor: ScanCursor,
        *,
        now: datetime,
        stopped: Callable[[], bool],
        on_progress: Progress,
    ) -> ScanReport:
        started = time.monotonic()
        images = matches = 0
        number = cursor.next_chunk
        with self._store.read() as txn:
            chunks = self._store.images.column.chunk_count(txn)
        while number < chunks:
            if stopped():
                self._save(name, cursor, number)
                return self._report(view, images, matches, started, complete=False)
            rows, owners = self._hits(view, number)
            images += rows
            if owners:
                matches += self._write(name, view, cursor, number, owners, now=now)
            elif number % _CHUNKS_PER_COMMIT == 0:
                self._save(name, cursor, number + 1)
            number += 1
            on_progress(number, chunks)
        self._finish(name, cursor)
        return self._report(view, images, matches, started, complete=True)

    def _hits(self, view: SignalView, number: int) -> tuple[int, list[bytes]]:
        """Compare one chunk: how many rows it has, and the keys of the images that match."""
        column = self._store.images.column
        with self._store.read() as txn:
            chunk = column.chunk(txn, number)
            live = np.flatnonzero(chunk.flags)
            queries = chunk.digests[live].reshape(-1, DIGEST_BYTES)
            found, _, _ = view.find(queries, threshold_bits=self._lookup.threshold_bits)
            hit = {chunk.owners[live[row]].tobytes() for row in np.unique(found // DIGESTS_PER_ROW)}
        return len(live), sorted(hit)

    def _write(
        self,
        name: str,
        view: SignalView,
        cursor: ScanCursor,
        number: int,
        image_keys: list[bytes],
        *,
        now: datetime,
    ) -> int:
        """Match the images of a chunk as they are stored now, with the position."""
        logged = 0
        with self._store.write() as txn:
            for image_key in image_keys:
                logged += self._rematch(txn, view, image_key, keep=name == DELTA, now=now)
            state = ScanCursor(done=cursor.done, target=cursor.target, next_chunk=number + 1)
            self._store.scan_cursors.put(txn, name, state)
        return logged

    def _rematch(
        self,
        txn: lmdb.Transaction,
        view: SignalView,
        image_key: bytes,
        *,
        keep: bool,
        now: datetime,
    ) -> int:
        """Compare one stored image again; with ``keep``, matches of other signals stay.

        Without it the newest signals count: one that came after the scan's view was
        matched by its own delta scan, and that match must not end here.
        """
        if not keep:
            view = self._lookup.views.in_(txn)
        record = self._store.images.find(txn, image_key)
        if record is None:
            return 0
        rows: HashRows = self._store.images.rows(txn, record)
        held = self._store.images.matches(txn, image_key)
        matches: dict[bytes, Match] = dict(held) if keep else {}
        for signal_key, nearest in self._lookup.nearest(view, [rows])[0].items():
            signal = self._store.signals.find(txn, signal_key)
            if signal is not None:
                matches[signal_key] = match_of(
                    nearest,
                    signal_key=signal_key,
                    feed=signal.feed,
                    threshold_bits=self._lookup.threshold_bits,
                    quality=record.quality,
                    content_sha256=record.sha256,
                    image_key=image_key,
                )
        return replace_matches(self._store, txn, image_key, list(matches.values()), now=now)

    def _end_stale(self, view: SignalView, *, now: datetime) -> None:
        """Look again at every image that matches now: a full scan also ends matches."""
        with self._store.read() as txn:
            image_keys = self._store.images.matching_keys(txn)
        for start in range(0, len(image_keys), _IMAGES_PER_COMMIT):
            with self._store.write() as txn:
                for image_key in image_keys[start : start + _IMAGES_PER_COMMIT]:
                    self._rematch(txn, view, image_key, keep=False, now=now)

    def _save(self, name: str, cursor: ScanCursor, next_chunk: int) -> None:
        with self._store.write() as txn:
            state = ScanCursor(done=cursor.done, target=cursor.target, next_chunk=next_chunk)
            self._store.scan_cursors.put(txn, name, state)

    def _finish(self, name: str, cursor: ScanCursor) -> None:
        with self._store.write() as txn:
            held = self._store.scan_cursors.load(txn, name)
            done = max(held.done, cursor.target)
            if held != ScanCursor(done=done):
                self._store.scan_cursors.put(txn, name, ScanCursor(done=done))

    def _report(
        self, view: SignalView, images: int, matches: int, started: float, *, complete: bool
    ) -> ScanReport:
        return ScanReport(
            signals=view.count,
            images=images,
            matches=matches,
            seconds=round(time.monotonic() - started, 3),
            complete=complete,
        )
