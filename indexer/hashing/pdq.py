"""From a 64x64 block of luma to a digest and a quality: what both paths share.

Formulas: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing
Algorithm" (2019) and ThreatExchange ``pdq/cpp/hashing/pdqhashing.cpp``: the
16x16 low frequencies of a 64-point DCT-II without the constant term, each
compared with their lower median (the reference finds it with Torben's method;
which method finds it makes no difference).
"""

import numpy as np
from numpy.typing import NDArray

from indexer.model import DIGEST_BYTES

Block = NDArray[np.float64]
"""float64[64, 64]: luma 0-255 after filtering and decimation."""

BLOCK_SIDE = 64
_FREQUENCIES = 16
_QUALITY_DIVISOR = 90
_QUALITY_MAX = 100


def cosines() -> NDArray[np.float64]:
    """Tabulate frequencies 1-16 of the DCT: float64[64, 16], sample first."""
    frequency = np.arange(1, _FREQUENCIES + 1)
    sample = 2 * np.arange(BLOCK_SIDE)[:, np.newaxis] + 1
    scale = np.sqrt(2 / BLOCK_SIDE)
    return np.asarray(scale * np.cos(np.pi / (2 * BLOCK_SIDE) * frequency * sample))


_COSINES = cosines()


def digests_of_blocks(blocks: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Say for each of 16x16 frequencies whether it lies above their lower median.

    Args:
        blocks: float64[n, 64, 64].

    Returns:
        uint8[2n, 32]: the digests of the blocks, then of the blocks turned over
        their diagonal. Bytes as the reference writes them in hex: the last
        frequency is the first and highest bit, vertical frequencies come first.
    """
    from indexer.hashing import frequencies  # noqa: PLC0415 - a third of a second

    digests = np.empty((2 * len(blocks), DIGEST_BYTES), np.uint8)
    frequencies.digest(blocks, _COSINES, digests)
    return digests


def quality_of(block: Block) -> int:
    """Measure how much a digest of this block says, 0-100; below 50 it says little.

    The sum of the steps between neighbours, each in whole percent of the luma
    range and cut towards zero, so that noise in flat areas counts nothing.
    """
    from indexer.hashing import frequencies  # noqa: PLC0415 - a third of a second

    steps = np.empty(1, np.int64)
    frequencies.gradient(block, steps)
    return min(_QUALITY_MAX, int(steps[0]) // _QUALITY_DIVISOR)
