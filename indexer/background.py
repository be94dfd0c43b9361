"""How close unrelated images come to a signal: what a distance means for this very signal.

Most signals lie 90 bits and more from all strangers; one of a logo, a gradient or a screen of
text has neighbours everywhere, and 28 bits from it say little. Bounded work: a sample of
sixteen chunks of the images' hash column, 4096 rows, chosen by the signal's key, so that it
stays the same until the column grows. Rows of images that match the signal do not count.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp

import lmdb
import numpy as np
from numpy.typing import NDArray

from indexer.model import Signal
from indexer.store import SignalBackground, Store

SAMPLED_CHUNKS = 16
LEAST_ROWS = 100
"""Below this a sample says nothing."""
KEPT_FOR = timedelta(days=30)
_GROWTH = 2
_TAIL_SHARE = 0.05
_LEAST_SCALE_BITS = 1.0
_LEAST_SPREAD_BITS = 1.0
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rarity:
    """What a match's distance means before its signal's background.

    Attributes:
        z: by how many standard deviations of the background the match is nearer than its
            mean; the larger, the rarer. Photographs: 16 to 19 at the matching threshold.
        expected_per_million: false matches within the match's threshold that this background
            lets expect among a million unrelated hash rows; see ``rarity``.
    """

    z: float
    expected_per_million: float


def measure(
    store: Store, txn: lmdb.Transaction, signal: Signal, *, now: datetime
) -> SignalBackground | None:
    """Measure a signal's background; None where fewer than 100 unrelated rows are held."""
    distances = _sample(store, txn, signal)
    if len(distances) < LEAST_ROWS:
        return None
    return summarise(distances, held_rows=store.images.column.rows(txn)[0], now=now)


def summarise(distances: NDArray[np.int64], *, held_rows: int, now: datetime) -> SignalBackground:
    """Sum up distances of unrelated rows, int64[n], n >= 1."""
    tail_from = float(np.quantile(distances, _TAIL_SHARE))
    tail = distances[distances <= tail_from]
    # Distances are whole: half a bit for the one that lies on the border itself.
    scale = float((tail_from - tail).mean()) + 0.5
    return SignalBackground(
        rows=len(distances),
        held_rows=held_rows,
        mean_bits=float(distances.mean()),
        spread_bits=float(distances.std()),
        nearest_bits=int(distances.min()),
        tail_from_bits=tail_from,
        tail_share=len(tail) / len(distances),
        tail_scale_bits=max(_LEAST_SCALE_BITS, scale),
        measured_at=now,
    )


def rarity(background: SignalBackground, *, distance_bits: int, threshold_bits: int) -> Rarity:
    """Set a match against its signal's background.

    The lower tail (5 % of the sample) is continued as an exponential of its mean excess: within
    a factor of two at eight bits below its beginning, an order of magnitude at best further
    out (docs/adr/0017). What is compared is the Hamming distance: for a match of the deep
    tier, which tried many guesses, both numbers are too favourable.
    """
    beyond = background.tail_from_bits - threshold_bits
    share = min(1.0, background.tail_share * exp(min(50.0, -beyond / background.tail_scale_bits)))
    spread = max(_LEAST_SPREAD_BITS, background.spread_bits)
    return Rarity(
        z=(background.mean_bits - distance_bits) / spread,
        expected_per_million=share * _MILLION,
    )


def is_current(background: SignalBackground, *, held_rows: int, now: datetime) -> bool:
    """Say whether it still serves: at most 30 days old, and the column has not doubled since."""
    young = now - background.measured_at <= KEPT_FOR
    return young and held_rows < _GROWTH * max(1, background.held_rows)


def _sample(store: Store, txn: lmdb.Transaction, signal: Signal) -> NDArray[np.int64]:
    """Return each sampled row's least distance to the signal: int64[n]."""
    images = store.images
    count = images.column.chunk_count(txn)
    rng = np.random.default_rng(int.from_bytes(signal.key))
    chosen = rng.choice(count, min(SAMPLED_CHUNKS, count), replace=False) if count else ()
    digest = np.frombuffer(signal.digest, np.uint64)
    found = [np.empty(0, np.int64)]
    for number in sorted(map(int, chosen)):
        chunk = images.column.chunk(txn, number)
        live = np.flatnonzero(chunk.flags)
        differing = np.bitwise_count(chunk.digests[live].view(np.uint64) ^ digest)
        least = differing.sum(axis=2, dtype=np.int64).min(axis=1)
        unrelated = [
            not images.has_match(txn, chunk.owners[row].tobytes(), signal.key) for row in live
        ]
        found.append(least[np.array(unrelated, np.bool_)])
    return np.concatenate(found)
