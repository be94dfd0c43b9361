"""Compiled look-ups in a mapped snapshot. Importing this module loads numba and compiles.

Everything lies at addresses: a question costs less than making arrays of its parts would.
The table says where; see ``Snapshot``.

numba's cache looks only at the file a kernel is in. Who changes ``url_kernels`` touches this
file too.
"""

# ruff: noqa: ANN401, ARG001, PLR2004 - numba calls these with its own objects; bytes are numbers

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from delist.serving.url_kernels import is_plain, load8, load32, load64, normal_form, prefetch

STARTS, TAGS, OFFSETS, URLS, CHANGED, BUCKETS, KEY_0, KEY_1, HASH_MASK, TABLE = range(10)
"""Places in the table, uint64[TABLE]: five addresses, and numbers."""

ABSENT, PRESENT, UNSURE, MAYBE_CHANGED, PLACE = 0, 1, 2, 4, 3
"""Bits of an answer; above them, from bit ``PLACE`` on, the place of what is present.

Unsure: it is no plain URL, so nothing was looked up. Maybe changed: a URL of this hash, or of
one that shares its bit, was changed behind the snapshot.
"""

CHANGED_BITS = 1 << 20
"""Size of the bitmap at ``CHANGED``, by the lower part of the hash."""

_BLOCK = 32


@njit(nogil=True)
def _turned(word: Any, bits: Any) -> Any:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@njit(nogil=True)
def _round(a: Any, b: Any, c: Any, d: Any) -> Any:
    a = a + b
    b = _turned(b, 13) ^ a
    a = _turned(a, 32)
    c = c + d
    d = _turned(d, 16) ^ c
    a = a + d
    d = _turned(d, 21) ^ a
    c = c + b
    b = _turned(b, 17) ^ c
    c = _turned(c, 32)
    return a, b, c, d


@njit(nogil=True)
def _hashed(at: Any, size: Any, key_0: Any, key_1: Any) -> Any:
    """SipHash-1-3 of bytes under a key."""
    a, b = key_0 ^ np.uint64(0x736F6D6570736575), key_1 ^ np.uint64(0x646F72616E646F6D)
    c, d = key_0 ^ np.uint64(0x6C7967656E657261), key_1 ^ np.uint64(0x7465646279746573)
    whole = size - size % 8
    for place in range(0, whole, 8):
        word = load64(at + np.uint64(place))
        d ^= word
        a, b, c, d = _round(a, b, c, d)
        a ^= word
    last = np.uint64(size & 0xFF) << np.uint64(56)
    for place in range(whole, size):
        last |= load8(at + np.uint64(place)) << np.uint64(8 * (place - whole))
    d ^= last
    a, b, c, d = _round(a, b, c, d)
    a ^= last
    c ^= np.uint64(0xFF)
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    return a ^ b ^ c ^ d


@njit(nogil=True)
def _same(one: Any, other: Any, size: Any) -> Any:
    whole = size - size % 8
    for place in range(0, whole, 8):
        if load64(one + np.uint64(place)) != load64(other + np.uint64(place)):
            return False
    for place in range(whole, size):
        if load8(one + np.uint64(place)) != load8(other + np.uint64(place)):
            return False
    return True


@njit(nogil=True)
def _found(at: Any, size: Any, code: Any, table: Any) -> Any:
    """Look text up whose hash is known. Equal is only what is equal byte by byte."""
    slot = table[STARTS] + (code & (table[BUCKETS] - np.uint64(1))) * np.uint64(4)
    tag = code >> np.uint64(32)
    for place in range(np.int64(load32(slot)), np.int64(load32(slot + np.uint64(4)))):
        if load32(table[TAGS] + np.uint64(4 * place)) == tag:
            offset = table[OFFSETS] + np.uint64(8 * place)
            first = load64(offset)
            if load64(offset + np.uint64(8)) - first == np.uint64(size) and _same(
                at, table[URLS] + first, size
            ):
                return (np.int64(place) << PLACE) | PRESENT
    return np.int64(ABSENT)


@njit(nogil=True)
def _looked_up(at: Any, size: Any, code: Any, table: Any) -> Any:
    answer = _found(at, size, code, table)
    if table[CHANGED] != 0:
        bit = code & np.uint64(CHANGED_BITS - 1)
        if (load8(table[CHANGED] + (bit >> np.uint64(3))) >> (bit & np.uint64(7))) & np.uint64(1):
            answer |= MAYBE_CHANGED
    return answer


@njit(nogil=True)
def _asked(at: Any, size: Any, table: Any) -> Any:
    if is_plain(at, size):
        code = _hashed(at, size, table[KEY_0], table[KEY_1]) & table[HASH_MASK]
        return _looked_up(at, size, code, table)
    return _asked_raw(at, size, table)


