"""Signals as they are held, their digests in a column, and what stays of withdrawn ones.

Databases::

    signals            key -> Signal, sealed (sealed.py): withdrawn, nothing of it can be read
    signal_hashes      the digests that are matched (columns.py)
    signal_tombstones  key -> Tombstone: no digest, only what keeps a re-scan from reviving it
    signal_cases       keyed hash of a case reference + signal key -> b"1" live or b"0" ended,
                       then when it was linked first, in unix seconds, 8 bytes
    signal_counts      feed NUL kind, cut to 256 bytes -> number held, 8 bytes
    quarantine         key -> QuarantinedRecord, sealed
    signal_seconds     second hashes of reporters (seconds.py)
    signal_log         sequence -> SignalEvent; its last number is the version of all signals
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b

import lmdb

from indexer.errors import StoreDamagedError
from indexer.match import FEED_KIND_PDQ
from indexer.model import CaseStatus, Signal, SignalEvent, SignalEventKind, has_ended
from indexer.store.backgrounds import BackgroundStore
from indexer.store.codec import RecordCodec
from indexer.store.columns import ColumnWriter, Compact, HashColumn
from indexer.store.environment import Environment
from indexer.store.logs import EventLog
from indexer.store.sealed import SealedRecords
from indexer.store.seconds import SecondHashStore

_KEY_BYTES = 16
_ROWS_PER_CHUNK = 4096
_LIVE, _ENDED = b"1", b"0"
# The kind is the feed's word, of any length; a key of LMDB has 511 bytes at most.
_KIND_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What stays of a withdrawn signal: when, by the feed's clock and by ours."""

    feed: str
    modified_at: int | None
    withdrawn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """A feed entry that is kept but not matched, and why."""

    feed: str
    reason: str
    kind: str
    raw: str = field(repr=False)
    at: datetime


