"""Compiled canonicalisation of plain URLs, which are nearly all; see ``indexer.url``.

Whatever is rare is left to ``canonical_url``: what is told here is what that would say.
"""

# ruff: noqa: ANN401, ARG001, PLR2004 - numba calls these with its own objects; bytes are numbers
# ruff: noqa: C901, PLR0911, PLR0912 - one pass over the bytes of a URL

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_SAFE, _HOST, _HEX, _UNRESERVED = 1, 2, 4, 8


def _classes() -> Any:
    found = np.zeros(256, np.uint8)
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for group, bit in (
        (letters + b"-._~:/@[]!$&'()*+,;=", _SAFE),
        (b"abcdefghijklmnopqrstuvwxyz0123456789-._", _HOST),
        (b"0123456789ABCDEF", _HEX),
        (letters + b"-._~", _UNRESERVED),
    ):
        found[list(group)] |= bit
    return found


_CLASSES = _classes()


def _loading(bits: int, kind: Any) -> Any:
    def load(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()))
            found.align = 1
            return builder.zext(found, ir.IntType(64)) if bits < 64 else found

        return types.uint64(types.uint64), generate

    return load


def _prefetching(_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        known = builder.module.globals.get("llvm.prefetch.p0")
        ask = known or ir.Function(builder.module, kind, "llvm.prefetch.p0")
        at = builder.inttoptr(args[0], pointer)
        builder.call(ask, [at, number(0), number(3), number(1)])  # read, keep, data
        return context.get_dummy_value()

    return types.void(types.uint64), generate


load8: Any = intrinsic(_loading(8, types.uint8))
load32: Any = intrinsic(_loading(32, types.uint32))
load64: Any = intrinsic(_loading(64, types.uint64))
prefetch: Any = intrinsic(_prefetching)


@njit(nogil=True)
def is_plain(at: Any, size: Any) -> Any:
    """Say whether text is an ASCII URL that ``canonical_url`` returns as it is.

    No for some that are, those with a port or a user among them.
    """
    if size < 9 or load32(at) != 0x70747468:  # http
        return False
    place = np.int64(5) if load8(at + np.uint64(4)) == 0x73 else np.int64(4)
    if load32(at + np.uint64(place)) & np.uint64(0xFFFFFF) != 0x2F2F3A:  # ://
        return False
    place += 3
    first = place
    while place < size and _CLASSES[load8(at + np.uint64(place))] & _HOST:
        place += 1
    if place == first or place >= size or load8(at + np.uint64(place)) != 0x2F:
        return False
    query = False
    before = 0
    while place < size:
        byte = load8(at + np.uint64(place))
        if _CLASSES[byte] & _SAFE:
            if byte == 0x2E and before == 0x2F and not query:
                return False
        elif byte == 0x3F:
            if not query and place + 1 == size:
                return False
            query = True
        elif byte == 0x25:
            if place + 2 >= size:
                return False
            high, low = load8(at + np.uint64(place + 1)), load8(at + np.uint64(place + 2))
            if not (_CLASSES[high] & _CLASSES[low] & _HEX):
                return False
            high = high - np.uint64(0x30 if high < 0x41 else 0x37)
            low = low - np.uint64(0x30 if low < 0x41 else 0x37)
            if _CLASSES[high * np.uint64(16) + low] & _UNRESERVED:
                return False
            place += 2
        else:
            return False
        before = byte
        place += 1
    return True


@njit(nogil=True)
def _escape(byte: Any, out: Any, filled: Any) -> Any:
    """Write an escape of a byte; returns where the next goes."""
    high, low = byte >> np.uint64(4), byte & np.uint64(15)
    out[filled] = 0x25
    out[filled + 1] = high + np.uint64(0x30 if high < 10 else 0x37)
    out[filled + 2] = low + np.uint64(0x30 if low < 10 else 0x37)
    return filled + 3


@njit(nogil=True)
def _value(digit: Any) -> Any:
    """Return what a hex digit stands for; 16 for another byte."""
    if 0x30 <= digit <= 0x39:
        return digit - np.uint64(0x30)
    lower = digit | np.uint64(0x20)
    return lower - np.uint64(0x57) if 0x61 <= lower <= 0x66 else np.uint64(16)


@njit(nogil=True)
def _normal_origin(at: Any, size: Any, out: Any) -> Any:
    """Write scheme, host and port; returns how far it read and wrote, -1 for what is not plain."""
    if size < 8 or (load32(at) | np.uint64(0x20202020)) != 0x70747468:  # http
        return np.int64(-1), np.int64(-1)
    place = np.int64(5) if (load8(at + np.uint64(4)) | np.uint64(0x20)) == 0x73 else np.int64(4)
    secure = place == 5
    if place + 3 >= size or load32(at + np.uint64(place)) & np.uint64(0xFFFFFF) != 0x2F2F3A:
        return np.int64(-1), np.int64(-1)
    place += 3
    for number in range(place):
        byte = load8(at + np.uint64(number))
        out[number] = byte | np.uint64(0x20) if byte >= 0x41 else byte
    first, filled = place, place
    while place < size:
        byte = load8(at + np.uint64(place))
        if 0x41 <= byte <= 0x5A:
            byte |= np.uint64(0x20)
        if not _CLASSES[byte] & _HOST:
            break
        out[filled] = byte
        filled += 1
        place += 1
    if place == first:
        return np.int64(-1), np.int64(-1)
    if place < size and load8(at + np.uint64(place)) == 0x3A:
        first, port = place, np.int64(0)
        place += 1
        while place < size and place - first <= 5:
            digit = load8(at + np.uint64(place))
            if not 0x30 <= digit <= 0x39:
                break
            port = port * 10 + np.int64(digit) - 0x30
            place += 1
        if not 1 <= place - first - 1 <= 4 or load8(at + np.uint64(first + 1)) == 0x30:
            return np.int64(-1), np.int64(-1)
        if port != (443 if secure else 80):
            for number in range(first, place):
                out[filled] = load8(at + np.uint64(number))
                filled += 1
    return place, filled


@njit(nogil=True)
def normal_form(at: Any, size: Any, out: Any) -> Any:
    """Write what ``canonical_url`` makes of an ASCII URL, uint8[3 * size + 2].

    Returns how long it is; -1 for what is rare: dot segments, broken escapes, users, blanks
    around it, ports with zeros before them.
    """
    place, filled = _normal_origin(at, size, out)
    if place < 0 or load8(at + np.uint64(size - 1)) == 0x20:
        return np.int64(-1)
    if place == size or load8(at + np.uint64(place)) != 0x2F:
        out[filled] = 0x2F
        filled += 1
    first, query = place, False
    while place < size:
        byte = load8(at + np.uint64(place))
        written = filled
        if byte < 0x20 or byte > 0x7E or (place == first and byte not in (0x2F, 0x3F, 0x23)):
            return np.int64(-1)
        if byte == 0x23:
            return filled if _is_plain_fragment(at, place, size) else np.int64(-1)
        if byte == 0x3F and not query:
            query = True
            if place + 1 < size and load8(at + np.uint64(place + 1)) != 0x23:
                out[filled] = byte
                filled += 1
        elif byte == 0x25:
            if place + 2 >= size:
                return np.int64(-1)
            high = _value(load8(at + np.uint64(place + 1)))
            low = _value(load8(at + np.uint64(place + 2)))
            if high > 15 or low > 15:
                return np.int64(-1)
            byte = high * np.uint64(16) + low
            if _CLASSES[byte] & _UNRESERVED:
                out[filled] = byte
                filled += 1
            else:
                filled = _escape(byte, out, filled)
            place += 2
        elif _CLASSES[byte] & _SAFE or byte == 0x3F:
            out[filled] = byte
            filled += 1
        else:
            filled = _escape(byte, out, filled)
        if not query and out[written] == 0x2E and out[written - 1] == 0x2F:
            return np.int64(-1)
        place += 1
    return filled


@njit(nogil=True)
def _is_plain_fragment(at: Any, first: Any, size: Any) -> Any:
    """Say whether it is ASCII and cannot be the mark of a ``data:`` image."""
    for place in range(first, size):
        byte = load8(at + np.uint64(place))
        if byte < 0x20 or byte > 0x7E:
            return False
        if byte == 0x23 and place + 1 < size and load8(at + np.uint64(place + 1)) == 0x64:
            return False
    return True
