"""Compiled look-ups in ``NeighbourArrays``. Importing this module loads numba and compiles.

Words used here, beside those of ``neighbour_arrays``:

- *allowed*, uint16[32]: first the budget of each band, 0 (not looked at), 1 or 2, then the
  sum of the budgets of the band and the two that follow. The radius is one less than the sum
  of the budgets.
- *hit*: a query and a band of it whose value is near a signal's.

Why nothing is missed: by the cycle lemma (docstring of ``mih_kernels``) a match has a band
that differs by less than its budget, and that together with the two that follow differs by
less than the sum of the three budgets: a *start*. At a start the band's value is at most one
bit away from the signal's, so its bit in the bitmap is set and the signal stands once in the
value's group; and the sketch differs by less than the greatest such sum. Why nothing is
reported twice: only the hit at the pair's first start reports it.

The steps, for a block of queries at a time, so that each is one short loop without branches:

(1) Look all bands of a query up in the bitmaps at once; append its hits.
(2) Compare each hit's sketch with the first sixteen, or 32, of its group; note which are near, and
    which groups are longer. Few are either.
(3) Look closer at what was noted: compare the whole group, find out which signal a slot
    belongs to, compare in full.
"""

# ruff: noqa: C901, PLR0913, PLR0917 - a kernel is one nest of loops over plain arrays

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.ann.lanes import compiled, lowest_one, near
from indexer.ann.mih_arrays import BAND_BITS, BANDS, LANES
from indexer.ann.neighbour_arrays import GROUP_OF_ROWS, LINE, LONG_FROM, WORDS
from indexer.ann.neighbour_fill import fill, flipped
from indexer.ann.row_lanes import (
    append_bands,
    bands_in,
    compare,
    first_words,
    near_line,
    near_rows,
)

_U8: TypeAlias = NDArray[np.uint8]
_U16: TypeAlias = NDArray[np.uint16]
_U32: TypeAlias = NDArray[np.uint32]
_U64: TypeAlias = NDArray[np.uint64]
_I64: TypeAlias = NDArray[np.int64]
_Int: TypeAlias = Any  # a whole number; numba finds out how wide

__all__ = ["compare_all", "fill", "find"]

DISTANCE_SHIFT = 32
QUERY_SHIFT = 38
"""Layout of a match, uint64: query number << 38 | distance << 32 | position."""

_BLOCK = 128
_TAG_SHIFT = 20
_KEY = (1 << _TAG_SHIFT) - 1
_EVERY_BAND = (1 << BANDS) - 1


@compiled()
def _report(matches: _U64, found: _Int, query: _Int, distance: _Int, position: _Int) -> None:
    """Write a match down if there is room."""
    if found < matches.size:
        matches[found] = (
            np.uint64(query) << np.uint64(QUERY_SHIFT)
            | np.uint64(distance) << np.uint64(DISTANCE_SHIFT)
            | np.uint64(position)
        )


_READ_BYTES = types.Array(types.uint8, 2, "C", readonly=True)
_READ_INTS = types.Array(types.uint32, 1, "C", readonly=True)
_READ_TABLE = types.Array(types.uint32, 2, "C", readonly=True)
_READ_HALVES = types.Array(types.uint16, 1, "C", readonly=True)


@compiled()
def _position(own: _U32, positions: _U32, group: _Int, place: _Int) -> _Int:
    """Return the digest whose sketch is the one number ``place`` of a group of a band."""
    flip = 0
    while True:
        source = flipped(group, flip)
        count = np.int64(own[source + 1]) - np.int64(own[source])
        if place < count:
            return np.int64(positions[np.int64(own[source]) + place])
        place -= count
        flip += 1


@compiled()
def _confirm(
    queries: _U8,
    query: _Int,
    sketch: _Int,
    chosen: _Int,
    digests: _U8,
    own: _U32,
    positions: _U32,
    starts: _U32,
    sketches: _U32,
    allowed: _U16,
    limit: _Int,
    radius: _Int,
    matches: _U64,
    found: _Int,
) -> _Int:
    """Compare one hit with group ``chosen``, counted through all bands; see (3).

    Returns:
        How many matches there are; those beyond the end of ``matches`` are only counted.
    """
    groups = own.shape[1] - 1
    band, group = chosen // groups, chosen % groups
    first, stop = np.int64(starts[chosen]), np.int64(starts[chosen + 1])
    for line in range(first, stop, LINE):
        close = near_line(sketches, line, sketch, limit)
        while close:
            slot = line + lowest_one(close)
            close &= close - np.uint64(1)
            if slot >= stop:  # what follows belongs to the next group
                break
            position = _position(own[band], positions[band], group, slot - first)
            compared = compare(queries, query, digests, position, allowed)
            distance = np.int64(compared >> np.uint64(BANDS))
            met_at = compared & np.uint64(_EVERY_BAND)
            if distance <= radius and met_at and lowest_one(met_at) == band:
                _report(matches, found, query, distance, position)
                found += 1
    return found


