"""Looking digests up among the signals, always in the newest state of the store.

A view is the index over all live signals at one version (the last number of
the signal log). It is replaced when the log has moved on; whoever writes
matches compares versions inside the write transaction, so that no image is
stored that was not compared with every signal committed before it.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lmdb
import numpy as np
from numpy.typing import NDArray

from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    HASHERS,
    VARIANTS,
    Background,
    Match,
    variant_name,
)
from indexer.ports import AnnIndex, Digests
from indexer.store import Store

HashRows = tuple[tuple[Background, bytes], ...]
"""As ``HashedImage.rows``."""


@dataclass(frozen=True, slots=True)
class SignalView:
    """All live signals of one version.

    Attributes:
        version: last number of the signal log that it holds.
        index: over the digests; a position in it is a row of ``keys``.
        keys: uint8[n, 16], signal keys.
    """

    version: int
    index: AnnIndex
    keys: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NearestVariant:
    """How one image comes closest to one signal: distance, and which of its hashes."""

    distance_bits: int
    position: int
    background: Background


class Lookup:
    """Exact look-ups in the signals of a store. Thread-safe."""

    def __init__(
        self, store: Store, make_index: Callable[[Digests], AnnIndex], *, threshold_bits: int
    ) -> None:
        self._store = store
        self._make_index = make_index
        self._view: SignalView | None = None
        self._lock = threading.Lock()
        self.threshold_bits = threshold_bits

    def view(self) -> SignalView:
        """Return the view of the newest committed state."""
        with self._store.read() as txn:
            return self.view_in(txn)

    def view_in(self, txn: lmdb.Transaction) -> SignalView:
        """Return the view of the state that a transaction sees."""
        version = self._store.signals.version(txn)
        view = self._view
        if view is not None and view.version == version:
            return view
        with self._lock:
            if self._view is None or self._view.version != version:
                self._view = self._load(txn, version)
            return self._view

    def _load(self, txn: lmdb.Transaction, version: int) -> SignalView:
        column = self._store.signals.column
        digests = [np.empty((0, DIGEST_BYTES), np.uint8)]
        keys = [np.empty((0, 16), np.uint8)]
        for number in range(column.chunk_count(txn)):
            chunk = column.chunk(txn, number)
            live = chunk.flags != 0
            digests.append(chunk.digests[live, 0])
            keys.append(chunk.owners[live])
        return SignalView(version, self._make_index(np.concatenate(digests)), np.concatenate(keys))

    def nearest(
        self, view: SignalView, images: Sequence[HashRows]
    ) -> list[dict[bytes, NearestVariant]]:
        """Find, for each image, every signal within the threshold and its nearest variant.

        All digests of all images go through the index as one batch. Of equal
        distances the first in the order of ``HASHERS`` and ``VARIANTS`` counts.
        """
        owners = [
            (number, background) for number, rows in enumerate(images) for background, _ in rows
        ]
        found: list[dict[bytes, NearestVariant]] = [{} for _ in images]
        if not owners:
            return found
        joined = b"".join(digests for rows in images for _, digests in rows)
        queries = np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)
        hits = zip(*view.index.find(queries, threshold_bits=self.threshold_bits), strict=True)
        for query, signal, distance in hits:
            row, position = divmod(int(query), DIGESTS_PER_ROW)
            number, background = owners[row]
            key = view.keys[signal].tobytes()
            held = found[number].get(key)
            if held is None or int(distance) < held.distance_bits:
                found[number][key] = NearestVariant(int(distance), position, background)
        return found


def match_of(
    nearest: NearestVariant,
    *,
    signal_key: bytes,
    feed: str,
    threshold_bits: int,
    quality: int,
    content_sha256: bytes,
    image_key: bytes = b"",
) -> Match:
    """Name an image's nearest variant as a match."""
    return Match(
        image_key=image_key,
        signal_key=signal_key,
        feed=feed,
        distance_bits=nearest.distance_bits,
        threshold_bits=threshold_bits,
        hasher=HASHERS[nearest.position // len(VARIANTS)],
        variant=variant_name(nearest.position, nearest.background),
        quality=quality,
        content_sha256=content_sha256,
    )
