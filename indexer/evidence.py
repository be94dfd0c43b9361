"""What else can be said about a match: numbers for policy and reviewers. None drops a match.

*Coherence*: images that match one signal resemble each other under another hash, unless the
signal is a collision or was poisoned. *Background*: how close strangers come to this signal.
*Lattice*: whether image or signal is a grid, stripes, a screen of text. Scales and figures:
docs/adr/0017.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import lmdb
import numpy as np

from indexer.background import Rarity, is_current, measure, rarity
from indexer.hashing.corroboration import (
    CorroboratingHash,
    likeness_beyond,
    read_corroborating,
)
from indexer.hashing.traits import (
    BrightMap,
    find_lattice,
    find_map,
    lattice_of_digest,
    likeness,
)
from indexer.match import FEED_KIND_PDQ
from indexer.model import (
    HASHERS,
    VARIANTS,
    Background,
    Hasher,
    ImageRecord,
    Match,
    Signal,
    Variant,
)
from indexer.store import SignalBackground, Store

RESEMBLES = 0.35
"""Least ``likeness`` at which two images resemble each other: of unrelated photographs one pair
in 28,680 does."""
MOST_READ = 200
"""Matching images that are looked at for one signal."""
MOST_COMPARED = 24
"""Of them, contents that are compared with each other: 276 pairs."""
_MOST_REMEMBERED = 512
"""Signals whose groups a remembering reader holds: some 20 KB each."""
_FRAME = re.compile(r"\+frame(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What can be said about one match beside its distance; None where nothing can.

    Attributes:
        coherence: share of pairs, 0-1, that resemble each other among the images that match
            the signal. 1: they show one picture. Near 0: a collision or a poisoned signal. In
            between: several pictures. None with fewer than two contents to compare.
        resembling: share, 0-1, of the other images of the signal that this one resembles.
        compared: contents that were compared for the signal, at most 24.
        z: see ``Rarity``.
        expected_per_million: see ``Rarity``.
        nearest_bits: how near the nearest of about 4096 unrelated hash rows comes to the signal.
        lattice: how much the image is a grid, 0-1; see ``lattice_of_block``.
        signal_lattice: how much the signal's bits are those of one, 0-1; see
            ``lattice_of_digest``.
        corroboration: how far the image is a reporter's picture beyond what the signal tells,
            -1 to 1: it is from ``CORROBORATES`` on. None where no reporter brought a second hash.
    """

    image_key: bytes
    signal_key: bytes
    coherence: float | None = None
    resembling: float | None = None
    compared: int = 0
    z: float | None = None
    expected_per_million: float | None = None
    nearest_bits: int | None = None
    lattice: float | None = None
    signal_lattice: float | None = None
    corroboration: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The images that match one signal: those looked at, and what was found of them.

    Attributes:
        read: keys of the images that were looked at, in order.
        whole: no more images would have been looked at, however many there were.
        maps: by content.
    """

    read: tuple[bytes, ...]
    whole: bool
    maps: dict[bytes, BrightMap]
    coherence: float | None

    def is_of(self, keys: Sequence[bytes]) -> bool:
        """Whether looking at these images would read what was read."""
        if not self.whole and len(keys) != len(self.read):
            return False
        return tuple(keys[: len(self.read)]) == self.read


class EvidenceReader:
    """Collects evidence. Bounded work for each match; not for the hot path.

    One that remembers (``session``) measures a signal's group of images again only when other
    images are in it: for many matches of few signals, as in an intake. It is for one thread, and
    to be dropped after the work: bytes that change at a URL in the group do not show in it.
    """

    def __init__(
        self, store: Store, clock: Callable[[], datetime], *, remembers: bool = False
    ) -> None:
        self._store = store
        self._clock = clock
        self._groups: dict[bytes, _Group] | None = {} if remembers else None

    def session(self) -> "EvidenceReader":
        """Make a reader that remembers, for one piece of work."""
        return EvidenceReader(self._store, self._clock, remembers=True)

    def evidence(self, image_key: bytes, signal_key: bytes) -> Evidence:
        """Say what can be said about the match of an image with a signal.

        Where they do not match (any more), only what holds for each alone. A background that
        is missing or old is measured and kept: one short write.

        Raises:
            StoreError: the store failed.
        """
        with self._store.read() as txn:
            signal = self._store.signals.find(txn, signal_key)
            match = self._store.images.find_match(txn, image_key, signal_key)
            record = self._store.images.find(txn, image_key)
            group = self._group(txn, signal_key)
            seconds = self._store.signals.seconds.of(txn, signal_key)
            own = self._map_of(txn, record, match) if record and match else None
        traits = _traits_of(record, match.variant if match else None) if record else None
        maps = group.maps.items()
        others = [held for content, held in maps if not record or content != record.sha256]
        digest = signal.digest if signal and signal.kind == FEED_KIND_PDQ else None
        background = self.background(signal) if signal and digest else None
        return Evidence(
            image_key=image_key,
            signal_key=signal_key,
            coherence=group.coherence,
            resembling=_share([likeness(own, other) for other in others]) if own else None,
            compared=len(group.maps),
            nearest_bits=background.nearest_bits if background else None,
            lattice=find_lattice(traits) if traits else None,
            signal_lattice=lattice_of_digest(digest) if digest else None,
            corroboration=_most_like(seconds, own, digest),
            **_rarity(background, match),
        )

    def coherence(self, signal_key: bytes) -> float | None:
        """Say how far the images that match a signal resemble each other; see ``Evidence``."""
        with self._store.read() as txn:
            return self._group(txn, signal_key).coherence

    def corroboration(
        self, image_key: bytes, signal_key: bytes, reported: CorroboratingHash
    ) -> float | None:
        """Say how far a match is like the reporter's picture beyond what the signal tells, -1 to 1.

        From ``CORROBORATES`` on it is a copy of the very picture that was hashed where the second
        hash was made. Below, it is not known: a copy that was cut much is below, too.

        Args:
            image_key: of an image that matches the signal.
            signal_key: of the signal that was reported together with the second hash.
            reported: the second hash.

        Returns:
            The likeness; None where they do not match (any more), nothing is kept of the image
            to compare, or the signal is of a whole file.

        Raises:
            StoreError: the store failed.
        """
        with self._store.read() as txn:
            signal = self._store.signals.find(txn, signal_key)
            match = self._store.images.find_match(txn, image_key, signal_key)
            record = self._store.images.find(txn, image_key)
            if signal is None or signal.kind != FEED_KIND_PDQ or match is None or record is None:
                return None
            held = self._map_of(txn, record, match)
        return _most_like((bytes(reported),), held, signal.digest)

    def background(self, signal: Signal) -> SignalBackground | None:
        """Return a signal's background, measured anew where it is missing or old."""
        now = self._clock()
        with self._store.read() as txn:
            held = self._store.signals.backgrounds.find(txn, signal.key)
            held_rows = self._store.images.column.rows(txn)[0]
            if held is not None and is_current(held, held_rows=held_rows, now=now):
                return held
            measured = measure(self._store, txn, signal, now=now)
        if measured is not None:
            with self._store.write() as txn:
                if self._store.signals.find(txn, signal.key) is not None:
                    self._store.signals.backgrounds.put(txn, signal.key, measured)
        return measured

    def _group(self, txn: lmdb.Transaction, signal_key: bytes) -> _Group:
        """Load the maps of a sample of the images that match a signal, by content.

        Equal bytes count once: many URLs of one file say nothing. The sample begins at a place
        that follows from the signal's key, which is secret, so nobody can choose to be in it.
        """
        images, found = self._store.images, dict[bytes, BrightMap]()
        keys = images.matching_images(txn, signal_key, start=signal_key, most=MOST_READ)
        held_group = self._groups.get(signal_key) if self._groups is not None else None
        if held_group is not None and held_group.is_of(keys):
            return held_group
        read: list[bytes] = []
        for key in keys:
            read.append(key)
            record = images.find(txn, key)
            match = images.find_match(txn, key, signal_key)
            if record is None or match is None or record.sha256 in found:
                continue
            held = self._map_of(txn, record, match)
            if held is not None:
                found[record.sha256] = held
            if len(found) == MOST_COMPARED:
                break
        group = _Group(
            read=tuple(read),
            whole=len(found) == MOST_COMPARED or len(keys) == MOST_READ,
            maps=found,
            coherence=coherence(list(found.values())),
        )
        self._remember(signal_key, group)
        return group

    def _map_of(self, txn: lmdb.Transaction, record: ImageRecord, match: Match) -> BrightMap | None:
        """Lay the map of an image where the picture of a signal that it matches has it."""
        variant = match.variant or ""
        row = _row_of(record, variant)
        if row is None:
            return None
        if match.hasher is Hasher.WEB:
            variant = _as_stored(variant, self._store.images.column.row(txn, record.rows[row]))
        return find_map(record.traits[row], variant)

    def _remember(self, signal_key: bytes, group: _Group) -> None:
        if self._groups is None:
            return
        self._groups.pop(signal_key, None)
        if len(self._groups) >= _MOST_REMEMBERED:
            del self._groups[next(iter(self._groups))]
        self._groups[signal_key] = group


