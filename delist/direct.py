"""Hashes of people who report to us directly: a feed of their own, ``direct``.

They enter the store as the records of any feed do, with a case reference that the operator
gives, so a withdrawal, the survivor's report and access codes work as for other feeds. The
policy never lets them act without a person (``policy.rules.DIRECT_FEED``): whoever reports
directly has proved nothing. No feed of the configuration may have that name.

A record is a snapshot, so what is held is read and written while nobody else writes to the case
store. The act is on record before it is done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import lmdb

from delist.errors import UnknownCaseRefError, UsageError
from delist.policy import DIRECT_FEED
from delist.review import checked_actor
from delist.store import Database, audit
from indexer.hashing.corroboration import CorroboratingHash, second_of_traits
from indexer.match import (
    FEED_KIND_PDQ,
    FEED_KIND_VIDEO_MD5,
    is_degenerate,
    md5_value,
    names_no_file,
    parse_digest,
    parse_md5,
    signal_value,
)
from indexer.model import (
    DIGEST_BYTES,
    MD5_BYTES,
    CaseStatus,
    FeedPage,
    FeedRecord,
    HashedImage,
    Signal,
    has_ended,
)
from indexer.store import Store
from indexer.sync import FeedSync, SyncReport

RECEIVED, WITHDRAWN = "Received", "Withdrawn"
MIN_QUALITY = 50
_MAX_REFERENCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedHash:
    """One hash as the feed ``direct`` holds it.

    Attributes:
        kind: ``ImagePDQ`` or ``VideoMD5``.
        value: hex digits, in lower case.
        second: the second hash of the picture (docs/adr/0036), which corroborates matches and
            never leaves this machine; None where nobody made one.
    """

    kind: str
    value: str = field(repr=False)
    second: CorroboratingHash | None = field(default=None, repr=False, compare=False)

    @property
    def key_bytes(self) -> bytes:
        """What the signal's key is made from."""
        if self.kind == FEED_KIND_PDQ:
            return bytes.fromhex(self.value)
        return md5_value(bytes.fromhex(self.value))


@dataclass(slots=True)
class _OnePage:
    """A feed of one page in memory, for ``FeedSync``."""

    records: tuple[FeedRecord, ...]
    name: str = DIRECT_FEED
    lists_everything: bool = False

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        """Return the page."""
        del since, token
        return FeedPage(records=self.records, last=True)


