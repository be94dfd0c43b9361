"""JPEG files: a faster way through most, and what is left of those that were cut off.

Pillow has read the header, and limits, mode and orientation are known. The
pixels are Pillow's to the bit: both ask libjpeg-turbo for its accurate DCT and
smooth chroma. Whatever is unusual goes Pillow's way: other colours than RGB, YCbCr
and grey, any warning of the decoder, a header that the two read differently, and
all of them where simplejpeg is not installed: it changes the time, nothing else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import islice

import numpy as np
from PIL import ImageFile, JpegImagePlugin

from indexer.hashing.modes import Pixels
from indexer.hashing.scratch import borrow

try:
    import simplejpeg
except ImportError:  # pragma: no cover - no wheel for this machine
    simplejpeg = None

MOST_SCANS = 32
"""Scans of a JPEG that is decoded in this process; cameras and programs write up to about 12.
A scan of some ten bytes costs the decoder a pass over the whole picture, so that a small
file may take hours."""

LEAST_SHARE = 0.5
"""Share of its rows that a JPEG must still have to be hashed although it was cut off."""

_MODES = frozenset({"RGB", "L"})
_CHANNELS = "RGBX"
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_SEGMENTS = (_SCAN, b"\xff\xc4", b"\xff\xdb", b"\xff\xdd")
_FILL = (127, 128)
_MOST_SEGMENTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What is left of a JPEG file that ends too early.

    Attributes:
        image: loaded, and as large as its header says.
        share: of its rows, from the top to the last that is not wholly filling, 0-1.
        is_whole: the last pixel is there too: nothing but the end marker is missing.
    """

    image: ImageFile.ImageFile
    share: float
    is_whole: bool


def decode_jpeg(data: bytes, image: ImageFile.ImageFile) -> Pixels | None:
    """Decode a whole and sound JPEG file, without the GIL.

    Args:
        data: encoded bytes.
        image: the same, opened by Pillow and within all limits, not yet loaded.

    Returns:
        uint32[height, width], or None: Pillow must decode it, or say what is wrong.
    """
    if simplejpeg is None or image.mode not in _MODES:
        return None
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != image.size:
            return None  # never larger than what the limits were held against
        pixels = borrow(width * height)
        simplejpeg.decode_jpeg(data, _CHANNELS, strict=True, buffer=pixels.view(np.uint8))
    except (ValueError, RuntimeError, MemoryError):
        return None
    return pixels.reshape(height, width)


def has_many_scans(data: bytes, image: ImageFile.ImageFile) -> bool:
    """Say whether decoding may take far longer than the size of a picture lets expect.

    Args:
        data: encoded bytes.
        image: the same, just opened: Pillow stands behind the header of the first scan.
    """
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return False
    if isinstance(image.fp, BytesIO):
        data = image.fp.getvalue()  # what was opened may be less than the file (``essentials``)
    behind = image.fp.tell() if image.fp is not None else 0
    # A comment before the scan may look like the header of another one: then both count.
    counts = [n for n in range(1, image.layers + 1) if _ends_scan_header(data, behind, n)]
    if counts == [image.layers] and not image.info.get("progressive"):
        return False  # all components in one scan: the decoder stops behind it
    return data.count(_SCAN) > MOST_SCANS


def _ends_scan_header(data: bytes, end: int, components: int) -> bool:
    """Say whether the header of a scan of so many components ends at a place."""
    size = 6 + 2 * components
    return data.startswith(_SCAN + size.to_bytes(2) + bytes([components]), max(end - size - 2, 0))


def has_plain_header(data: bytes) -> bool:
    """Say whether a few segments, nothing between them, lead to the first scan."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker = data[at : at + 2]
        if marker == _SCAN:
            return True
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in {0, 0xFF}:  # noqa: PLR2004
            return False
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return False


def what_is_left(data: bytes, open_: Callable[[bytes], ImageFile.ImageFile]) -> Remains | None:
    """Decode a JPEG file that ends too early, as browsers do, and say how much of it is there.

    A progressive file has all its rows as soon as its first scan is whole; they are only less
    sharp. What is missing is grey. A full-width stripe of one colour has no half wave along
    its rows, so it cannot matter to a digest which colour it is, and browsers differ in it.

    Args:
        data: encoded bytes, within all limits.
        open_: reads the header of a JPEG file.

    Returns:
        What is left, or None when there is nothing.

    Raises:
        Exception: what Pillow raises.
    """
    # An end marker is put where the bytes end; where they end inside a header, before it.
    before = max(data.rfind(marker) for marker in _SEGMENTS)
    for cut in (len(data), before):
        if cut <= 0:
            return None
        try:
            image = open_(data[:cut] + _END)
            image.load()
        except OSError:
            continue
        pixels = np.asarray(image).reshape(image.height, image.width, -1)
        is_there = np.any((pixels < _FILL[0]) | (pixels > _FILL[1]), axis=2)
        rows = np.flatnonzero(np.any(is_there, axis=1))
        return Remains(
            image=image,
            share=(int(rows[-1]) + 1) / image.height if len(rows) else 0.0,
            is_whole=bool(is_there[-1, -1]) and not image.info.get("progressive"),
        )
    return None


def what_came_before(
    data: bytes, open_: Callable[[bytes], ImageFile.ImageFile]
) -> ImageFile.ImageFile | None:
    """Decode a progressive JPEG file as far as the last scan before what breaks it.

    Browsers show each scan as soon as it is there, and go no further than to an error.

    Args:
        data: encoded bytes, within all limits.
        open_: reads the header of a JPEG file.

    Returns:
        What is left, loaded, or None when there is nothing.
    """
    scans = [found.start() for found in islice(re.finditer(_SCAN, data), 1, MOST_SCANS)]
    for cut in reversed(scans):
        try:
            image = open_(data[:cut] + _END)
            if not image.info.get("progressive"):
                return None
            image.load()
        except OSError:
            continue
        return image
    return None
