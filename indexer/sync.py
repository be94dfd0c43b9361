"""Feed to store: applying the pages of a feed, exactly and repeatably.

The steps of one set of pages:

(1) Go on with the set that is under way, or start one: from the cursor, less an
    overlap, since the feed does not say whether its start is inclusive.
(2) Fetch a page. A token that is no longer accepted restarts the set.
(3) Apply its records and, in the same transaction, note the next page.
(4) With the last page the cursor moves, never backwards. What a full listing does
    not name any more is withdrawn in the same transaction.

Rules for one record (docs/adr/0003): a record is a full snapshot. What has ended
is taken out at once, whatever its time. What is live does not revive a withdrawn
signal unless the feed says that it changed later, and does not replace a later word.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum, auto

import lmdb

from indexer.errors import (
    FeedProtocolError,
    FeedUnavailableError,
    InvalidDigestError,
    PageTokenExpiredError,
)
from indexer.match import (
    FEED_KIND_PDQ,
    FEED_KIND_VIDEO_MD5,
    MATCHED_KINDS,
    is_degenerate,
    md5_value,
    names_no_file,
    parse_digest,
    parse_md5,
)
from indexer.model import FeedPage, FeedRecord, RefusedRecord, Signal
from indexer.ports import Feed
from indexer.store import FeedCursor, QuarantinedRecord, Store, Tombstone
from indexer.store.columns import ColumnWriter
from indexer.tracing import FEED_PAGE, span

MALFORMED_DIGEST = "malformed_digest"
DEGENERATE_DIGEST = "degenerate_digest"
_MAX_RESTARTS = 3


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """Counts of one sync of one feed.

    Attributes:
        records: entries read, repeated ones included.
        quarantined: entries newly put into quarantine.
        unknown: words and fields that are not known; their records are kept.
        stale: entries that an equally new or newer word outweighs.
        active: signals that are matched after the sync.
        kept: live signals of kinds that are not matched, by kind.
        cursor: start of the next set, in unix seconds.
        complete: False when it was stopped between two pages.
    """

    feed: str
    pages: int = 0
    records: int = 0
    added: int = 0
    changed: int = 0
    withdrawn: int = 0
    quarantined: int = 0
    unknown: int = 0
    stale: int = 0
    restarts: int = 0
    active: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    cursor: int = 0
    complete: bool = True


class _Effect(StrEnum):
    NOTHING = auto()
    ADDED = auto()
    CHANGED = auto()
    WITHDRAWN = auto()
    QUARANTINED = auto()
    STALE = auto()


@dataclass(frozen=True, slots=True)
class _Writing:
    txn: lmdb.Transaction
    rows: ColumnWriter
    now: datetime


class FeedSync:
    """Applies one feed to the store."""

    def __init__(self, store: Store, feed: Feed, *, overlap_s: int) -> None:
        self._store = store
        self._feed = feed
        self._overlap_s = overlap_s
        self._seen: set[bytes] = set()

    def run(
        self,
        *,
        now: datetime,
        full: bool = False,
        stopped: Callable[[], bool] = lambda: False,
        on_page: Callable[[SyncReport], None] = lambda _report: None,
    ) -> SyncReport:
        """Apply everything that the feed has changed since the cursor.

        Args:
            now: time of the sync.
            full: read the feed from its beginning; the cursor stays where it is until the end.
            stopped: asked between pages; a stopped sync goes on next time.
            on_page: called after each page that was applied.

        Raises:
            FeedError: the feed failed; pages that were applied stay applied.
            StoreError: the page under way was rolled back.
        """
        report = SyncReport(feed=self._feed.name)
        cursor = self._start(full=full)  # (1)
        asked: set[str | None] = set()
        while True:
            asked.add(cursor.token)
            with span(FEED_PAGE, feed=self._feed.name) as current:
                page = self._fetch(report, cursor)  # (2)
                if page is None:
                    cursor = replace(cursor, token=None, pages=0, newest=0)
                    asked.clear()
                    continue
                if not page.last and page.next_token in asked:
                    raise FeedProtocolError(
                        f"{self._feed.name}: a page leads back to one before; this would never end"
                    )
                cursor = self._apply_page(report, cursor, page, now=now)
                current.set("records", len(page.records))
            on_page(report)
            if page.last:
                break
            if stopped():
                report.complete = False
                break
        self._summarise(report)
        return report

    def _start(self, *, full: bool) -> FeedCursor:
        self._seen.clear()
        with self._store.read() as txn:
            cursor = self._store.feed_cursors.load(txn, self._feed.name)
        if cursor.token is not None and not full:
            return cursor
        since = 0 if full else max(0, cursor.cursor - self._overlap_s)
        return replace(cursor, since=since, token=None, pages=0, newest=0)

    def _fetch(self, report: SyncReport, cursor: FeedCursor) -> FeedPage | None:
        try:
            return self._feed.fetch_page(since=cursor.since, token=cursor.token)
        except PageTokenExpiredError:
            report.restarts += 1
            self._seen.clear()
            if report.restarts > _MAX_RESTARTS:
                raise FeedUnavailableError(
                    f"{self._feed.name}: page tokens keep expiring before the set ends; try later"
                ) from None
            return None

    def _apply_page(
        self, report: SyncReport, cursor: FeedCursor, page: FeedPage, *, now: datetime
    ) -> FeedCursor:
        """Apply a page and move on, in one transaction; (3) and (4)."""
        effects: list[_Effect] = []
        newest = cursor.newest
        with self._store.write() as txn, self._store.signals.column.writer(txn) as rows:
            writing = _Writing(txn, rows, now)
            for record in page.records:
                effects.append(self._apply(writing, record))
                newest = max(newest, record.modified_at or 0)
            effects += [self._refuse(writing, refused) for refused in page.refused]
            if page.last and self._feed.lists_everything:
                effects += self._withdraw_unseen(writing)
            # Another sync of this feed may have come further meanwhile: never back.
            held = self._store.feed_cursors.load(txn, self._feed.name)
            cursor = replace(cursor, newest=newest, cursor=max(cursor.cursor, held.cursor))
            cursor = self._moved(cursor, page, now=now)
            # A full listing is read anew after a crash: what it names has to be known whole.
            stored = replace(cursor, token=None) if self._feed.lists_everything else cursor
            self._store.feed_cursors.put(txn, self._feed.name, stored)
        report.pages += 1
        report.records += len(page.records) + len(page.refused)
        report.unknown += sum(len(record.unknown) for record in page.records)
        for effect in effects:
            if effect is not _Effect.NOTHING:
                setattr(report, effect.value, getattr(report, effect.value) + 1)
        return cursor

    def _moved(self, cursor: FeedCursor, page: FeedPage, *, now: datetime) -> FeedCursor:
        if not page.last:
            return replace(cursor, token=page.next_token, pages=cursor.pages + 1)
        offered = cursor.newest if page.cursor is None else page.cursor
        # A start in the future would skip whatever changes until then.
        moved = max(cursor.cursor, min(offered, int(now.timestamp())))
        # A store that was put back knows what was withdrawn once the feed was read from its
        # beginning. The people who report to us directly have no feed: a person says so.
        restored_from = cursor.restored_from if cursor.since else None
        return FeedCursor(cursor=moved, synced_at=now, restored_from=restored_from)

    def _apply(self, writing: _Writing, record: FeedRecord) -> _Effect:
        """Apply one entry by the rules above."""
        signals = self._store.signals
        reason, digest = _inspect(record)
        key = signals.key(feed=self._feed.name, kind=record.kind, value=digest)
        self._note_seen(key)
        self._drop_former(writing, record, digest)
        held = signals.find(writing.txn, key)
        if not record.is_live:
            return self._withdraw(writing, key, held, record.modified_at)
        stone = signals.find_tombstone(writing.txn, key)
        if stone is not None and not self._revives(record, stone):
            return _Effect.STALE
        if reason is not None:
            return self._quarantine(writing, key, record, reason)
        if held is None:
            signals.add(writing.txn, writing.rows, self._signal(key, record, digest, writing.now))
            return _Effect.ADDED
        if not self._feed.lists_everything and _is_older(record.modified_at, held.modified_at):
            return _Effect.STALE
        fresh = replace(
            self._signal(key, record, digest, writing.now), added_at=held.added_at, row=held.row
        )
        if replace(fresh, changed_at=held.changed_at) == held:
            return _Effect.NOTHING
        signals.change(writing.txn, held, fresh)
        return _Effect.CHANGED

    def _drop_former(self, writing: _Writing, record: FeedRecord, digest: bytes) -> None:
        """Take out an MD5 that was kept as it was written, before MD5s were read: in capitals."""
        written = record.value.strip().encode()
        if record.kind == FEED_KIND_VIDEO_MD5 and written != digest:
            signals = self._store.signals
            key = signals.key(feed=self._feed.name, kind=record.kind, value=written)
            held = signals.find(writing.txn, key)
            if held is not None:
                self._withdraw(writing, key, held, record.modified_at)

    def _note_seen(self, key: bytes) -> None:
        """Note what a full listing names; of other feeds nothing has to be known whole."""
        if self._feed.lists_everything:
            self._seen.add(key)

    def _revives(self, record: FeedRecord, stone: Tombstone) -> bool:
        """Say whether a live entry outweighs an earlier withdrawal."""
        if self._feed.lists_everything or stone.modified_at is None:
            return True
        return record.modified_at is not None and record.modified_at > stone.modified_at

    def _signal(self, key: bytes, record: FeedRecord, digest: bytes, now: datetime) -> Signal:
        return Signal(
            key=key,
            feed=self._feed.name,
            kind=record.kind,
            digest=digest,
            status=record.status,
            cases=record.cases,
            feedback=record.feedback,
            modified_at=record.modified_at,
            added_at=now,
            changed_at=now,
            extra=record.extra,
        )

    def _withdraw(
        self, writing: _Writing, key: bytes, held: Signal | None, modified_at: int | None
    ) -> _Effect:
        signals = self._store.signals
        signals.release(writing.txn, key)
        if held is None:
            # Remembered all the same: an older word that is repeated must not revive it.
            stone = signals.find_tombstone(writing.txn, key)
            if stone is None or _is_dated_later(modified_at, stone.modified_at):
                signals.bury(
                    writing.txn,
                    key,
                    feed=self._feed.name,
                    modified_at=modified_at,
                    now=stone.withdrawn_at if stone else writing.now,
                )
            return _Effect.NOTHING
        times = [time for time in (modified_at, held.modified_at) if time is not None]
        signals.withdraw(
            writing.txn, writing.rows, held, modified_at=max(times, default=None), now=writing.now
        )
        self._store.images.drop_matches_of_signal(writing.txn, key)
        return _Effect.WITHDRAWN

    def _withdraw_unseen(self, writing: _Writing) -> list[_Effect]:
        """Withdraw what a full listing does not name any more, from quarantine too."""
        for key in self._store.signals.quarantined_keys(writing.txn, self._feed.name):
            if key not in self._seen:
                self._store.signals.release(writing.txn, key)
        held = [
            signal
            for signal in self._store.signals.every(writing.txn)
            if signal.feed == self._feed.name and signal.key not in self._seen
        ]
        return [self._withdraw(writing, signal.key, signal, None) for signal in held]

    def _quarantine(
        self, writing: _Writing, key: bytes, record: FeedRecord, reason: str
    ) -> _Effect:
        kept = QuarantinedRecord(
            feed=self._feed.name,
            reason=reason,
            kind=record.kind,
            raw=json.dumps({"hashValue": record.value, "hashStatus": record.status}),
            at=writing.now,
        )
        new = self._store.signals.quarantine(writing.txn, key, kept)
        return _Effect.QUARANTINED if new else _Effect.NOTHING

    def _refuse(self, writing: _Writing, refused: RefusedRecord) -> _Effect:
        key = self._store.signals.key(feed=self._feed.name, kind="", value=refused.raw.encode())
        self._note_seen(key)
        kept = QuarantinedRecord(
            feed=self._feed.name, reason=refused.reason, kind="", raw=refused.raw, at=writing.now
        )
        new = self._store.signals.quarantine(writing.txn, key, kept)
        return _Effect.QUARANTINED if new else _Effect.NOTHING

    def _summarise(self, report: SyncReport) -> None:
        with self._store.read() as txn:
            counts = self._store.signals.counts(txn, self._feed.name)
            report.cursor = self._store.feed_cursors.load(txn, self._feed.name).cursor
        report.active = sum(counts.pop(kind, 0) for kind in MATCHED_KINDS)
        report.kept = counts


def _inspect(record: FeedRecord) -> tuple[str | None, bytes]:
    """Return why an entry cannot be matched (None if it can), and the bytes that name it."""
    text = record.value.strip()
    try:
        if record.kind == FEED_KIND_PDQ:
            digest = parse_digest(text)
            return (DEGENERATE_DIGEST if is_degenerate(digest) else None), digest
        if record.kind == FEED_KIND_VIDEO_MD5:
            md5 = parse_md5(text)
            return (DEGENERATE_DIGEST if names_no_file(md5) else None), md5_value(md5)
    except InvalidDigestError:
        return MALFORMED_DIGEST, text.lower().encode()
    return None, text.encode()


def _is_older(offered: int | None, held: int | None) -> bool:
    """Say whether a time is before another; an unknown time is never older."""
    return offered is not None and held is not None and offered < held


def _is_dated_later(offered: int | None, held: int | None) -> bool:
    """Say whether a time says more than the one held: it is later, or the first that is known."""
    return offered is not None and (held is None or offered > held)
