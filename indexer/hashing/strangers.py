"""How many strangers are to be expected as near to an image as a signal is.

A weighted distance of 25 bits is beyond chance for a detailed photograph and common for a
gradient, a silhouette or a horizon: such a picture has few shapes, they decide all its bits,
and the frame moves until they fit. How common it is the other signals tell. The steps, for
one fit:

(1) The weighted distances of a sample of signals to the very guess that fits. Those whose
    digests resemble the signal's may show the same picture, and are left out.
(2) The nearest percent of them thins out about exponentially (a peaks-over-threshold estimate
    with the shape held at zero); carried on to the fit's distance, that is the share of
    strangers that come so near.
(3) Every signal that the image met (``deep``) is one trial more: crowded images meet many.

The product counts the false alarms to be expected, the measure of detection *a contrario*. It
is right as an order among images; as a number it is far too small, since the frame was moved to
fit, and no tail keeps its slope for 60 bits. So its bound is one that was tried
(docs/adr/0016).

Sources: A. Desolneux, L. Moisan, J.-M. Morel, "Meaningful alignments" (2000); J. Pickands,
"Statistical inference using extreme order statistics" (1975).
"""

from collections.abc import Iterator
from itertools import islice
from math import log

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.fitting import Fit, weights_of
from indexer.model import DIGEST_BITS, DIGEST_BYTES

SAMPLE_ROWS = 65_536
"""Digests that are compared. With a quarter the estimate's noise alone lets strangers pass."""

LEAST_SIGNALS = 4_096
"""Below this many signals there is no estimate, and few strangers to meet."""

_SAME_PICTURE_BITS = 60
"""Photographs that have nothing in common are not so near: docs/adr/0016."""

_TAIL_SHARE, _LOOKED_AT_SHARE, _LEAST_SCALE_BITS = 0.01, 0.05, 0.5
_SIDE, _DIHEDRAL = 16, 8
_SEED = 2016


class Strangers:
    """A sample of signals as strangers to images. Thread-safe, and in memory only."""

    def __init__(self, digests: NDArray[np.uint8]) -> None:
        """Sample signals; the same ones of the same signals.

        Where there are few, each stands in several of its eight mirrorings and turns, as the
        search sees it.

        Args:
            digests: uint8[n, 32], at least ``LEAST_SIGNALS``.

        Raises:
            ValueError: fewer.
        """
        if len(digests) < LEAST_SIGNALS:
            raise ValueError(f"{len(digests)} signals are too few for an estimate")
        if len(digests) > SAMPLE_ROWS:
            chosen = np.random.default_rng(_SEED).choice(len(digests), SAMPLE_ROWS, replace=False)
            digests = digests[np.sort(chosen)]
        times = min(SAMPLE_ROWS // len(digests), _DIHEDRAL)
        self._rows = np.concatenate(list(islice(in_all_turns(digests), times)))

    def log_expected(self, found: Fit, digest: bytes, *, met: int) -> float:
        """Return the natural logarithm of how many strangers are to be expected so near.

        Args:
            found: how the image fits the signal.
            digest: the signal's.
            met: signals that the image met, this one included.
        """
        nearest = np.sort(self._nearest(weights_of(found), digest))  # (1)
        count = min(int(_TAIL_SHARE * len(self._rows)), len(nearest) - 1)
        if count < 1:
            return log(met)  # all that is near resembles the signal
        scale = max(float((nearest[count] - nearest[:count]).mean()), _LEAST_SCALE_BITS)
        beyond = max(float(nearest[count]) - found.weighted_bits, 0.0)
        return log(met) + log(count / len(self._rows)) - beyond / scale  # (2), (3)

    def _nearest(self, weights: NDArray[np.float32], digest: bytes) -> NDArray[np.float32]:
        """Return the weighted distances of the nearest strangers, some percent of the sample."""
        from indexer.hashing import stranger_kernels  # noqa: PLC0415 - a third of a second

        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1)
        table = np.ascontiguousarray(-weights.reshape(DIGEST_BYTES, -1) @ bits.T, np.float32)
        sums = np.empty(len(self._rows), np.float32)
        stranger_kernels.add_up(self._rows, table, sums)
        few = int(_LOOKED_AT_SHARE * len(sums))
        nearest = np.argpartition(sums, few)[:few]
        words = self._rows[nearest].view(np.uint64) ^ np.frombuffer(digest, np.uint64)
        apart = np.bitwise_count(words).sum(axis=1, dtype=np.int64) > _SAME_PICTURE_BITS
        return np.asarray(sums[nearest[apart]] + weights[weights > 0].sum(), np.float32)


def in_all_turns(digests: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Give digests as of the same pictures in eight mirrorings and turns, upright first.

    Close to those that such pictures have: the median would move by a little.
    """
    squares = np.unpackbits(digests, axis=1)[:, ::-1].reshape(-1, _SIDE, _SIDE)
    odd = np.arange(_SIDE) % 2 == 0  # the first frequency is 1
    for turned in (squares, squares.transpose(0, 2, 1)):
        for number in range(_DIHEDRAL // 2):
            # Mirroring changes the signs of the odd frequencies along its axis.
            changed = (odd & bool(number & 1)) ^ (odd & bool(number & 2))[:, np.newaxis]
            yield np.packbits((turned ^ changed).reshape(-1, DIGEST_BITS)[:, ::-1], axis=1)
