"""How far apart two sketches may be in a probable look-up, and what that look-up meets.

A pair farther apart than 31 bits has no band that must be near. But most have one: at 40
bits, 2.5 differ in a band on average. So a look-up beyond 31 bits asks the same buckets as
one at 31; only the limit of the sketches is wider, as wide as pays at its threshold. A pair is met
when a band differs by at most one bit and, together with the two that follow, by at most
the limit (``mih_kernels``).
"""

import functools
from math import comb

import numpy as np
from numpy.typing import NDArray

from indexer.ann.mih_arrays import BAND_BITS, BANDS
from indexer.model import DIGEST_BITS
from indexer.ports import MAX_PROBABLE_BITS

MAX_EXACT_BITS = 2 * BANDS - 1
"""Sixteen bands, each probed up to one bit away: exact up to 31 bits."""

_REACHES = ((33, 6), (36, 7), (39, 8), (44, 9), (48, 10), (54, 11), (60, 12), (70, 13), (80, 14))
"""(threshold, limit) in bits: each limit serves thresholds up to the one beside it.

Of what a look-up without sketches would meet, under 0.2 % is lost up to 44 bits, 2 % at 60 and
10 % at 80; another bit would let about twice as many unrelated signals through to be compared
in full (docs/adr/0011)."""

_NEAR_BITS = 1
"""A band is probed up to so many bits away."""


def limit_bits(threshold_bits: int) -> int:
    """Return the bits by which a band and the two that follow may differ together.

    Args:
        threshold_bits: of the look-up, 32-80.
    """
    return next(limit for reach, limit in _REACHES if threshold_bits <= reach)


@functools.cache
def meeting_probability(distance_bits: int) -> float:
    """Return the least chance of a pair to be met; see ``AnnIndex.meeting_probability``.

    That of a look-up whose threshold is the distance itself: a higher one has no lower limit.
    """
    if not 0 <= distance_bits <= MAX_PROBABLE_BITS:
        raise ValueError(f"distance_bits is 0 to {MAX_PROBABLE_BITS}, not {distance_bits}")
    if distance_bits <= MAX_EXACT_BITS:
        return 1.0
    return float(1 - _missed_shares(limit_bits(distance_bits))[distance_bits])


@functools.cache
def _missed_shares(limit: int) -> NDArray[np.float64]:
    """Return the share of the pairs at each distance, 0-80 bits, of which no band is near.

    Counts the ways to lay d differing bits into the circle of bands, band by band. What the
    bands so far mean for the next is a state of two: how many bits must differ in it, lest
    the band before the last be near; and how many did in the last, if that was probed at all.
    A way round the circle ends in the state that it began with.

    Sums of positive numbers alone, so nothing cancels: the error is that of the last digits.
    """
    degrees = MAX_PROBABLE_BITS + 1
    leasts = range(min(limit + 1, BAND_BITS) + 1)
    states = [(least, last) for least in leasts for last in range(_NEAR_BITS + 2)]
    numbers = {state: number for number, state in enumerate(states)}
    ways = np.zeros((len(states), len(states), degrees))  # [state at the start, now, bits so far]
    ways[:, :, 0] = np.eye(len(states))
    for _ in range(BANDS):
        before, ways = ways, np.zeros_like(ways)
        for (least, last), state in numbers.items():
            for bits in range(least, BAND_BITS + 1):
                must = max(limit + 1 - last - bits, 0) if last <= _NEAR_BITS else 0
                if must > BAND_BITS:
                    continue
                after = numbers[must, min(bits, _NEAR_BITS + 1)]
                ways[:, after, bits:] += comb(BAND_BITS, bits) * before[:, state, : degrees - bits]
    round_trips = np.trace(ways)
    every = np.array([float(comb(DIGEST_BITS, bits)) for bits in range(degrees)])
    shares: NDArray[np.float64] = round_trips / every
    return shares
