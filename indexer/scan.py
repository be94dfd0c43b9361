"""Re-scans: signals against the images that are stored already, without a recrawl.

``delta`` takes the signals that were added since the last one; ``full`` takes all
and also ends matches that no longer hold (a lower threshold, another hasher).
Both compare outside any write transaction (``indexer.comparing``). What that finds is
checked again and written in one transaction together with the position, so that a scan
that was killed goes on where it was.

A scan writes its target before it begins. While a target stands, no row of the image
column may move to another place, or it could be missed. Two processes may scan at once, and
the later one may have more signals: the target of the one that goes further stays.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

import lmdb

from indexer.comparing import BLOCK_CHUNKS, Comparison
from indexer.exact import file_matches, signals_of
from indexer.exact_scan import FileScanner
from indexer.lookup import Lookup, NearestVariant, match_of
from indexer.match import FEED_KIND_PDQ, FEED_KIND_VIDEO_MD5
from indexer.model import ImageRecord, Match, SignalEventKind
from indexer.ports import Digests
from indexer.settings import ScanSettings
from indexer.store import ScanCursor, Store
from indexer.stored import StoredIndexes
from indexer.tracing import SCAN_CHUNK, span
from indexer.view import Keys, SignalView
from indexer.visits import replace_matches

DELTA, FULL = "delta", "full"
_LOG_BATCH = 10_000
_IMAGES_PER_COMMIT = 256
_COMMIT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a re-scan did.

    Attributes:
        signals: signals that were compared.
        images: image hash rows that were compared.
        indexed: how many of them by an index that is kept of them.
        matches: matches that are new or changed.
        complete: False when it was stopped; the next scan goes on from there.
    """

    signals: int
    images: int
    indexed: int = 0
    matches: int
    seconds: float
    complete: bool = True

    def with_part(self, part: Self) -> Self:
        """Add what a further pass did."""
        return replace(
            self,
            signals=self.signals + part.signals,
            images=self.images + part.images,
            indexed=self.indexed + part.indexed,
            matches=self.matches + part.matches,
            seconds=round(self.seconds + part.seconds, 3),
            complete=part.complete,
        )


Progress = Callable[[int, int], None]
"""Called with chunks done and chunks in all."""


