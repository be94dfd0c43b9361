"""Animations: how many frames there are, and which of them are hashed (docs/adr/0015).

Counting reads block headers only, and no further than to ``MOST_FRAMES``. To show a frame
every decoder decodes those before it, so the pixels of all frames up to the last that is
hashed count against the limit of an image; what lies beyond is not looked at.
"""

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    ImageFile,
    PngImagePlugin,
    WebPImagePlugin,
)

MOST_FRAMES = 10_000
"""Frames that are counted; of a longer animation the rest is not looked at."""

_GIF_HEADER_BYTES, _GIF_FRAME_BYTES = 13, 10
_GIF_TABLE, _GIF_TABLE_SIZE = 0x80, 0x07
_GIF_EXTENSION, _GIF_FRAME = 0x21, 0x2C
_PNG_SIGNATURE_BYTES, _PNG_CHUNK_BYTES = 8, 12


def frame_count(data: bytes, image: ImageFile.ImageFile) -> int:
    """Count the frames of an opened image, up to ``MOST_FRAMES``; 1 for a still one.

    What a header promises and the file does not bring is not counted.
    """
    if isinstance(image, GifImagePlugin.GifImageFile):
        return max(1, _gif_frames(data))
    if isinstance(image, PngImagePlugin.PngImageFile):
        promised = int(getattr(image, "n_frames", 1))
        return max(1, min(promised, _png_frames(data))) if promised > 1 else 1
    if isinstance(image, WebPImagePlugin.WebPImageFile | AvifImagePlugin.AvifImageFile):
        return max(1, min(int(image.n_frames), MOST_FRAMES))
    return 1


def sampled(count: int, *, most: int, reach: int) -> list[int]:
    """Choose up to ``most`` frames, spread evenly over the first ``reach`` of ``count``.

    Returns:
        Numbers in ascending order: 0 first, then up to the last that is in reach.
    """
    last = max(0, min(count, reach) - 1)
    if most <= 1 or last == 0:
        return [0]
    steps = min(most - 1, last)
    return [round(step * last / steps) for step in range(steps + 1)]


def _gif_frames(data: bytes) -> int:
    """Count the frames of a GIF that are there to their end (GIF89a, sections 15-26)."""
    size, found = len(data), 0
    at = _GIF_HEADER_BYTES + _table_bytes(data, 10)
    while at < size and found < MOST_FRAMES:
        kind = data[at]
        if kind == _GIF_EXTENSION:
            at += 2
        elif kind == _GIF_FRAME:
            at += _GIF_FRAME_BYTES + _table_bytes(data, at + 9) + 1
        elif kind == 0:  # padding that some programs write
            at += 1
            continue
        else:
            return found
        while at < size and data[at]:
            at += 1 + data[at]
        at += 1
        found += kind == _GIF_FRAME and at <= size
    return found


def _table_bytes(data: bytes, flags_at: int) -> int:
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << ((flags & _GIF_TABLE_SIZE) + 1) if flags & _GIF_TABLE else 0


def _png_frames(data: bytes) -> int:
    """Count frame headers, and the still picture where it is no part of the animation."""
    at, found, still = _PNG_SIGNATURE_BYTES, 0, 0
    while at + _PNG_CHUNK_BYTES <= len(data) and found < MOST_FRAMES:
        kind = data[at + 4 : at + 8]
        if kind == b"fcTL":
            found += 1
        elif kind == b"IDAT" and not found:
            still = 1
        at += _PNG_CHUNK_BYTES + int.from_bytes(data[at : at + 4])
    return found + still