def coherence(maps: Sequence[BrightMap]) -> float | None:
    """Return the share of pairs that resemble each other, 0-1; None for fewer than two maps.

    Args:
        maps: of different contents, each laid where the signal's picture has it.
    """
    return _share([likeness(one, other) for one, other in combinations(maps, 2)])


def _share(likenesses: Sequence[float]) -> float | None:
    if not likenesses:
        return None
    return sum(value >= RESEMBLES for value in likenesses) / len(likenesses)


def _most_like(
    seconds: Sequence[bytes], held: BrightMap | None, digest: bytes | None
) -> float | None:
    """Compare reporters' second hashes with what is kept of an image, and return the most."""
    if held is None or digest is None or not seconds:
        return None
    read = [reported for second in seconds if (reported := read_corroborating(second))]
    return max((likeness_beyond(reported.laid(), held, digest) for reported in read), default=None)


def _rarity(background: SignalBackground | None, match: Match | None) -> dict[str, float]:
    if background is None or match is None:
        return {}
    found: Rarity = rarity(
        background, distance_bits=match.distance_bits, threshold_bits=match.threshold_bits
    )
    return {"z": found.z, "expected_per_million": found.expected_per_million}


def _traits_of(record: ImageRecord, variant: str | None) -> bytes | None:
    row = _row_of(record, variant)
    return None if row is None else record.traits[row]