@compiled(
    types.int64(
        _READ_BYTES,
        _READ_BYTES,
        _READ_INTS,
        _READ_TABLE,
        _READ_TABLE,
        _READ_INTS,
        _READ_INTS,
        _READ_HALVES,
        types.uint64[::1],
        types.int64[::1],
    )
)
def find(
    queries: _U8,
    digests: _U8,
    bitmaps: _U32,
    own: _U32,
    positions: _U32,
    starts: _U32,
    sketches: _U32,
    allowed: _U16,
    matches: _U64,
    reached: _I64,
) -> _Int:
    """Look queries up from number ``reached[0]`` on, until the end or until no room is left.

    Args:
        queries: uint8[q, 32], q <= 2**26.
        digests: as in ``NeighbourArrays``, like the next five.
        matches: uint64[m], takes the matches, each once, in no order; see ``QUERY_SHIFT``.
        reached: int64[1], gets the number of the query to go on from; q when done.

    Returns:
        How many matches there are. More than m: ask again from the same query with that room.
    """
    group_bits = np.uint32(BAND_BITS - lowest_one(np.uint64(own.shape[1] - 1)))
    radius, widest, active = np.int64(-1), np.int64(0), np.uint64(0)
    for band in range(BANDS):
        radius += np.int64(allowed[band])
        if allowed[band]:
            active |= np.uint64(1) << np.uint64(band)
            widest = max(widest, np.int64(allowed[BANDS + band]) - 1)
    limit = np.uint32(widest)
    line = LANES if len(digests) >= LONG_FROM else LINE
    keys = np.empty(BANDS * (_BLOCK + 1), np.uint32)
    seen, noted = np.empty_like(keys), np.empty_like(keys)
    found = np.int64(0)
    for first in range(reached[0], len(queries), _BLOCK):
        hits = np.int64(0)
        for query in range(first, min(first + _BLOCK, len(queries))):
            chosen = active
            if bitmaps.size:
                chosen &= bands_in(queries, query, bitmaps)
            hits = append_bands(queries, query, chosen, query - first, keys, seen, hits)  # (1)
        closer = np.int64(0)
        for hit in range(hits):  # (2)
            group = np.int64((keys[hit] & np.uint32(_KEY)) >> group_bits)
            slot, stop = np.int64(starts[group]), np.int64(starts[group + 1])
            if line > LINE:
                close = near(sketches, slot, seen[hit], limit)
            else:
                close = near_line(sketches, slot, seen[hit], limit)
            noted[closer] = hit
            closer += (close != 0) | (stop - slot > line)
        before = found
        for number in range(closer):  # (3)
            noted_hit = np.int64(noted[number])
            found = _confirm(
                queries,
                first + np.int64(keys[noted_hit] >> np.uint32(_TAG_SHIFT)),
                seen[noted_hit],
                np.int64((keys[noted_hit] & np.uint32(_KEY)) >> group_bits),
                digests, own, positions, starts, sketches, allowed, limit, radius, matches, found,
            )  # fmt: skip
        if found > matches.size:
            reached[0] = first
            return before or found
    reached[0] = len(queries)
    return found


@compiled(
    types.int64(
        _READ_BYTES,
        _READ_BYTES,
        _READ_HALVES,
        types.uint64[::1],
        types.int64[::1],
    )
)
def compare_all(queries: _U8, digests: _U8, allowed: _U16, matches: _U64, reached: _I64) -> _Int:
    """Compare every query with every digest; arguments and result as in ``find``."""
    radius = np.int64(-1)
    for band in range(BANDS):
        radius += np.int64(allowed[band])
    words = np.empty(WORDS * len(digests), np.uint64)
    whole = digests.view(np.uint64)
    for digest in range(len(digests)):
        for word in range(WORDS):
            words[WORDS * digest + word] = whole[digest, word]
    columns = np.empty(WORDS * GROUP_OF_ROWS, np.uint64)
    last = np.zeros((GROUP_OF_ROWS, digests.shape[1]), np.uint8)
    found = np.int64(0)
    for first in range(reached[0], len(queries), GROUP_OF_ROWS):
        here = min(GROUP_OF_ROWS, len(queries) - first)
        if here == GROUP_OF_ROWS:
            first_words(queries, first, columns)
        else:  # nothing may be read behind the end
            last[:here] = queries[first:]
            first_words(last, 0, columns)
        before = found
        for digest in range(len(digests)):
            close = near_rows(columns, words, digest, np.uint64(radius))
            while close:
                query = lowest_one(close)
                close &= close - np.uint64(1)
                if query >= here:
                    break
                compared = compare(queries, first + query, digests, digest, allowed)
                distance = np.int64(compared >> np.uint64(BANDS))
                if distance <= radius:
                    _report(matches, found, first + query, distance, digest)
                    found += 1
        if found > matches.size:
            reached[0] = first
            return before or found
    reached[0] = len(queries)
    return found
