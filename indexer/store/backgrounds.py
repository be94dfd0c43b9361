"""How close unrelated images come to each signal, as it was measured last.

Database::

    signal_backgrounds  signal key -> SignalBackground; goes when the signal is withdrawn
"""

from dataclasses import dataclass
from datetime import datetime

import lmdb

from indexer.store.codec import RecordCodec
from indexer.store.environment import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalBackground:
    """Distances of a sample of unrelated hash rows to one signal, in bits.

    Of each row, the nearest of its sixteen digests counts, as in a match.

    Attributes:
        rows: how many were in the sample.
        held_rows: how many the column had then, free ones included.
        mean_bits: mean of their distances.
        spread_bits: standard deviation.
        nearest_bits: the least.
        tail_from_bits: where the lower tail begins: its share of the sample is at most so far.
        tail_share: that share, 0-1.
        tail_scale_bits: mean excess below; the tail falls e-fold for each so many bits.
        measured_at: when.
    """

    rows: int
    held_rows: int
    mean_bits: float
    spread_bits: float
    nearest_bits: int
    tail_from_bits: float
    tail_share: float
    tail_scale_bits: float
    measured_at: datetime


class BackgroundStore:
    """Every signal's background. Every method works inside the caller's transaction."""

    def __init__(self, environment: Environment) -> None:
        self._db = environment.database(b"signal_backgrounds")
        self._codec = RecordCodec(SignalBackground)

    def find(self, txn: lmdb.Transaction, signal_key: bytes) -> SignalBackground | None:
        """Find what was measured last."""
        raw = txn.get(signal_key, db=self._db)
        return None if raw is None else self._codec.decode(raw)

    def put(self, txn: lmdb.Transaction, signal_key: bytes, background: SignalBackground) -> None:
        """Store what was measured."""
        txn.put(signal_key, self._codec.encode(background), db=self._db)

    def drop(self, txn: lmdb.Transaction, signal_key: bytes) -> None:
        """Forget a signal's background."""
        txn.delete(signal_key, db=self._db)