class SignalStore:
    """All signals of all feeds. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment, secret: bytes) -> None:
        self._secret = secret
        self._records = SealedRecords(environment, "signals", Signal)
        self._tombstones = environment.database(b"signal_tombstones")
        self._cases = environment.database(b"signal_cases")
        self._counts = environment.database(b"signal_counts")
        self._quarantine = SealedRecords(environment, "quarantine", QuarantinedRecord)
        self._tombstone_codec = RecordCodec(Tombstone)
        self.backgrounds = BackgroundStore(environment)
        self.seconds = SecondHashStore(environment)
        self.log = EventLog(environment, "signal_log", SignalEvent)
        self.column = HashColumn(
            environment, "signal_hashes", digests_per_row=1, rows_per_chunk=_ROWS_PER_CHUNK
        )

    def key(self, *, feed: str, kind: str, value: bytes) -> bytes:
        """Name a signal: a keyed hash, since the digest itself is as good as a picture."""
        return self._keyed(b"signal", feed.encode(), kind.encode(), value)

    def content_name(self, digest: bytes) -> bytes:
        """Name content of which a digest alone is known, 32 bytes, as SHA-256 names bytes."""
        return self._keyed(b"content", digest) + self._keyed(b"content, rest", digest)

    def case_key(self, case_ref: str) -> bytes:
        """Name a case reference without holding it."""
        return self._keyed(b"case", case_ref.strip().encode("utf-8", "surrogatepass"))

    def _keyed(self, *parts: bytes) -> bytes:
        joined = b"".join(len(part).to_bytes(4) + part for part in parts)
        return blake2b(joined, digest_size=_KEY_BYTES, key=self._secret).digest()

    def find(self, txn: lmdb.Transaction, key: bytes) -> Signal | None:
        """Find a live signal."""
        return self._records.find(txn, key)

    def find_tombstone(self, txn: lmdb.Transaction, key: bytes) -> Tombstone | None:
        """Find what stays of a withdrawn signal."""
        raw = txn.get(key, db=self._tombstones)
        return None if raw is None else self._tombstone_codec.decode(raw)

    def every(self, txn: lmdb.Transaction) -> Iterator[Signal]:
        """Iterate over all live signals, in the order of their keys."""
        for _, signal in self._records.every(txn):
            yield signal

    def version(self, txn: lmdb.Transaction) -> int:
        """Return the number of the last change of any signal."""
        return self.log.last_sequence(txn)

    def add(self, txn: lmdb.Transaction, writer: ColumnWriter, signal: Signal) -> None:
        """Store a new live signal; PDQ digests enter the column through ``writer``."""
        row = None
        if signal.kind == FEED_KIND_PDQ:
            row = writer.add(digests=signal.digest, owner=signal.key)
        stored = replace(signal, row=row)
        self._records.put(txn, signal.key, stored)
        txn.delete(signal.key, db=self._tombstones)
        self._link_cases(txn, old=None, new=stored)
        self._count(txn, signal, 1)
        self._note(txn, stored, SignalEventKind.ADDED, signal.added_at)

    def change(self, txn: lmdb.Transaction, old: Signal, new: Signal) -> None:
        """Replace what is known about a live signal; its digest stays."""
        self._records.put(txn, new.key, new)
        self._link_cases(txn, old=old, new=new)
        live = (case.case_ref for case in new.cases if not has_ended(case.status))
        self.seconds.keep(txn, new.key, {self.case_key(case_ref) for case_ref in live})
        self._note(txn, new, SignalEventKind.CHANGED, new.changed_at)

    def withdraw(
        self,
        txn: lmdb.Transaction,
        writer: ColumnWriter,
        signal: Signal,
        *,
        modified_at: int | None,
        now: datetime,
    ) -> None:
        """Take a signal out: its digest and its key are zeroed, only a tombstone stays."""
        if signal.row is not None:
            writer.remove(signal.row)
        self._records.delete(txn, signal.key)
        self.backgrounds.drop(txn, signal.key)
        self.seconds.keep(txn, signal.key, ())
        self.bury(txn, signal.key, feed=signal.feed, modified_at=modified_at, now=now)
        self._link_cases(txn, old=signal, new=None)
        self._count(txn, signal, -1)
        self._note(txn, signal, SignalEventKind.WITHDRAWN, now)

    def bury(
        self,
        txn: lmdb.Transaction,
        key: bytes,
        *,
        feed: str,
        modified_at: int | None,
        now: datetime,
    ) -> None:
        """Leave a tombstone, so that an older word about the signal does not revive it."""
        stone = Tombstone(feed=feed, modified_at=modified_at, withdrawn_at=now)
        txn.put(key, self._tombstone_codec.encode(stone), db=self._tombstones)

    def signals_of_case(self, txn: lmdb.Transaction, case_ref: str) -> dict[bytes, bool]:
        """Map the keys of a case's signals to whether the case still stands behind them."""
        return self.signals_of_case_key(txn, self.case_key(case_ref))

    def signals_of_case_key(self, txn: lmdb.Transaction, case_key: bytes) -> dict[bytes, bool]:
        """Do the same for a case of which only the key is known."""
        found: dict[bytes, bool] = {}
        with txn.cursor(db=self._cases) as cursor:
            if cursor.set_range(case_key):
                for key, state in cursor:
                    if bytes(key[:_KEY_BYTES]) != case_key:
                        break
                    found[bytes(key[_KEY_BYTES:])] = bytes(state[:1]) == _LIVE
        return found

    def linked_at(self, txn: lmdb.Transaction, case_ref: str, key: bytes) -> datetime | None:
        """Return when a case was first named behind a signal."""
        raw = txn.get(self.case_key(case_ref) + key, db=self._cases)
        return None if raw is None else datetime.fromtimestamp(int.from_bytes(raw[1:]), UTC)

    def counts(self, txn: lmdb.Transaction, feed: str) -> dict[str, int]:
        """Count a feed's live signals by kind (the feed's words)."""
        prefix = feed.encode() + b"\0"
        found = {}
        with txn.cursor(db=self._counts) as cursor:
            if cursor.set_range(prefix):
                for key, number in cursor:
                    if not bytes(key).startswith(prefix):
                        break
                    kind = bytes(key[len(prefix) :]).decode(errors="ignore")
                    found[kind] = int.from_bytes(number)
        return {kind: number for kind, number in found.items() if number}

    def count(self, txn: lmdb.Transaction, kind: str) -> int:
        """Count the live signals of one kind (the feed's word) over all feeds."""
        suffix = b"\0" + kind.encode()
        with txn.cursor(db=self._counts) as cursor:
            return sum(int.from_bytes(held) for key, held in cursor if bytes(key).endswith(suffix))

    def feeds_with(self, txn: lmdb.Transaction, kind: str) -> list[str]:
        """List the feeds that hold live signals of one kind (the feed's word)."""
        suffix = b"\0" + kind.encode()
        with txn.cursor(db=self._counts) as cursor:
            return [
                bytes(key).removesuffix(suffix).decode()
                for key, held in cursor
                if bytes(key).endswith(suffix) and int.from_bytes(held)
            ]

    def quarantine(self, txn: lmdb.Transaction, key: bytes, record: QuarantinedRecord) -> bool:
        """Keep an entry that cannot be matched. Say whether it is new there."""
        return self._quarantine.put(txn, key, record, overwrite=False)

    def release(self, txn: lmdb.Transaction, key: bytes) -> bool:
        """Drop a quarantined entry; say whether there was one."""
        return self._quarantine.delete(txn, key)

    def quarantined(self, txn: lmdb.Transaction, feed: str) -> dict[str, int]:
        """Count a feed's quarantined entries by reason."""
        found: dict[str, int] = {}
        for _, record in self._quarantine.every(txn):
            if record.feed == feed:
                found[record.reason] = found.get(record.reason, 0) + 1
        return found

    def quarantined_keys(self, txn: lmdb.Transaction, feed: str) -> list[bytes]:
        """List the keys of a feed's quarantined entries."""
        return [key for key, record in self._quarantine.every(txn) if record.feed == feed]

    def removed(self, txn: lmdb.Transaction) -> int:
        """Count how often a digest or a record's key has gone; it grows with each."""
        return sum(column.removed(txn) for column, _ in self.compactions())

    def compactions(self) -> tuple[tuple[HashColumn, Compact], ...]:
        """List the columns, and for each the function that moves rows of it to the front."""
        return (
            (self.column, self._compact),
            (self._records.keys, self._records.compact),
            (self._quarantine.keys, self._quarantine.compact),
            (self.seconds.records.keys, self.seconds.records.compact),
        )

    def _compact(self, txn: lmdb.Transaction, *, most: int) -> tuple[int, int]:
        def moved(key: bytes, _old: int, new: int) -> None:
            signal = self.find(txn, key)
            if signal is None:
                raise StoreDamagedError("a row of the signals' hash column has no signal")
            self._records.put(txn, key, replace(signal, row=new))

        return self.column.compact(txn, most=most, moved=moved)

    def _link_cases(self, txn: lmdb.Transaction, *, old: Signal | None, new: Signal | None) -> None:
        """Bring the case links up to date. A case that is no longer named has ended."""
        if old is not None:
            for case in old.cases:
                self._link(txn, old, case, _ENDED)
        if new is not None:
            for case in new.cases:
                self._link(txn, new, case, _ENDED if has_ended(case.status) else _LIVE)

    def _link(self, txn: lmdb.Transaction, signal: Signal, case: CaseStatus, state: bytes) -> None:
        key = self.case_key(case.case_ref) + signal.key
        held = txn.get(key, db=self._cases)
        since = int(signal.changed_at.timestamp()).to_bytes(8) if held is None else bytes(held[1:])
        txn.put(key, state + since, db=self._cases)

    def _count(self, txn: lmdb.Transaction, signal: Signal, step: int) -> None:
        key = signal.feed.encode() + b"\0" + signal.kind.encode()[:_KIND_BYTES]
        held = int.from_bytes(txn.get(key, db=self._counts) or b"\0")
        txn.put(key, (held + step).to_bytes(8), db=self._counts)

    def _note(
        self, txn: lmdb.Transaction, signal: Signal, kind: SignalEventKind, at: datetime
    ) -> None:
        self.log.append(txn, SignalEvent(kind=kind, signal_key=signal.key, feed=signal.feed, at=at))
