"""Weighted distances of many digests: the compiled inner loop of ``strangers``."""

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.hashing.compiled import array, kernel


@kernel(array(types.uint8, 2, readonly=True), array(types.float32, 2), array(types.float32, 1))
def add_up(rows: NDArray[np.uint8], table: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Add up what each byte of each digest counts.

    Args:
        rows: uint8[n, 32].
        table: float32[32, 256]: what each value of each byte counts.
        out: float32[n], written.
    """
    for number in range(len(rows)):
        total, row = np.float32(0), rows[number]
        for place in range(row.size):
            total += table[place, row[place]]
        out[number] = total
