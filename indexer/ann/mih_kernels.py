"""Compiled look-ups in ``MihArrays``. Importing this module loads numba and compiles.

What is compiled is kept beside this file, or where ``NUMBA_CACHE_DIR`` says, for the next
process; where nothing can be written, every process compiles for itself.

Words used here:

- *budget* of a band: one more than the bits by which it may differ: 0 (not looked at), 1 or 2.
- *probe*: one bucket looked at for one query: the query's own value of the band, and, when
  the budget is 2, the sixteen values that are one bit away.
- *slot*: an index into a band's ``positions`` and ``sketches``.
- *pending*: slots whose sketch passed, uint64 ``query << 36 | band << 32 | slot``, kept to be
  compared in full together, so that the waits for memory overlap.

Why nothing is missed. Let the budgets add up to more than the distance. On a circle of
numbers (bits in which a band differs, less its budget) whose sum is negative, there is a
start from which every partial sum is negative (Dvoretzky and Motzkin's cycle lemma; for
look-ups: Qin and Xiao, "Pigeonring", PVLDB 12(1), 2018). So a match has a band that differs
by less than its budget, and that together with the two bands that follow, its sketch, differs
by less than the sum of the three budgets. That is what a probe asks for, with *limits* that
follow from the budgets, when the look-up is to be exact. Whatever budgets and limits are
given, a pair is reported once: by the first band that proposes it.
"""

# ruff: noqa: C901, PLR0913, PLR0917 - a kernel is one nest of loops over plain arrays

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from indexer.ann.lanes import compiled, count_ones, lowest_one, near, prefetch
from indexer.ann.mih_arrays import BAND_BITS, BANDS, BUCKETS, LANES

_U16: TypeAlias = NDArray[np.uint16]
_U32: TypeAlias = NDArray[np.uint32]
_U64: TypeAlias = NDArray[np.uint64]
_I64: TypeAlias = NDArray[np.int64]
_Int: TypeAlias = Any  # a whole number; numba finds out how wide

DISTANCE_SHIFT = 32
QUERY_SHIFT = 40
"""Layout of a match, uint64: query number << 40 | distance << 32 | position."""

_OWNER_SHIFT = 36
_PENDING = 512
_REGION_BITS = 8
_REGIONS = 1 << (BAND_BITS - _REGION_BITS)
_LINE = 16  # sketches in a cache line of 64 bytes


@compiled()
def _scan(
    sketches: _U32,
    slot: _Int,
    stop: _Int,
    key: _Int,
    limit: _Int,
    owner: _Int,
    pending: _U64,
    held: _Int,
) -> tuple[_Int, _Int]:
    """Append the near slots of a bucket to ``pending`` until its end, or until that is full.

    Args:
        owner: ``query << 4 | band``.

    Returns:
        The slot to go on from (``stop`` or more when done) and how many are pending.
    """
    while slot < stop and held < _PENDING:
        passed = near(sketches, slot, np.uint32(key), np.uint32(limit))
        if stop - slot < LANES:  # what follows belongs to the next bucket
            passed &= (np.uint64(1) << np.uint64(stop - slot)) - np.uint64(1)
        while passed:
            pending[held] = np.uint64(owner) << np.uint64(32) | np.uint64(slot + lowest_one(passed))
            held += 1
            passed &= passed - np.uint64(1)
        slot += LANES
    return slot, held


@compiled()
def _found_before(x: _U64, band: _Int, budgets: _I64, limits: _I64) -> bool:
    """Tell whether a band before ``band`` proposes the pair whose digests differ in ``x`` too."""
    here = count_ones(x[0] & np.uint64(0xFFFF))
    after = count_ones(x[0] >> np.uint64(16) & np.uint64(0xFFFF))
    for earlier in range(band):
        last = (earlier + 2) % BANDS
        last_bits = x[last >> 2] >> np.uint64(BAND_BITS * (last & 3)) & np.uint64(0xFFFF)
        beyond = count_ones(last_bits)
        if here < budgets[earlier] and here + after + beyond <= limits[earlier]:
            return True
        here, after = after, beyond
    return False