class Scanner:
    """Compares stored images with signals again."""

    def __init__(
        self,
        store: Store,
        lookup: Lookup,
        stored: StoredIndexes,
        settings: ScanSettings,
        *,
        block_chunks: int = BLOCK_CHUNKS,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._stored = stored
        self._settings = settings
        self._block_chunks = block_chunks
        self._files = FileScanner(store)

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
                view, files = self._added_between(txn, cursor.done, cursor.target)
            if files:
                report = report.with_part(self._match_files(files, now=now, stopped=stopped))
                if not report.complete:
                    break
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
        self.end_stale(now=now)
        files = self._match_files(None, now=now, stopped=stopped)
        if not files.complete:
            stopped = _at_once
        report = self._run(FULL, view, cursor, now=now, stopped=stopped, on_progress=on_progress)
        return files.with_part(report)

    def signals(self, *, after: int = 0) -> tuple[int, Digests, Keys]:
        """Copy the live signals of pictures that the log adds behind a number, or all.

        All too where the log no longer reaches back so far: its old entries are forgotten.

        Returns:
            Number of the log that they stand at, digests uint8[n, 32], keys uint8[n, 16].
        """
        with self._store.read() as txn:
            if after and self._store.signals.log.reaches_back(txn, after):
                version = self._store.signals.version(txn)
                view, _files = self._added_between(txn, after, max(after, version))
                assert view.digests is not None  # noqa: S101 - a view of some signals holds them
                return version, view.digests, view.parts[0].keys
        return self._lookup.views.everything()

    def confirm(self, image_keys: Sequence[bytes], *, now: datetime) -> tuple[int, int]:
        """Compare images that were found elsewhere, as they are stored here, with all signals.

        Returns:
            Matches that are new or changed, and images that are not stored here.
        """
        logged = unknown = 0
        for start in range(0, len(image_keys), _IMAGES_PER_COMMIT):
            batch = image_keys[start : start + _IMAGES_PER_COMMIT]
            with self._store.write() as txn:
                logged += self._rematch(txn, batch, only=None, now=now)
                unknown += sum(self._store.images.find(txn, key) is None for key in batch)
        return logged, unknown

    def _match_files(
        self, keys: Sequence[bytes] | None, *, now: datetime, stopped: Callable[[], bool]
    ) -> ScanReport:
        """Match stored files with some signals of files, or with all."""
        started = time.monotonic()
        if keys is None:
            done = self._files.match_all(now=now, stopped=stopped)
        else:
            done = self._files.match_new(keys, now=now, stopped=stopped)
        return ScanReport(
            signals=len(keys or ()),
            images=0,
            matches=done.matches,
            seconds=round(time.monotonic() - started, 3),
            complete=done.complete,
        )

    def _added_between(
        self, txn: lmdb.Transaction, done: int, target: int
    ) -> tuple[SignalView, list[bytes]]:
        """Collect the signals that the log adds after ``done`` and that are still live.

        Returns:
            A view of those of pictures, and the keys of those of whole files.
        """
        keys: dict[bytes, bytes] = {}
        files: dict[bytes, None] = {}
        while done < target:
            events = list(self._store.signals.log.after(txn, done, limit=_LOG_BATCH))
            for event in events:
                if event.kind is SignalEventKind.ADDED and event.sequence <= target:
                    signal = self._store.signals.find(txn, event.signal_key)
                    if signal is not None and signal.kind == FEED_KIND_PDQ:
                        keys[signal.key] = signal.digest
                    elif signal is not None and signal.kind == FEED_KIND_VIDEO_MD5:
                        files[signal.key] = None
            done = events[-1].sequence
        return self._lookup.views.of(keys, version=target), list(files)

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
        run = _Run(name, view, cursor, cursor.next_chunk)
        self._commit(run, now=now)
        with self._store.read() as txn:
            chunks = self._store.images.column.chunk_count(txn)
        comparison = Comparison(
            self._store,
            self._stored,
            self._settings,
            view,
            threshold_bits=self._lookup.threshold_bits,
            block_chunks=self._block_chunks,
        )
        complete, committed_at = False, started
        with contextlib.closing(comparison.parts(cursor.next_chunk)) as parts:
            while not stopped():
                with span(SCAN_CHUNK, scan=name) as current:
                    part = next(parts, None)
                    current.set("images", 0 if part is None else part.images)
                if part is None:
                    complete = True
                    break
                run.images += part.images
                run.indexed += part.indexed
                run.owners.update(dict.fromkeys(part.owners))
                run.next_chunk = part.next_chunk
                due = time.monotonic() - committed_at >= _COMMIT_EVERY_S
                if due or len(run.owners) >= _IMAGES_PER_COMMIT:
                    self._commit(run, now=now)
                    committed_at = time.monotonic()
                on_progress(run.next_chunk, chunks)
        self._commit(run, now=now)
        if complete:
            self._finish(name, cursor)
        return ScanReport(
            signals=view.count,
            images=run.images,
            indexed=run.indexed,
            matches=run.matches,
            seconds=round(time.monotonic() - started, 3),
            complete=complete,
        )

    def _commit(self, run: "_Run", *, now: datetime) -> None:
        """Match the images that were found as they are stored now; then note the position."""
        image_keys = list(run.owners)
        for start in range(0, len(image_keys), _IMAGES_PER_COMMIT):
            batch = image_keys[start : start + _IMAGES_PER_COMMIT]
            with self._store.write() as txn:
                view = run.view if run.name == DELTA else None
                run.matches += self._rematch(txn, batch, only=view, now=now)
                if start + _IMAGES_PER_COMMIT >= len(image_keys):
                    self._note(txn, run)
        if not image_keys:
            with self._store.write() as txn:
                self._note(txn, run)
        run.owners.clear()

    def _note(self, txn: lmdb.Transaction, run: "_Run") -> None:
        """Note how far a scan has come, unless another process scans for more signals."""
        held = self._store.scan_cursors.load(txn, run.name)
        if held.target <= run.cursor.target:
            self._store.scan_cursors.put(txn, run.name, run.position)

    def _rematch(
        self,
        txn: lmdb.Transaction,
        image_keys: Sequence[bytes],
        *,
        only: SignalView | None,
        now: datetime,
    ) -> int:
        """Compare stored images again, with all signals, or ``only`` some: others' matches stay.

        All signals are those of this transaction: one that came after a full scan began was
        matched by its own delta scan, and that match must not end here.
        """
        find = self._store.images.find
        records = [record for key in image_keys if (record := find(txn, key)) is not None]
        rows = [self._store.images.rows(txn, record) for record in records]
        view = only or self._lookup.views.in_(txn)
        logged = 0
        for record, nearest in zip(records, self._lookup.nearest(view, rows), strict=True):
            held = self._store.images.matches(txn, record.key)
            matches = {
                key: match for key, match in held.items() if only or self._outlasts(match, record)
            }
            for signal_key, variant in nearest.items():
                match = self._match(txn, record, signal_key, variant)
                if match is not None:
                    matches[signal_key] = match
            if only is None:  # with some signals alone, held matches with files stay
                signals = signals_of(self._store, txn, record.md5)
                for match in file_matches(
                    signals, content_sha256=record.sha256, image_key=record.key
                ):
                    matches[match.signal_key] = match
            logged += replace_matches(self._store, txn, record.key, list(matches.values()), now=now)
        return logged

    def _outlasts(self, match: Match, record: ImageRecord) -> bool:
        """Say whether a match rests on more than stored hashes, and still holds."""
        return (
            match.weighted_bits is not None
            and match.weighted_bits <= self._lookup.deep_threshold_bits
            and match.content_sha256 == record.sha256
        )

    def _match(
        self, txn: lmdb.Transaction, record: ImageRecord, signal_key: bytes, nearest: NearestVariant
    ) -> Match | None:
        signal = self._store.signals.find(txn, signal_key)
        if signal is None:
            return None
        return match_of(
            nearest,
            signal_key=signal_key,
            feed=signal.feed,
            threshold_bits=self._lookup.threshold_bits,
            label=record.label(nearest.row),
            content_sha256=record.sha256,
            image_key=record.key,
        )

    def end_stale(self, *, now: datetime) -> None:
        """Look again at every image that matches now: a full scan also ends matches."""
        with self._store.read() as txn:
            image_keys = self._store.images.matching_keys(txn)
        for start in range(0, len(image_keys), _IMAGES_PER_COMMIT):
            with self._store.write() as txn:
                batch = image_keys[start : start + _IMAGES_PER_COMMIT]
                self._rematch(txn, batch, only=None, now=now)

    def _finish(self, name: str, cursor: ScanCursor) -> None:
        with self._store.write() as txn:
            held = self._store.scan_cursors.load(txn, name)
            done = max(held.done, cursor.target)
            over = replace(held, done=done) if held.target > done else ScanCursor(done=done)
            if held != over:
                self._store.scan_cursors.put(txn, name, over)


def _at_once() -> bool:
    """Stop a scan that was stopped before it began: its position is kept."""
    return True


@dataclass(slots=True)
class _Run:
    """How far one pass has come.

    Attributes:
        owners: keys of images that may match and that are not matched yet.
    """

    name: str
    view: SignalView
    cursor: ScanCursor
    next_chunk: int
    images: int = 0
    indexed: int = 0
    matches: int = 0
    owners: dict[bytes, None] = field(default_factory=dict)

    @property
    def position(self) -> ScanCursor:
        """Where the pass goes on once ``owners`` are matched."""
        return replace(self.cursor, next_chunk=self.next_chunk)
