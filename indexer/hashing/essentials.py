"""Encoded images without what their pixels do not depend on, as browsers read them.

Pillow reads all of a file's metadata on the way to its pixels. Where a part of it is broken
it gives up, and some parts it lets act on the pixels: a text chunk called "interlace", a table
of transparency behind the image. Browsers pass over such parts and show the picture. So a
copy could be hidden by one chunk that nobody looks at (docs/adr/0014).

Which parts count, the formats say: PNG 5.6 and 11 (W3C, third edition; out of order, twice or
with a wrong checksum an ancillary chunk is passed over), ITU T.81 annex B, GIF89a 23-26. What
a browser makes of each break was looked at in Chromium. Bytes that are no such file come out as
something that no reader takes for one either.
"""

import struct
import zlib
from collections.abc import Iterator

from indexer.hashing.bitmaps import plain_bitmap
from indexer.hashing.formats import BMP, CURSOR, GIF, ICO, JPEG, PNG, Format

_PNG_SIGNATURE_BYTES, _PNG_HEADER_BYTES, _PNG_SUM_BYTES = 8, 8, 4
_PNG_PICTURE = (b"IHDR", b"IDAT", b"IEND")
_PNG_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
_ANIMATION_BYTES, _FRAME_CONTROL_BYTES, _FRAME_NUMBER_BYTES = 8, 26, 4
_DEPTH_AT, _GREY, _PALETTE = 24, 0, 3
_GREY_STEPS = {2: 85, 4: 17}
"""By bit depth: from one grey to the next once they are spread over eight bits."""
_TRANSPARENCY_BYTES = {0: 2, 2: 6}
"""By colour type: grey and RGB name one colour. (A palette has up to a byte for each of its.)"""

_FILL, _SCAN, _COMMENT = 0xFF, 0xDA, 0xFE
_PARAMETERLESS = frozenset({0x01, *range(0xD0, 0xD8)})
_APPLICATION = range(0xE0, 0xF0)
_COLOUR_SEGMENTS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}
"""What decoders tell the colours by: name and least size, as libjpeg has them."""

_COLOURS, _COLOUR_BYTES = 256, 3
_GIF_HEADER_BYTES, _GIF_FRAME_BYTES = 13, 10
_GIF_TABLE, _GIF_TABLE_SIZE = 0x80, 0x07
_GIF_EXTENSION, _GIF_FRAME, _GIF_END = 0x21, 0x2C, 0x3B
_GIF_CONTROL, _GIF_CONTROL_BYTES = b"\x21\xf9\x04", 7

_ICON_HEADER_BYTES, _ICON_ENTRY, _ICON_SIDE, _MOST_ICONS = 6, struct.Struct("<BB6sII"), 256, 32
_PNG_SIGNATURE = b"\x89PNG"


def readings(data: bytes, form: Format) -> Iterator[bytes]:
    """Give the ways in which encoded bytes are to be read; the first that can be opened counts."""
    if form is PNG:
        yield essential_png(data)
        yield essential_png(data, still=True)
    elif form is GIF:
        yield essential_gif(data)
    else:
        yield data
        if form is JPEG:
            yield essential_jpeg(data)
        elif form is BMP:
            yield plain_bitmap(data)
        elif form in {ICO, CURSOR}:
            yield from single_icons(data)


def essential_png(data: bytes, *, still: bool = False) -> bytes:
    """Leave out of a PNG what neither its pixels nor its orientation depend on.

    Args:
        data: encoded bytes.
        still: leave the animation out too, where it is broken: a browser shows the first image.
    """
    depth, colour = data[_DEPTH_AT : _DEPTH_AT + 2].ljust(2, b"\0")
    kept, begun, at = [], 0, _PNG_SIGNATURE_BYTES
    before: dict[bytes, int] = {}
    while at + _PNG_HEADER_BYTES <= len(data):
        name, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4])
        end = at + _PNG_HEADER_BYTES + length + _PNG_SUM_BYTES
        is_kept = _is_picture(name, length, colour) or (
            not (still and name in _PNG_ANIMATION)
            and _is_in_place(name, length, colour, before)
            and _has_its_sum(data[at + 4 : end])
        )
        if not is_kept:
            kept.append(data[begun:at])
            begun = end
        elif name in {b"PLTE", b"tRNS"} - before.keys() and _has_its_sum(data[at + 4 : end]):
            kept += [data[begun:at], _as_shown(name, data[at + 8 : end - 4], depth, colour)]
            begun = end
        before.setdefault(name, length)
        at = end
        if name == b"IEND":
            break
    return b"".join((*kept, data[begun:]))


def _is_picture(name: bytes, length: int, colour: int) -> bool:
    return name in _PNG_PICTURE or (
        name == b"PLTE" and colour == _PALETTE and 0 < length <= _COLOURS * _COLOUR_BYTES
    )