class DirectReports:
    """Adds and withdraws what was reported to us directly."""

    def __init__(self, store: Store, database: Database, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._database = database
        self._clock = clock

    def add(self, hashes: Sequence[ReportedHash], *, reference: str, actor: str) -> SyncReport:
        """Take hashes in under a case reference of ours; what is there already gains it.

        Raises:
            UsageError: no hash, or a name or reference that is missing, too long or no text.
        """
        actor, reference = checked_actor(actor), checked_reference(reference)
        if not hashes:
            raise UsageError("nothing to add: name an image or a digest")
        self._note("direct.added", actor, len(hashes))
        with self._database.write(), self._store.read() as txn:
            now = self._clock()
            records = [
                self._record(txn, entry, {reference: RECEIVED}, now=now)
                for entry in dict.fromkeys(hashes)
            ]
            report = self._apply(records, now=now)
            self._keep_seconds(hashes, reference)
            return report

    def withdraw(self, reference: str, *, actor: str) -> SyncReport:
        """End a case reference: a hash that no other one is behind leaves the store.

        Raises:
            UsageError: the name is missing, too long or no text.
            UnknownCaseRefError: nothing was reported to us under this reference.
        """
        actor, reference = checked_actor(actor), checked_reference(reference)
        with self._store.read() as txn:
            known = self._signals(txn, reference)
        if known is None:
            raise UnknownCaseRefError("nothing was reported directly under this case reference")
        self._note("direct.withdrawn", actor, len(known))
        with self._database.write(), self._store.read() as txn:
            now = self._clock()
            records = [
                self._record(txn, hash_of(signal), {reference: WITHDRAWN}, now=now)
                for signal in self._signals(txn, reference) or ()
            ]
            return self._apply(records, now=now)

    def _signals(self, txn: lmdb.Transaction, reference: str) -> list[Signal] | None:
        """Load the live signals of a reference; None where there never were any of this feed."""
        signals = self._store.signals
        known, live = False, []
        for key, is_live in signals.signals_of_case(txn, reference).items():
            signal, stone = signals.find(txn, key), signals.find_tombstone(txn, key)
            feed = signal.feed if signal else stone.feed if stone else ""
            known = known or feed == DIRECT_FEED
            if is_live and signal is not None and feed == DIRECT_FEED:
                live.append(signal)
        return live if known else None

    def _record(
        self,
        txn: lmdb.Transaction,
        entry: ReportedHash,
        change: dict[str, str],
        *,
        now: datetime,
    ) -> FeedRecord:
        """Write the newest snapshot: what is held, with one case changed."""
        signals = self._store.signals
        key = signals.key(feed=DIRECT_FEED, kind=entry.kind, value=entry.key_bytes)
        held, stone = signals.find(txn, key), signals.find_tombstone(txn, key)
        statuses = {case.case_ref: case.status for case in held.cases} if held else {}
        statuses |= change
        cases = tuple(CaseStatus(case_ref=ref, status=word) for ref, word in statuses.items())
        ended = all(has_ended(case.status) for case in cases)
        before = [at.modified_at or 0 for at in (held, stone) if at is not None]
        return FeedRecord(
            kind=entry.kind,
            value=entry.value,
            status=WITHDRAWN if ended else RECEIVED,
            cases=cases,
            # Later than any word before, so that it counts within the same second too.
            modified_at=max([int(now.timestamp()), *(at + 1 for at in before)]),
        )

    def _apply(self, records: Sequence[FeedRecord], *, now: datetime) -> SyncReport:
        feed = _OnePage(tuple(records))
        return FeedSync(self._store, feed, overlap_s=0).run(now=now)

    def _keep_seconds(self, hashes: Sequence[ReportedHash], reference: str) -> None:
        signals = self._store.signals
        with self._store.write() as txn:
            for entry in hashes:
                key = signals.key(feed=DIRECT_FEED, kind=entry.kind, value=entry.key_bytes)
                if entry.second is not None and signals.find(txn, key) is not None:
                    case_key = signals.case_key(reference)
                    signals.seconds.put(txn, key, case_key=case_key, second=bytes(entry.second))

    def _note(self, act: str, actor: str, hashes: int) -> None:
        with self._database.write() as connection:
            audit.append(
                connection,
                actor=actor,
                act=act,
                subject=DIRECT_FEED,
                now=self._clock(),
                detail={"hashes": hashes},
            )


def hash_of(signal: Signal) -> ReportedHash:
    """Return the hash of a signal."""
    return ReportedHash(kind=signal.kind, value=signal_value(signal))


def hash_of_image(hashed: HashedImage) -> ReportedHash:
    """Return what an image or a video that somebody brought is found by.

    An image by its upright hash, a video by the MD5 of its bytes.

    Raises:
        UsageError: the hash says too little, and would match strangers.
    """
    if hashed.md5:
        return ReportedHash(kind=FEED_KIND_VIDEO_MD5, value=hashed.md5.hex())
    if hashed.quality < MIN_QUALITY:
        raise UsageError(f"its hash says too little (quality {hashed.quality} of 100)")
    found = parse_hash(hashed.rows[0][1][:DIGEST_BYTES].hex())
    return replace(found, second=second_of_traits(hashed.traits[0]) if hashed.traits else None)


def parse_hash(text: str) -> ReportedHash:
    """Read 64 hex digits of PDQ, or 32 of a video's MD5.

    Raises:
        InvalidDigestError: they are neither.
        UsageError: the hash of a plain picture or of an empty file.
    """
    text = text.strip()
    if len(text) == 2 * MD5_BYTES:
        md5 = parse_md5(text)
        if names_no_file(md5):
            raise UsageError("this is the MD5 of an empty file")
        return ReportedHash(kind=FEED_KIND_VIDEO_MD5, value=md5.hex())
    digest = parse_digest(text)
    if is_degenerate(digest):
        raise UsageError("this is no hash of a photograph: it would match plain pictures")
    return ReportedHash(kind=FEED_KIND_PDQ, value=digest.hex())


def checked_reference(reference: str) -> str:
    """Return a case reference, trimmed.

    Raises:
        UsageError: it is missing, too long, or no text.
    """
    reference = reference.strip()
    if not 0 < len(reference) <= _MAX_REFERENCE or not reference.isprintable():
        raise UsageError(f"a case reference of 1 to {_MAX_REFERENCE} characters is needed")
    return reference