@compiled()
def _confirm(
    pending: _U64,
    held: _Int,
    positions: _U32,
    digests: _U64,
    queries: _U64,
    budgets: _I64,
    limits: _I64,
    radius: _Int,
    matches: _U64,
    found: _Int,
) -> _Int:
    """Compare pending slots in full; append each match that no earlier band has found.

    Returns:
        How many matches there are; those beyond the end of ``matches`` are only counted.
    """
    low, owner_bits = np.uint64(0xFFFFFFFF), np.uint64(32)
    x = np.empty(4, np.uint64)
    for i in range(held):
        band = np.int64(pending[i] >> owner_bits) & BANDS - 1
        prefetch(positions[band], np.int64(pending[i] & low))
    for i in range(held):
        band = np.int64(pending[i] >> owner_bits) & BANDS - 1
        position = np.uint64(positions[band, np.int64(pending[i] & low)])
        pending[i] = pending[i] & ~low | position
        prefetch(digests, 4 * np.int64(position))
    for i in range(held):
        query, position = pending[i] >> np.uint64(_OWNER_SHIFT), pending[i] & low
        distance = 0
        for word in range(4):
            x[word] = queries[np.int64(query), word] ^ digests[np.int64(position), word]
            distance += count_ones(x[word])
        if distance > radius:
            continue
        band = np.int64(pending[i] >> owner_bits) & BANDS - 1
        if _found_before(x, band, budgets, limits):
            continue
        if found < matches.size:
            matches[found] = (
                query << np.uint64(QUERY_SHIFT)
                | np.uint64(distance) << np.uint64(DISTANCE_SHIFT)
                | position
            )
        found += 1
    return found


@compiled()
def _sketch(bands: _U16, query: _Int, band: _Int) -> _Int:
    following = np.uint32(bands[query, (band + 1) % BANDS])
    return following | np.uint32(bands[query, (band + 2) % BANDS]) << np.uint32(BAND_BITS)


@compiled()
def _flipped(value: _Int, probe: _Int) -> _Int:
    """Return a band's value for one of its 17 probes: 0 itself, k with bit k - 1 flipped."""
    return value ^ (1 << probe >> 1)


@compiled()
def _prefetch_starts(bands: _U16, query: _Int, starts: _U32, budgets: _I64) -> None:
    for band in range(BANDS):
        value = np.int64(bands[query, band])
        prefetch(starts[band], value)
        if budgets[band] == 2:  # noqa: PLR2004 - see "budget"; bits below the fifth share the line
            for probe in range(5, BAND_BITS + 1):
                prefetch(starts[band], _flipped(value, probe))


