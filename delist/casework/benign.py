"""Known-benign images: is a picture, or a signal, one of them?

A brake against a poisoned feed: what lies within the matching threshold of a logo, a flag or a
news photograph that the trust team knows never acts without a person. Nor does the bank ever
dismiss anything: it may hold a survivor's image by mistake, and that conflict is for a person.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from delist.store import benign
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, ROW_BYTES, VARIANTS

_WORDS = DIGEST_BYTES // 8
_UPRIGHT = (0, len(VARIANTS))
"""Positions in a row of the upright digests of both paths."""


class BenignBank:
    """The bank in memory, read again whenever it has changed."""

    def __init__(self) -> None:
        self._state: tuple[object, ...] = (0,)
        self._rows: NDArray[np.uint64] = np.empty((0, DIGESTS_PER_ROW, _WORDS), np.uint64)

    def refresh(self, connection: Connection) -> None:
        """Read the bank if it is not the one in memory."""
        state = benign.state(connection)
        if state != self._state:
            raw = b"".join(image.rows for image in benign.every(connection))
            rows = np.frombuffer(raw, np.uint64).reshape(-1, DIGESTS_PER_ROW, _WORDS)
            self._rows, self._state = rows, state

    def holds_image(self, rows: bytes, *, threshold_bits: int) -> bool:
        """Whether an image lies within a threshold of one in the bank, in any symmetry.

        Args:
            rows: its hash rows, 512 bytes each.
        """
        if not len(self._rows) or not rows:
            return False
        digests = np.frombuffer(rows, np.uint64).reshape(-1, _WORDS)
        known = self._rows[:, _UPRIGHT, :].reshape(-1, _WORDS)
        return any(_nearest(known, digest) <= threshold_bits for digest in digests)

    def holds_signal(self, digest: bytes, *, threshold_bits: int) -> bool:
        """Whether a signal lies within a threshold of an image in the bank, in any symmetry.

        Args:
            digest: 32 bytes of PDQ; whatever is not that long is not compared.
        """
        if not len(self._rows) or len(digest) != DIGEST_BYTES:
            return False
        known = self._rows.reshape(-1, _WORDS)
        return _nearest(known, np.frombuffer(digest, np.uint64)) <= threshold_bits


def near_pictures(
    images: bytes, owners: Sequence[int], bank: Sequence[bytes], *, threshold_bits: int
) -> set[tuple[int, int]]:
    """Find which images lie within a threshold of which pictures, as ``holds_image`` says it.

    Args:
        images: hash rows of many images, 512 bytes each.
        owners: for each row, which image it is of.
        bank: hash rows of each picture.

    Returns:
        Pairs of an owner and a number in ``bank``.
    """
    digests = np.frombuffer(images, np.uint64).reshape(-1, _WORDS)
    found: set[tuple[int, int]] = set()
    for number, raw in enumerate(bank):
        rows = np.frombuffer(raw, np.uint64).reshape(-1, DIGESTS_PER_ROW, _WORDS)
        for known in rows[:, _UPRIGHT, :].reshape(-1, _WORDS):
            distances = np.bitwise_count(digests ^ known).sum(axis=1, dtype=np.int64)
            near = np.flatnonzero(distances <= threshold_bits) // DIGESTS_PER_ROW
            found.update((owners[row], number) for row in near.tolist())
    return found


def _nearest(known: NDArray[np.uint64], digest: NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(known ^ digest).sum(axis=1, dtype=np.int64).min())


def rows_of(rows: tuple[tuple[object, bytes], ...]) -> bytes:
    """Join hash rows as ``HashedImage`` and ``ImageStore`` give them."""
    joined = b"".join(row for _, row in rows)
    assert len(joined) % ROW_BYTES == 0  # noqa: S101 - the layout of a row
    return joined
