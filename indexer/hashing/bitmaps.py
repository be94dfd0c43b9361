"""Windows bitmaps whose header says more than Pillow understands, written as it reads them.

Pillow knows the usual places of colours among the bits of a pixel, and wants a sensible number
of colours; browsers take any. Layout: Microsoft, "Bitmap Header Types" (BITMAPINFOHEADER and
those after it).
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILE_HEADER_BYTES, _LEAST_HEADER_BYTES, _ALPHA_HEADER_BYTES = 14, 40, 56
_START_AT, _SIZES_AT, _COLOURS_AT, _MASKS_AT = 10, 18, 46, 54
_SIZES = struct.Struct("<iiHHI")
_MASKS = struct.Struct("<IIII")
_MOST_PALETTE_BITS = 8
_BIT_FIELDS = (3, 6)
_WORDS = {16: "<u2", 32: "<u4"}
_AS_READ = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
"""Masks of red, green, blue and alpha as they are written."""


def plain_bitmap(data: bytes) -> bytes:
    """Write a bitmap with eight bits for each colour, or with as many colours as it can have.

    Returns:
        The file, or the bytes as they came where there is nothing to write otherwise.
    """
    if len(data) < _MASKS_AT + _MASKS.size:
        return data
    header_bytes = int.from_bytes(data[_FILE_HEADER_BYTES : _FILE_HEADER_BYTES + 4], "little")
    width, height, _, bits, compression = _SIZES.unpack_from(data, _SIZES_AT)
    if header_bytes < _LEAST_HEADER_BYTES:
        return data
    if bits <= _MOST_PALETTE_BITS:
        return data[:_COLOURS_AT] + bytes(4) + data[_COLOURS_AT + 4 :]
    word, rows = _WORDS.get(bits), abs(height)
    start = int.from_bytes(data[_START_AT : _START_AT + 4], "little")
    stride = (max(width, 0) * bits + 31) // 32 * 4
    if word is None or width < 1 or compression not in _BIT_FIELDS:
        return data
    if start + stride * rows > len(data):
        return data
    masks = list(_MASKS.unpack_from(data, _MASKS_AT))
    if header_bytes < _ALPHA_HEADER_BYTES:
        masks[-1] = 0
    lines = np.frombuffer(data, np.uint8, stride * rows, start).reshape(rows, stride)
    pixels: NDArray[Any] = np.ascontiguousarray(lines[:, : width * bits // 8]).view(word)
    written = np.zeros(pixels.shape, "<u4")
    for mask, place in zip(masks, _AS_READ, strict=True):
        written |= _eight_bits(pixels, mask) * np.uint32(place // 0xFF)
    head = bytearray(data[:_MASKS_AT].ljust(_FILE_HEADER_BYTES + _ALPHA_HEADER_BYTES, b"\0"))
    head[_START_AT : _START_AT + 4] = len(head).to_bytes(4, "little")
    head[_FILE_HEADER_BYTES : _FILE_HEADER_BYTES + 4] = _ALPHA_HEADER_BYTES.to_bytes(4, "little")
    _SIZES.pack_into(head, _SIZES_AT, width, height, 1, 32, _BIT_FIELDS[0])
    _MASKS.pack_into(head, _MASKS_AT, *_AS_READ[:-1], _AS_READ[-1] if masks[-1] else 0)
    return bytes(head) + written.tobytes()


def _eight_bits(pixels: NDArray[Any], mask: int) -> NDArray[np.uint32]:
    """Take what a mask selects, spread over 0-255; nothing for a mask of nothing."""
    if not mask:
        return np.zeros(pixels.shape, np.uint32)
    low = (mask & -mask).bit_length() - 1
    values = (pixels.astype(np.uint64) & np.uint64(mask)) >> np.uint64(low)
    return (values * np.uint64(0xFF) // np.uint64(mask >> low)).astype(np.uint32)