_SIGNATURE = types.int64(
    # Read-only, as an array from a mapped file is; one that may be written is taken too.
    types.Array(types.uint16, 2, "C", readonly=True),
    types.Array(types.uint64, 2, "C", readonly=True),
    types.Array(types.uint32, 2, "C", readonly=True),
    types.Array(types.uint32, 2, "C", readonly=True),
    types.Array(types.uint32, 2, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
    types.int64,
    types.uint64[::1],
)


@compiled(_SIGNATURE)
def find_few(
    bands: _U16,
    digests: _U64,
    starts: _U32,
    positions: _U32,
    sketches: _U32,
    budgets: _I64,
    limits: _I64,
    radius: _Int,
    matches: _U64,
) -> _Int:
    """Look queries up one by one, asking early for what is read later.

    Args:
        bands: uint16[q, 16], the queries' bytes; q < 2**24.
        digests: as in ``MihArrays``, like the next three.
        budgets: int64[16], each 0, 1 or 2.
        limits: int64[16], the bits by which a band and the two that follow may differ.
        radius: the largest distance of a match, 0-255.
        matches: uint64[m], takes the matches, each once, in no order; see ``QUERY_SHIFT``.

    Returns:
        How many matches there are. More than m: nothing else was harmed; ask again with room.
    """
    queries = bands.view(np.uint64)
    pending = np.empty(_PENDING + LANES, np.uint64)
    bounds = np.empty((BANDS, BAND_BITS + 1, 2), np.int64)
    found, held = np.int64(0), np.int64(0)
    if len(bands):
        _prefetch_starts(bands, 0, starts, budgets)
    for query in range(len(bands)):
        if query + 1 < len(bands):
            _prefetch_starts(bands, query + 1, starts, budgets)
        for band in range(BANDS):
            for probe in range((0, 1, BAND_BITS + 1)[budgets[band]]):
                value = _flipped(np.int64(bands[query, band]), probe)
                slot, stop = np.int64(starts[band, value]), np.int64(starts[band, value + 1])
                bounds[band, probe, 0], bounds[band, probe, 1] = slot, stop
                prefetch(sketches[band], slot)
                prefetch(sketches[band], min(slot + _LINE, stop))
        for band in range(BANDS):
            key, limit = _sketch(bands, query, band), limits[band]
            owner = query << 4 | band
            for probe in range((0, 1, BAND_BITS + 1)[budgets[band]]):
                slot, stop = bounds[band, probe, 0], bounds[band, probe, 1]
                while slot < stop:
                    slot, held = _scan(
                        sketches[band], slot, stop, key, limit - min(probe, 1), owner, pending, held
                    )
                    if held >= _PENDING:
                        found = _confirm(
                            pending, held, positions, digests, queries, budgets, limits, radius,
                            matches, found,
                        )  # fmt: skip
                        held = np.int64(0)
    return _confirm(
        pending, held, positions, digests, queries, budgets, limits, radius, matches, found
    )


@compiled()
def _group(bands: _U16, band: _Int, groups: _I64, order: _I64, values: _I64, keys: _U32) -> None:
    """Sort queries by the region of a band's value.

    Args:
        groups: gets the first place of each region's queries, and the end.
        order: gets query numbers by place; ``values`` and ``keys`` their values and sketches.
    """
    groups[:] = 0
    for query in range(len(bands)):
        groups[(np.int64(bands[query, band]) >> _REGION_BITS) + 1] += 1
    for region in range(_REGIONS):
        groups[region + 1] += groups[region]
    places = groups.copy()
    for query in range(len(bands)):
        value = np.int64(bands[query, band])
        place = places[value >> _REGION_BITS]
        places[value >> _REGION_BITS] += 1
        order[place], values[place], keys[place] = query, value, _sketch(bands, query, band)


@compiled(_SIGNATURE)
def find_many(
    bands: _U16,
    digests: _U64,
    starts: _U32,
    positions: _U32,
    sketches: _U32,
    budgets: _I64,
    limits: _I64,
    radius: _Int,
    matches: _U64,
) -> _Int:
    """Look queries up band by band; arguments and result as in ``find_few``.

    A band's buckets are walked in 256 regions of 256, each small enough for the nearest
    caches. Flipping one of the value's low eight bits stays in its region; flipping one of
    the high eight leads to one of eight other regions. So a region is probed by its own
    queries (nine times) and by those of eight regions (once), while the next one is fetched.
    """
    queries = bands.view(np.uint64)
    pending = np.empty(_PENDING + LANES, np.uint64)
    groups = np.empty(_REGIONS + 1, np.int64)
    order, values = np.empty(len(bands), np.int64), np.empty(len(bands), np.int64)
    keys = np.empty(len(bands), np.uint32)
    found, held = np.int64(0), np.int64(0)
    for band in range(BANDS):
        if budgets[band] == 0:
            continue
        _group(bands, band, groups, order, values, keys)
        start, sketch, limit = starts[band], sketches[band], limits[band]
        sources, near_probes = ((0, 0), (1, 1), (_REGION_BITS + 1, _REGION_BITS + 1))[budgets[band]]
        for region in range(_REGIONS):
            visits = 0
            for source in range(sources):
                near_by = _flipped(region, source)
                visits += groups[near_by + 1] - groups[near_by]
            ahead = np.int64(start[(region + 1) << _REGION_BITS])
            stop_ahead = np.int64(start[min((region + 2) << _REGION_BITS, BUCKETS)])
            step = (stop_ahead - ahead) // max(visits, 1) + _LINE
            for source in range(sources):
                near_by = _flipped(region, source)
                for place in range(groups[near_by], groups[near_by + 1]):
                    until = min(ahead + step, stop_ahead)
                    while ahead < until:
                        prefetch(sketch, ahead)
                        ahead += _LINE
                    base = values[place] & (1 << _REGION_BITS) - 1 | region << _REGION_BITS
                    for probe in range(near_probes if source == 0 else 1):
                        value = _flipped(base, probe)
                        slot, stop = np.int64(start[value]), np.int64(start[value + 1])
                        allowed = limit - min(source + probe, 1)
                        while slot < stop:
                            slot, held = _scan(
                                sketch,
                                slot,
                                stop,
                                keys[place],
                                allowed,
                                order[place] << 4 | band,
                                pending,
                                held,
                            )
                            if held >= _PENDING:
                                found = _confirm(
                                    pending, held, positions, digests, queries, budgets, limits,
                                    radius, matches, found,
                                )  # fmt: skip
                                held = np.int64(0)
    return _confirm(
        pending, held, positions, digests, queries, budgets, limits, radius, matches, found
    )
