"""All live signals at one version, as every reader sees them: a base and what came after.

The base is a generation (``indexer.ann.generation``): a file that all processes map, built
now and then from the store. What the signal log adds after it is a small index in memory,
so a new signal is found at once and without a rebuild. What the log takes away needs
nothing: whoever uses a hit looks its signal up in the store, where a withdrawn one is gone.

Where there is no generation yet, or the one there is is damaged or too old, the base is
built in memory from the hash column; the next sync publishes a new one.

Publishing, the steps:

(1) One publisher at a time, by a file lock.
(2) Read digests and keys in one read transaction; build; write a file of its own name.
(3) Point to it in one write transaction.
(4) Remove the files that nothing points to. Whoever has one mapped keeps it.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import lmdb
import numpy as np
import structlog
from numpy.typing import NDArray

from indexer.errors import IndexDamagedError
from indexer.match import FEED_KIND_PDQ
from indexer.model import DIGEST_BYTES, SignalEventKind
from indexer.ports import AnnIndex, Digests, Found, IndexFactory
from indexer.settings import StoreSettings
from indexer.store import IndexPointer, Store
from indexer.store.locks import alone
from indexer.url import KEY_BYTES

Keys = NDArray[np.uint8]
"""uint8[n, 16]: signal keys."""

FoundSignals = tuple[NDArray[np.int64], Keys, NDArray[np.int32]]
"""(query rows, signal keys, distances in bits), one entry a match, by row, then distance."""

PUBLISH_FROM = 20_000
"""Signals from which a generation pays: below, building in memory takes milliseconds."""

_POINTER = "signals"
_KEYS = "keys"
_LEAST_DELTA = 2_000
_DELTA_SHARE = 20
_PURGE_AFTER_S = StoreSettings().purge_after_s
_LOG_BATCH = 10_000
_TRIES = 3

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Base:
    """An index over the signals of one version, and their keys in its order."""

    version: int
    index: AnnIndex
    keys: Keys
    is_mapped: bool = False


@dataclass(frozen=True, slots=True)
class SignalView:
    """All live signals of one version. A hit may be of a signal that was withdrawn since.

    Attributes:
        version: last number of the signal log that it holds.
        count: live signals.
        digests: uint8[n, 32] of the signals where there are few of them, else None.
    """

    version: int
    count: int
    parts: tuple[Base, ...]
    digests: Digests | None = None

    def find(self, queries: Digests, *, threshold_bits: int) -> FoundSignals:
        """Find every signal within the threshold (inclusive, 0-31) of each query.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
        """
        return self._joined(
            part.index.find(queries, threshold_bits=threshold_bits) for part in self.parts
        )

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> FoundSignals:
        """Find signals within the threshold (inclusive, 0-80), beyond 31 bits probably.

        See ``AnnIndex.find_probable``; ``meeting_probability`` says how probably.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above ``MAX_PROBABLE_BITS``.
        """
        return self._joined(
            part.index.find_probable(queries, threshold_bits=threshold_bits) for part in self.parts
        )

    def meeting_probability(self, distance_bits: int) -> float:
        """Return the least chance, over the parts, that ``find_probable`` meets a signal.

        Raises:
            ValueError: a distance below 0 or above ``MAX_PROBABLE_BITS``.
        """
        return min(part.index.meeting_probability(distance_bits) for part in self.parts)

    def _joined(self, answers: Iterable[Found]) -> FoundSignals:
        """Name the signals in the answers of the parts, and bring them in order."""
        rows, keys, distances = [], [], []
        for part, (hit_rows, positions, hit_distances) in zip(self.parts, answers, strict=True):
            rows.append(hit_rows)
            keys.append(part.keys[positions])
            distances.append(hit_distances)
        if len(self.parts) == 1:
            return rows[0], keys[0], distances[0]
        return _merged(np.concatenate(rows), np.concatenate(keys), np.concatenate(distances))


class SignalViews:
    """Gives the view of any state of the store. Thread-safe."""

    def __init__(
        self,
        store: Store,
        factory: IndexFactory,
        folder: Path,
        *,
        publish_from: int = PUBLISH_FROM,
        purge_after: timedelta = timedelta(seconds=_PURGE_AFTER_S),
    ) -> None:
        """Read generations from ``folder``, which is made when one is published.

        Args:
            store: where the signals are.
            factory: makes the indexes.
            folder: where generations lie.
            publish_from: least number of signals for which one is published.
            purge_after: how long a generation may hold a withdrawn signal's digest.
        """
        self._publish_from = publish_from
        self._purge_after = purge_after
        self._store = store
        self._factory = factory
        self._folder = folder
        self._lock = threading.Lock()
        self._view: SignalView | None = None
        self._base: Base | None = None
        self._before: Base | None = None
        self._added: dict[bytes, bytes] = {}
        self._followed = 0

    def newest(self) -> SignalView:
        """Return the view of the newest committed state."""
        for _ in range(_TRIES):
            with self._store.read() as txn:
                if self._is_at_hand(txn):
                    return self.in_(txn)
        with self._store.read() as txn:
            return self.in_(txn)

    def _is_at_hand(self, txn: lmdb.Transaction) -> bool:
        """Say whether no file is named that a newer one has just taken the place of."""
        view = self._view
        if view is not None and view.version == self._store.signals.version(txn):
            return True
        name = self._store.index_pointers.load(txn, _POINTER).name
        return not name or (self._folder / name).exists()

    def in_(self, txn: lmdb.Transaction) -> SignalView:
        """Return the view of the state that a transaction sees."""
        version = self._store.signals.version(txn)
        view = self._view
        if view is not None and view.version == version:
            return view
        with self._lock:
            if self._view is None or self._view.version != version:
                self._view = self._load(txn, version)
            return self._view

    def of(self, digests: dict[bytes, bytes], *, version: int) -> SignalView:
        """Make a view of some signals alone: key to digest."""
        return SignalView(
            version, len(digests), (self._base_of(digests, version),), _joined(digests.values())
        )

    def everything(self) -> tuple[int, Digests, Keys]:
        """Copy all signals, of one state: its version, uint8[n, 32] and uint8[n, 16]."""
        with self._store.read() as txn:
            return self._store.signals.version(txn), *self._read_column(txn)

    def _load(self, txn: lmdb.Transaction, version: int) -> SignalView:
        if not self._store.signals.log.reaches_back(txn, self._followed):
            # Nobody asked here for longer than entries are kept: what they added is not known.
            self._base = self._before = None
        base = self._chosen_base(txn, version)
        if base is not self._base or self._followed > version:
            self._before = self._base if self._base and self._base.is_mapped else None
            self._base, self._added, self._followed = base, {}, base.version
        self._follow(txn, version)
        count = self._store.signals.count(txn, FEED_KIND_PDQ)
        parts = (base, self._base_of(self._added, version)) if self._added else (base,)
        return SignalView(version, count, parts)

    def _chosen_base(self, txn: lmdb.Transaction, version: int) -> Base:
        """Keep a base, take a newer generation, or build one in memory.

        Never one that is newer than the transaction: what was withdrawn in between is not in it.
        """
        known = [one for one in (self._base, self._before) if one and one.version <= version]
        base = max(known, key=lambda one: one.version, default=None)
        pointer = self._store.index_pointers.load(txn, _POINTER)
        if pointer.name and (base is None or pointer.version > base.version):
            base = self._mapped(pointer) or base
        if base is None or version - base.version > _longest_delta(len(base.index)):
            return self._from_column(txn, version)
        return base

    def _mapped(self, pointer: IndexPointer) -> Base | None:
        try:
            index = self._factory.map(self._folder / pointer.name)
        except FileNotFoundError:  # a newer one has taken its place, or somebody removed it
            return None
        except (IndexDamagedError, OSError) as error:
            _log.error("index.unusable", error=type(error).__name__)
            return None
        keys = index.labels.get(_KEYS, np.empty(0, np.uint8))
        if len(keys) != KEY_BYTES * len(index):
            _log.error("index.unusable", error="NoKeys")
            return None
        return Base(index.version, index, keys.reshape(-1, KEY_BYTES), is_mapped=True)

    def _from_column(self, txn: lmdb.Transaction, version: int) -> Base:
        digests, keys = self._read_column(txn)
        return Base(version, self._factory.build(digests), keys)

    def _read_column(self, txn: lmdb.Transaction) -> tuple[Digests, Keys]:
        column = self._store.signals.column
        digests = [np.empty((0, DIGEST_BYTES), np.uint8)]
        keys = [np.empty((0, KEY_BYTES), np.uint8)]
        for number in range(column.chunk_count(txn)):
            chunk = column.chunk(txn, number)
            live = chunk.flags != 0
            digests.append(chunk.digests[live, 0])
            keys.append(chunk.owners[live])
        return np.concatenate(digests), np.concatenate(keys)

    def _follow(self, txn: lmdb.Transaction, version: int) -> None:
        """Take in what the signal log adds behind what was followed before."""
        while self._followed < version:
            for event in self._store.signals.log.after(txn, self._followed, limit=_LOG_BATCH):
                self._followed = event.sequence
                if event.kind is SignalEventKind.WITHDRAWN:
                    self._added.pop(event.signal_key, None)
                elif event.kind is SignalEventKind.ADDED:
                    signal = self._store.signals.find(txn, event.signal_key)
                    if signal is not None and signal.kind == FEED_KIND_PDQ:
                        self._added[signal.key] = signal.digest

    def _base_of(self, digests: dict[bytes, bytes], version: int) -> Base:
        keys = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, KEY_BYTES)
        return Base(version, self._factory.build(_joined(digests.values())), keys)

    def verify(self) -> int | None:
        """Check the published generation whole; returns its version, None if there is none.

        Raises:
            FileNotFoundError, IndexDamagedError: it cannot be used.
        """
        with self._store.read() as txn:
            pointer = self._store.index_pointers.load(txn, _POINTER)
        if not pointer.name:
            return None
        self._factory.verify(self._folder / pointer.name)
        return pointer.version

    def publish_if_due(self, *, now: datetime, purge: bool = False) -> bool:
        """Publish a new generation when there is reason to; say whether the old one went.

        Reasons: none is there or it cannot be mapped, too much came after it, or it has
        held a withdrawn signal's digest for too long (with ``purge``, at all). Where there
        are too few signals by now, the old one goes and none takes its place.
        """
        with self._store.read() as txn:
            pays = self._store.signals.count(txn, FEED_KIND_PDQ) >= self._publish_from
            if not pays and not self._store.index_pointers.load(txn, _POINTER).name:
                return False
        with alone(self._folder / "lock") as free:  # (1)
            if not free:
                return False
            with self._store.read() as txn:
                due = self._is_due(txn, now=now, purge=purge)
            if due and pays:
                self._publish(now=now)
            elif due:
                self._point_to(IndexPointer())
            self._sweep()
            return due

    def _is_due(self, txn: lmdb.Transaction, *, now: datetime, purge: bool) -> bool:
        pointer = self._store.index_pointers.load(txn, _POINTER)
        try:
            size = len(self._factory.map(self._folder / pointer.name)) if pointer.name else 0
        except (IndexDamagedError, OSError):
            return True
        behind = self._store.signals.version(txn) - pointer.version
        if not size or 2 * behind > _longest_delta(size):
            return True
        recent = pointer.written_at is None or now - pointer.written_at < self._purge_after
        if recent and not purge:
            return False
        events = self._store.signals.log.after(txn, pointer.version, limit=behind)
        return any(event.kind is SignalEventKind.WITHDRAWN for event in events)

    def _publish(self, *, now: datetime) -> None:
        with self._store.read() as txn:  # (2)
            version = self._store.signals.version(txn)
            digests, keys = self._read_column(txn)
        name = f"signals-{version}.idx"
        self._factory.write(self._folder / name, digests, {_KEYS: keys}, version=version)
        self._point_to(IndexPointer(version=version, name=name, written_at=now))  # (3)

    def _point_to(self, pointer: IndexPointer) -> None:
        with self._store.write() as txn:
            self._store.index_pointers.put(txn, _POINTER, pointer)

    def _sweep(self) -> None:
        """Remove the files that nothing points to."""
        with self._store.read() as txn:
            name = self._store.index_pointers.load(txn, _POINTER).name
        for path in self._folder.glob("signals-*"):
            if path.name != name:
                path.unlink(missing_ok=True)


def _longest_delta(signals: int) -> int:
    """Say how many changes a base of so many signals bears before a new one is cheaper."""
    return max(_LEAST_DELTA, signals // _DELTA_SHARE)


def _joined(digests: Iterable[bytes]) -> Digests:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def _merged(rows: NDArray[np.int64], keys: Keys, distances: NDArray[np.int32]) -> FoundSignals:
    """Bring matches of several parts in order; a signal that came back is in two of them."""
    named = np.concatenate([rows[:, np.newaxis].view(np.uint8), keys], axis=1)
    _, first = np.unique(named, axis=0, return_index=True)
    order = first[np.lexsort((distances[first], rows[first]))]
    return rows[order], keys[order], distances[order]
