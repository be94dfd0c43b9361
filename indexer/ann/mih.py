"""An exact multi-index over digests: far fewer comparisons than digests held.

See ``mih_arrays`` for the layout, ``mih_kernels`` for the procedure and why it is exact, and
``docs/adr/0007-exact-index.md`` for what was tried and measured.
"""

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from indexer.ann.flat import checked
from indexer.ann.mih_arrays import BANDS, MihArrays, build_arrays
from indexer.ann.probable import MAX_EXACT_BITS, limit_bits, meeting_probability
from indexer.ports import MAX_PROBABLE_BITS, Digests, Found

MAX_THRESHOLD_BITS = MAX_EXACT_BITS

_FEW, _SIGNALS_A_QUERY = 512, 4096
"""Walking whole bands beats probing one query after the other from so many queries, and from
one query for so many signals."""

_CHUNK = 16_384
"""Queries that go through together: more would leave the nearest caches."""

_ROOM = 128
"""Matches a query for which there is room at first. More ask for a second pass; room that is not
written to takes no memory."""


class MihIndex:
    """Exact look-ups in a fixed set of digests, up to 31 bits away. Thread-safe."""

    def __init__(self, digests: Digests) -> None:
        """Index a copy of ``digests``, uint8[n, 32].

        Raises:
            InvalidDigestError: wrong shape or type.
            ValueError: more digests than 32-bit positions can name.
        """
        self._arrays = build_arrays(checked(digests))

    @property
    def arrays(self) -> MihArrays:
        """The index itself."""
        return self._arrays

    def __len__(self) -> int:
        """Count the digests held."""
        return len(self._arrays.digests)

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold, 0-31; see ``AnnIndex.find``.

        A result takes 20 bytes a match, and 28 while it is made.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above 31.
        """
        return find_in(self._arrays, queries, threshold_bits=threshold_bits)

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find within the threshold, 0-80, beyond 31 probably; see ``AnnIndex.find_probable``.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above 80.
        """
        return find_probable_in(self._arrays, queries, threshold_bits=threshold_bits)

    def meeting_probability(self, distance_bits: int) -> float:
        """Return the least chance of a pair to be met; see ``AnnIndex.meeting_probability``."""
        return meeting_probability(distance_bits)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a look-up asks for.

    Attributes:
        radius: the largest distance of a match.
        budgets: int64[16], one more than the bits by which a band may differ; 0: not probed.
        limits: int64[16], the bits by which a band and the two that follow may differ.
    """

    radius: int
    budgets: NDArray[np.int64]
    limits: NDArray[np.int64]


def find_in(arrays: MihArrays, queries: Digests, *, threshold_bits: int) -> Found:
    """Find in arrays, wherever they lie; see ``MihIndex.find``."""
    if not 0 <= threshold_bits <= MAX_THRESHOLD_BITS:
        raise ValueError(f"threshold_bits is 0 to {MAX_THRESHOLD_BITS}, not {threshold_bits}")
    return _find(arrays, queries, _exact(threshold_bits))


def find_probable_in(arrays: MihArrays, queries: Digests, *, threshold_bits: int) -> Found:
    """Find in arrays, wherever they lie; see ``MihIndex.find_probable``."""
    if not 0 <= threshold_bits <= MAX_PROBABLE_BITS:
        raise ValueError(f"threshold_bits is 0 to {MAX_PROBABLE_BITS}, not {threshold_bits}")
    sure = threshold_bits <= MAX_THRESHOLD_BITS
    return _find(arrays, queries, (_exact if sure else _probable)(threshold_bits))


def _find(arrays: MihArrays, queries: Digests, plan: _Plan) -> Found:
    bands = checked(queries).view(np.uint16)
    if not bands.flags.aligned:  # they start at an odd address inside other bytes
        bands = bands.copy()
    chunks = [
        _matches(arrays, bands[first : first + _CHUNK], plan)
        for first in range(0, len(bands), _CHUNK)
    ]
    total = sum(map(len, chunks))
    rows, positions = np.empty(total, np.int64), np.empty(total, np.int64)
    distances = np.empty(total, np.int32)
    done = 0
    for number, matches in enumerate(chunks):
        part = slice(done, done + len(matches))
        rows[part] = (matches >> np.uint64(40)).astype(np.int64) + number * _CHUNK
        distances[part] = matches >> np.uint64(32) & np.uint64(0xFF)
        positions[part] = matches & np.uint64(0xFFFFFFFF)
        done += len(matches)
    return rows, positions, distances


def _matches(arrays: MihArrays, bands: NDArray[np.uint16], plan: _Plan) -> NDArray[np.uint64]:
    """Return the matches of a chunk, packed as in ``mih_kernels`` and so in order."""
    kernels = load_kernels()
    few = len(bands) < max(_FEW, len(arrays.digests) // _SIGNALS_A_QUERY)
    kernel = kernels.find_few if few else kernels.find_many
    matches = np.empty(_ROOM * len(bands) + 1024, np.uint64)
    while True:
        found = kernel(
            bands, arrays.digests, arrays.starts, arrays.positions, arrays.sketches,
            plan.budgets, plan.limits, plan.radius, matches,
        )  # fmt: skip
        if found <= len(matches):
            matches[:found].sort()
            return matches[:found].copy()
        matches = np.empty(found, np.uint64)


@functools.cache
def _exact(threshold_bits: int) -> _Plan:
    """Spread threshold + 1 over the bands as evenly as can be; the cycle lemma gives the limits."""
    budgets = (threshold_bits + 1 + np.arange(BANDS)) // BANDS
    limits = budgets + np.roll(budgets, -1) + np.roll(budgets, -2) - 1
    return _Plan(threshold_bits, budgets, limits)


@functools.cache
def _probable(threshold_bits: int) -> _Plan:
    """Probe as at 31 bits, with limits that fit the threshold."""
    limits = np.full(BANDS, limit_bits(threshold_bits), np.int64)
    return _Plan(threshold_bits, _exact(MAX_THRESHOLD_BITS).budgets, limits)


@functools.cache
def load_kernels() -> ModuleType:
    """Load numba and the compiled kernels, so that what looks nothing up starts fast.

    Takes 0.4 s, and some seconds more the first time on a machine, to compile.
    """
    from indexer.ann import mih_kernels  # noqa: PLC0415

    return mih_kernels