@njit(nogil=True)
def _asked_raw(at: Any, size: Any, table: Any) -> Any:
    out = np.empty(3 * size + 2, np.uint8)
    length = normal_form(at, size, out)
    if length < 0:
        return np.int64(UNSURE)
    start = np.uint64(out.ctypes.data)
    code = _hashed(start, length, table[KEY_0], table[KEY_1]) & table[HASH_MASK]
    return _looked_up(start, length, code, table)


def _address(_context: Any, pointer: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.uint64(pointer), generate


address_of: Any = intrinsic(_address)


def _ask(text: Any, size: Any, table: Any) -> Any:
    return _asked(address_of(text), np.int64(size), carray(table, (TABLE,)))


_POINTER: Any = types.CPointer
_ASK = types.int64(_POINTER(types.uint8), types.int32, _POINTER(types.uint64))
_MANY = types.int64(types.uint64, types.int64, types.uint64[::1], types.boolean, types.int64[::1])
_HASH_ALL = types.void(
    types.uint64, types.uint64[::1], types.uint64, types.uint64, types.uint64[::1]
)
_GATHER = types.void(
    types.uint64, types.uint64[::1], types.int64[::1], types.int64, types.int64, types.uint8[::1]
)


def _many(at: Any, size: Any, table: Any, check: Any, answers: Any) -> Any:
    """Look lines up; returns how many there were. ``check``: see ``is_plain``."""
    starts, sizes = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.int64)
    codes = np.empty(_BLOCK, np.uint64)
    line, place = 0, 0
    while place <= size and line < len(answers):
        held = 0
        while held < _BLOCK and place <= size and line + held < len(answers):
            first = place
            while place < size and load8(at + np.uint64(place)) != 0x0A:
                place += 1
            starts[held], sizes[held] = at + np.uint64(first), place - first
            if check and not is_plain(starts[held], sizes[held]):
                sizes[held] = ~sizes[held]
            else:
                code = _hashed(starts[held], sizes[held], table[KEY_0], table[KEY_1])
                codes[held] = code & table[HASH_MASK]
                bucket = codes[held] & (table[BUCKETS] - np.uint64(1))
                prefetch(table[STARTS] + bucket * np.uint64(4))
            held += 1
            place += 1
        for number in range(held):
            if sizes[number] >= 0:
                bucket = codes[number] & (table[BUCKETS] - np.uint64(1))
                start = load32(table[STARTS] + bucket * np.uint64(4))
                prefetch(table[TAGS] + start * np.uint64(4))
        for number in range(held):
            if sizes[number] < 0:
                answers[line + number] = _asked_raw(starts[number], ~sizes[number], table)
            else:
                answers[line + number] = _looked_up(
                    starts[number], sizes[number], codes[number], table
                )
        line += held
    return line


def _hash_all(at: Any, offsets: Any, key_0: Any, key_1: Any, codes: Any) -> Any:
    """Hash the texts between neighbouring offsets."""
    for number in range(len(codes)):
        size = np.int64(offsets[number + 1] - offsets[number])
        codes[number] = _hashed(at + offsets[number], size, key_0, key_1)


def _gather(at: Any, offsets: Any, order: Any, first: Any, last: Any, out: Any) -> Any:
    """Copy the texts of a stretch of an order one behind the other."""
    filled = 0
    for number in range(first, last):
        text = order[number]
        start = at + offsets[text]
        for place in range(np.int64(offsets[text + 1] - offsets[text])):
            out[filled] = load8(start + np.uint64(place))
            filled += 1


def _checksum(at: Any, size: Any) -> Any:
    """Sum up bytes so that no accident goes unseen: four chains, each step a permutation."""
    a, b, c, d = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    odd = np.uint64(0x9E3779B97F4A7C15)
    whole = size - size % 32
    for place in range(0, whole, 32):
        start = at + np.uint64(place)
        a = _turned((a ^ load64(start)) * odd, 29)
        b = _turned((b ^ load64(start + np.uint64(8))) * odd, 29)
        c = _turned((c ^ load64(start + np.uint64(16))) * odd, 29)
        d = _turned((d ^ load64(start + np.uint64(24))) * odd, 29)
    for place in range(whole, size):
        a = _turned((a ^ load8(at + np.uint64(place))) * odd, 29)
    for word in (b, c, d, np.uint64(size)):
        a = _turned((a ^ word) * odd, 29)
    return a


def _compiled(signature: Any, function: Any) -> Any:
    """Compile now, or load what was compiled before; without a cache where none can be kept."""
    try:
        return njit(signature, nogil=True, cache=True)(function)
    except (RuntimeError, OSError):
        return njit(signature, nogil=True)(function)


def _compiled_callback(signature: Any, function: Any) -> Any:
    try:
        return cfunc(signature, cache=True)(function)
    except (RuntimeError, OSError):
        return cfunc(signature)(function)


ask_code: Any = _compiled_callback(_ASK, _ask)
find_lines: Any = _compiled(_MANY, _many)
hash_all: Any = _compiled(_HASH_ALL, _hash_all)
gather: Any = _compiled(_GATHER, _gather)
checksum: Any = _compiled(types.uint64(types.uint64, types.int64), _checksum)
