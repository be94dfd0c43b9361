"""From a 64x64 block of luma to a digest and a quality: what both paths share.

Formulas: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing
Algorithm" (2019) and ThreatExchange ``pdq/cpp/hashing/pdqhashing.cpp``: the
16x16 low frequencies of a 64-point DCT-II without the constant term, each
compared with their lower median (the reference finds it with Torben's method;
which method finds it makes no difference).
"""

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float64]
"""float64[64, 64]: luma 0-255 after filtering and decimation."""

BLOCK_SIDE = 64
_FREQUENCIES = 16
_BITS = _FREQUENCIES * _FREQUENCIES
_LOWER_MEDIAN = _BITS // 2 - 1
_QUALITY_DIVISOR = 90
_QUALITY_MAX = 100


def _dct_rows() -> NDArray[np.float64]:
    frequency = np.arange(1, _FREQUENCIES + 1)[:, np.newaxis]
    sample = 2 * np.arange(BLOCK_SIDE) + 1
    scale = np.sqrt(2 / BLOCK_SIDE)
    return np.asarray(scale * np.cos(np.pi / (2 * BLOCK_SIDE) * frequency * sample))


_DCT = _dct_rows()


def coefficients(block: Block) -> NDArray[np.float64]:
    """Compute the 16x16 frequencies 1-16 of a block, vertical frequency first."""
    return np.asarray(_DCT @ block @ _DCT.T)


def digest_of(frequencies: NDArray[np.float64]) -> bytes:
    """Say for each of 16x16 frequencies whether it lies above their lower median.

    Returns:
        32 bytes as the reference writes them in hex: the last frequency is the
        first and highest bit.
    """
    values = frequencies.ravel()
    median = np.partition(values, _LOWER_MEDIAN)[_LOWER_MEDIAN]
    return np.packbits((values > median)[::-1]).tobytes()


def quality_of(block: Block) -> int:
    """Measure how much a digest of this block says, 0-100; below 50 it says little.

    The sum of the steps between neighbours, each in whole percent of the luma
    range and cut towards zero, so that noise in flat areas counts nothing.
    """
    # The reference holds the block in 32 bits; where a step is cut depends on it.
    stored = block.astype(np.float32)
    steps = sum(
        int(
            np.abs(
                (np.diff(stored, axis=axis) * np.float32(100) / np.float32(255)).astype(int)
            ).sum()
        )
        for axis in (0, 1)
    )
    return min(_QUALITY_MAX, steps // _QUALITY_DIVISOR)
