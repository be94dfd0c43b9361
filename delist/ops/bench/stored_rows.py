"""Stored hashes to re-scan, and signals of which some are near them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.model import DIGEST_BITS, DIGEST_BYTES, DIGESTS_PER_ROW
from indexer.ports import Digests
from indexer.store import Store
from indexer.store.columns import OWNER_BYTES

_IMAGES_PER_COMMIT = 8_192
_MOST_NEAR, _NEAR_SHARE, _BESIDE_SHARE = 64, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignals:
    """Signals, of which some match one stored row each; no other row is near any of them.

    Attributes:
        digests: uint8[n, 32].
        rows: int64[n], the stored row that each matches; -1 where none does.
    """

    digests: Digests
    rows: NDArray[np.int64]

    @property
    def near(self) -> set[int]:
        """The stored rows that match."""
        return set(self.rows[self.rows >= 0].tolist())


def store_rows(store: Store, rng: np.random.Generator, images: int) -> Digests:
    """Store random digests of so many images, sixteen each; returns them, uint8[16 * images, 32].

    Image n is named n, see ``image_of``.

    Raises:
        StoreError: there is no room.
    """
    digests = np.empty((images, DIGESTS_PER_ROW * DIGEST_BYTES), np.uint8)
    for start in range(0, images, _IMAGES_PER_COMMIT):
        block = digests[start : start + _IMAGES_PER_COMMIT]
        block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
        with store.write() as txn, store.images.column.writer(txn) as column:
            for place, row in enumerate(block):
                owner = (start + place).to_bytes(OWNER_BYTES)
                column.add(digests=row.tobytes(), owner=owner, flag=1)
    return digests.reshape(-1, DIGEST_BYTES)


def image_of(owner: bytes) -> int:
    """Return the number of the image that a stored owner key names."""
    return int.from_bytes(owner)


def make_signals(
    rng: np.random.Generator, stored: Digests, count: int, *, threshold_bits: int
) -> NewSignals:
    """Make random signals, and plant some near stored rows.

    Up to 64, and half of them at most, are 0 to ``threshold_bits`` bits from a row of an image
    of its own; up to 16, and a quarter at most, are one bit farther than the threshold.
    """
    digests = rng.integers(0, 256, (count, DIGEST_BYTES), dtype=np.uint8)
    rows = np.full(count, -1, np.int64)
    images = len(stored) // DIGESTS_PER_ROW
    near = min(_MOST_NEAR, -(-count // _NEAR_SHARE), -(-images // _NEAR_SHARE))
    beside = min(_MOST_NEAR // _BESIDE_SHARE, count // _BESIDE_SHARE, images - near)
    chosen = rng.choice(images, near + beside, replace=False) * DIGESTS_PER_ROW
    chosen += rng.integers(0, DIGESTS_PER_ROW, len(chosen))
    places = rng.choice(count, near + beside, replace=False)
    bits = np.full(near + beside, threshold_bits + 1)
    bits[:near] = rng.integers(0, threshold_bits + 1, near)
    bits[0] = threshold_bits
    for place, row, flips in zip(places, chosen, bits, strict=True):
        mask = np.zeros(DIGEST_BITS, np.uint8)
        mask[rng.choice(DIGEST_BITS, flips, replace=False)] = 1
        digests[place] = stored[row] ^ np.packbits(mask)
    rows[places[:near]] = chosen[:near]
    return NewSignals(digests=digests, rows=rows)