def _is_in_place(name: bytes, length: int, colour: int, before: dict[bytes, int]) -> bool:
    """Say whether an ancillary chunk counts: of the right size, and where it has to stand."""
    if name == b"tRNS":
        if name in before or b"IDAT" in before:
            return False
        if colour == _PALETTE:
            return 0 < length <= before.get(b"PLTE", 0) // _COLOUR_BYTES
        return length == _TRANSPARENCY_BYTES.get(colour)
    if name == b"fdAT":
        return length >= _FRAME_NUMBER_BYTES
    if name == b"fcTL":
        return length == _FRAME_CONTROL_BYTES
    return name not in before and (
        name == b"eXIf" or (name == b"acTL" and length == _ANIMATION_BYTES)
    )


def _as_shown(name: bytes, body: bytes, depth: int, colour: int) -> bytes:
    """Write out what Pillow leaves open: a grey that it spreads, colours beyond a palette's end."""
    if name == b"PLTE":
        body += body[-_COLOUR_BYTES:] * (_COLOURS - len(body) // _COLOUR_BYTES)
    elif colour == _GREY and depth in _GREY_STEPS:
        grey = int.from_bytes(body) & ((1 << depth) - 1)
        body = (grey * _GREY_STEPS[depth]).to_bytes(2)
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def _has_its_sum(named: bytes) -> bool:
    """Check a chunk's sum; of a frame's data nobody does."""
    content, written = named[:-_PNG_SUM_BYTES], named[-_PNG_SUM_BYTES:]
    return named.startswith(b"fdAT") or zlib.crc32(content) == int.from_bytes(written)


def essential_jpeg(data: bytes) -> bytes:
    """Leave out of a JPEG's header comments and application segments that change no colour."""
    kept, at = [data[:2]], 2
    while (at := data.find(b"\xff", at)) >= 0:
        while at + 1 < len(data) and data[at + 1] == _FILL:
            at += 1
        marker = data[at + 1] if at + 1 < len(data) else _SCAN
        if marker == _SCAN:
            kept.append(data[at:])
            break
        if marker == 0 or marker in _PARAMETERLESS:
            at += 2
            continue
        end = at + 2 + max(int.from_bytes(data[at + 2 : at + 4]), 2)
        name, least = _COLOUR_SEGMENTS.get(marker, (b"", len(data)))
        tells_colours = end - at - 4 >= least and data.startswith(name, at + 4)
        if tells_colours or (marker != _COMMENT and marker not in _APPLICATION):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def essential_gif(data: bytes) -> bytes:
    """Leave out of a GIF all extensions but the whole one that last controls each frame."""
    at = _GIF_HEADER_BYTES + _table_bytes(data, 10)
    kept, control = [_with_whole_table(data[:at], 10, _GIF_HEADER_BYTES)], b""
    while at < len(data) and data[at] != _GIF_END:
        start = at
        if data[at] == _GIF_EXTENSION:
            at = _behind_blocks(data, at + 2)
            if data.startswith(_GIF_CONTROL, start):
                control = data[start : start + _GIF_CONTROL_BYTES] + b"\0"
        elif data[at] == _GIF_FRAME:
            at += _GIF_FRAME_BYTES + _table_bytes(data, at + 9)
            kept += [control, _with_whole_table(data[start:at], 9, _GIF_FRAME_BYTES)]
            behind = _behind_blocks(data, at + 1)
            kept.append(data[at:behind])
            at = behind
            control = b""
        else:
            at += 1
    return b"".join((*kept, data[at : at + 1]))


def _table_bytes(data: bytes, flags_at: int) -> int:
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << ((flags & _GIF_TABLE_SIZE) + 1) if flags & _GIF_TABLE else 0


def _with_whole_table(head: bytes, flags_at: int, table_at: int) -> bytes:
    """Fill a table of colours up with black: what browsers show of a colour beyond its end."""
    if not _table_bytes(head, flags_at):
        return head
    flags = head[flags_at] | _GIF_TABLE_SIZE
    rest = head[flags_at + 1 :].ljust(table_at - flags_at - 1 + _COLOURS * _COLOUR_BYTES, b"\0")
    return head[:flags_at] + bytes([flags]) + rest


def _behind_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def single_icons(data: bytes) -> Iterator[bytes]:
    """Give each picture of an icon as an icon of its own, the largest first.

    Browsers take the best that can be read; what other entries say does not count.
    """
    first, behind = _ICON_HEADER_BYTES, _ICON_HEADER_BYTES + _ICON_ENTRY.size
    count = min(int.from_bytes(data[4:6], "little"), (len(data) - first) // _ICON_ENTRY.size)
    found = list(_ICON_ENTRY.iter_unpack(data[first : first + max(count, 0) * _ICON_ENTRY.size]))
    found.sort(key=lambda entry: -(entry[0] or _ICON_SIDE) * (entry[1] or _ICON_SIDE))
    for width, height, rest, size, start in found[:_MOST_ICONS]:
        picture = data[start : start + size]
        if picture.startswith(_PNG_SIGNATURE):
            picture = essential_png(picture, still=True)
        entry = _ICON_ENTRY.pack(width, height, rest, len(picture), behind)
        yield data[:4] + b"\1\0" + entry + picture