def _row_of(record: ImageRecord, variant: str | None) -> int | None:
    """Find the row that a variant names, its frame, on white or on black, if it has traits."""
    if len(record.traits) != len(record.rows) or not record.traits:
        return None
    named = _FRAME.search(variant or "")
    frame = int(named[1]) if named else 0
    rows = [row for row in range(len(record.rows)) if record.label(row).frame == frame]
    if not rows:
        return None
    on_black = Background.BLACK.value in (variant or "").split("+")[1:]
    return rows[-1] if on_black else rows[0]


def _as_stored(variant: str, digests: bytes | None) -> str:
    """Name a variant of the *web* path as seen from the stored pixels, which the map is of.

    That path heeds an orientation tag, and which it was is not kept. It shows: of the eight
    *cpp* digests of the row, that of the same pixels is by far the nearest.

    Args:
        variant: a match's, by the *web* path.
        digests: of the row, ``ROW_BYTES`` bytes; None where it is gone.
    """
    name, plus, rest = variant.partition("+")
    if digests is None or name not in set(Variant):
        return variant
    by_cpp, by_web = np.frombuffer(digests, np.uint64).reshape(len(HASHERS), len(VARIANTS), -1)
    bits = np.bitwise_count(by_cpp ^ by_web[VARIANTS.index(Variant(name))]).sum(axis=1)
    return VARIANTS[int(bits.argmin())].value + plus + rest
