"""An exact index of few signals for very many queries, as a re-scan asks.

See ``neighbour_arrays`` for the layout, ``neighbour_kernels`` for the procedure and why it is
exact, and ``docs/adr/0010-neighbour-index.md`` for what was tried and measured.
"""

import functools
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from indexer.ann.flat import FlatIndex, checked
from indexer.ann.mih import MAX_THRESHOLD_BITS, MihIndex
from indexer.ann.mih_arrays import BANDS
from indexer.ann.neighbour_arrays import (
    COMPARED_UP_TO,
    MAX_SIGNALS,
    NeighbourArrays,
    empty_arrays,
)
from indexer.ports import AnnIndex, Digests, Found

_CHUNK = 1 << 20
"""Queries whose matches are sorted together; their numbers take 26 bits at most."""

_LEAST_ROOM, _MOST_ROOM = 1 << 10, 1 << 20
"""Matches for which there is room first, and for how many it is widened when they fill it."""

_FLAT_BELOW = 2_000
"""Digests from which nothing is left to a flat index: probable look-ups go through a
multi-index, and the first look-up loads the kernels, however small it is."""

_WORTH_LOADING = 1 << 27
"""Pairs that an index compares flat before it loads the kernels, which takes about as long."""


class NeighbourIndex:
    """Exact look-ups in a fixed set of digests, up to 31 bits away. Thread-safe.

    A query without a match costs no memory and nothing but its comparison, however many
    queries go through in one call. What the look-ups take is built at the first. A process
    that asks little of few digests is answered by a flat index and need not load the kernels.
    """

    def __init__(self, digests: Digests) -> None:
        """Hold a copy of ``digests``, uint8[n, 32].

        Raises:
            InvalidDigestError: wrong shape or type.
            ValueError: more than ``MAX_SIGNALS``.
        """
        digests = checked(digests)
        if len(digests) > MAX_SIGNALS:
            raise ValueError(f"one index holds up to {MAX_SIGNALS} digests, not {len(digests)}")
        self._digests = digests.copy()
        self._compared = 0  # pairs; threads that add at once may lose some, which does no harm

    def __len__(self) -> int:
        """Count the digests held."""
        return len(self._digests)

    @functools.cached_property
    def arrays(self) -> NeighbourArrays:
        """The index itself, built when it is first asked for."""
        arrays = empty_arrays(self._digests)
        load_kernels().fill(
            self._digests.view(np.uint16), arrays.bitmaps, arrays.own, arrays.positions,
            arrays.starts, arrays.sketches,
        )  # fmt: skip
        return arrays

    def find(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find every held digest within the threshold, 0-31; see ``AnnIndex.find``.

        A result takes 20 bytes a match, and 28 while it is made.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above 31.
        """
        if not 0 <= threshold_bits <= MAX_THRESHOLD_BITS:
            raise ValueError(f"threshold_bits is 0 to {MAX_THRESHOLD_BITS}, not {threshold_bits}")
        queries = checked(queries)
        if self._is_little(len(queries)):
            return self._flat.find(queries, threshold_bits=threshold_bits)
        allowed = _allowed(threshold_bits)
        chunks = [
            self._matches(queries[first : first + _CHUNK], allowed)
            for first in range(0, len(queries), _CHUNK)
        ]
        return _unpacked(chunks)

    def find_probable(self, queries: Digests, *, threshold_bits: int) -> Found:
        """Find within the threshold, 0-80, beyond 31 probably; see ``AnnIndex.find_probable``.

        Raises:
            InvalidDigestError: ``queries`` is not uint8[n, 32].
            ValueError: a threshold below 0 or above 80.
        """
        return self._probable.find_probable(queries, threshold_bits=threshold_bits)

    def meeting_probability(self, distance_bits: int) -> float:
        """Return the least chance of a pair to be met; see ``AnnIndex.meeting_probability``."""
        return self._probable.meeting_probability(distance_bits)

    @functools.cached_property
    def _flat(self) -> FlatIndex:
        return FlatIndex(self._digests)

    @functools.cached_property
    def _probable(self) -> AnnIndex:
        return self._flat if len(self) < _FLAT_BELOW else MihIndex(self._digests)

    def _is_little(self, queries: int) -> bool:
        """Tell whether to leave a look-up to the flat index, as long as little was asked."""
        pairs = queries * len(self)
        self._compared += pairs
        if not pairs or len(self) >= _FLAT_BELOW or load_kernels.cache_info().currsize:
            return not pairs
        return self._compared < _WORTH_LOADING

    def _matches(self, queries: Digests, allowed: NDArray[np.uint16]) -> NDArray[np.uint64]:
        """Return the matches of a chunk, packed as in ``neighbour_kernels`` and so in order."""
        parts: list[NDArray[np.uint64]] = []
        room = np.empty(_LEAST_ROOM, np.uint64)
        reached = np.zeros(1, np.int64)
        while reached[0] < len(queries):
            found = self._fill(queries, allowed, room, reached)
            if found <= len(room):
                parts.append(room[:found])
            if reached[0] < len(queries):
                room = np.empty(max(found, min(4 * len(room), _MOST_ROOM)), np.uint64)
        matches = np.concatenate(parts) if len(parts) > 1 else parts[0]
        matches.sort()
        return matches

    def _fill(
        self,
        queries: Digests,
        allowed: NDArray[np.uint16],
        room: NDArray[np.uint64],
        reached: NDArray[np.int64],
    ) -> int:
        """Let the kernel for so many digests write matches until the end or until room is full."""
        kernels = load_kernels()
        if len(self) <= COMPARED_UP_TO:
            return int(kernels.compare_all(queries, self._digests, allowed, room, reached))
        arrays = self.arrays
        found = kernels.find(
            queries, arrays.digests, arrays.bitmaps, arrays.own, arrays.positions,
            arrays.starts, arrays.sketches, allowed, room, reached,
        )  # fmt: skip
        return int(found)


def _unpacked(chunks: list[NDArray[np.uint64]]) -> Found:
    """Return matches as the port does, given those of each chunk, packed and in order."""
    total = sum(map(len, chunks))
    rows, positions = np.empty(total, np.int64), np.empty(total, np.int64)
    distances = np.empty(total, np.int32)
    done = 0
    for number, matches in enumerate(chunks):
        if not len(matches):
            continue
        part = slice(done, done + len(matches))
        rows[part] = (matches >> np.uint64(38)).astype(np.int64) + number * _CHUNK
        distances[part] = matches >> np.uint64(32) & np.uint64(0x3F)
        positions[part] = matches & np.uint64(0xFFFFFFFF)
        done += len(matches)
    return rows, positions, distances


@functools.cache
def _allowed(threshold_bits: int) -> NDArray[np.uint16]:
    """Spread threshold + 1 over as few bands as can be, each allowed one bit, far apart."""
    used = -(-(threshold_bits + 1) // 2)
    budgets = np.zeros(BANDS, np.uint16)
    budgets[np.arange(used) * BANDS // used] = 2
    budgets[0] -= 2 * used - (threshold_bits + 1)
    return np.concatenate([budgets, budgets + np.roll(budgets, -1) + np.roll(budgets, -2)])


@functools.cache
def load_kernels() -> ModuleType:
    """Load numba and the compiled kernels, so that what looks nothing up starts fast.

    Takes 0.4 s, and some seconds more the first time on a machine, to compile.
    """
    from indexer.ann import neighbour_kernels  # noqa: PLC0415

    return neighbour_kernels
