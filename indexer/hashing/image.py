"""Hashing one image: bytes in, digests out, no pixel kept."""

import hashlib

from indexer.hashing.decode import decode
from indexer.hashing.modes import Pixels
from indexer.hashing.paths import cpp_blocks, web_blocks
from indexer.hashing.pdq import quality_of
from indexer.hashing.variants import digests_of
from indexer.model import Background, HashedImage


def hash_image(data: bytes, *, max_bytes: int, max_pixels: int) -> HashedImage:
    """Hash an image both ways, upright and in seven mirrorings and turns each.

    Deterministic; in memory only; safe to call from several threads.

    Args:
        data: encoded bytes of an image; the format is told by content.
        max_bytes: largest ``data`` that is looked at, inclusive.
        max_pixels: largest width times height that is decoded, inclusive.

    Returns:
        The hashes. A transparent image has a second row, on black, only where
        any digest differs from those on white.

    Raises:
        ImageRefusedError: these bytes are not hashed, and why. Never treat it as
            "no match". The message holds nothing of ``data``.
    """
    decoded = decode(data, max_bytes=max_bytes, max_pixels=max_pixels)
    (background, pixels), *others = decoded.pixels
    row, quality = _row_of(pixels, orientation=decoded.orientation)
    rows: list[tuple[Background, bytes]] = [(background, row)]
    for other, other_pixels in others:
        other_row, _ = _row_of(other_pixels, orientation=decoded.orientation)
        if other_row != row:
            rows.append((other, other_row))
    return HashedImage(
        rows=tuple(rows),
        quality=quality,
        sha256=hashlib.sha256(data).digest(),
        size_bytes=len(data),
        mime=decoded.mime,
        width=decoded.width,
        height=decoded.height,
    )


def _row_of(pixels: Pixels, *, orientation: int) -> tuple[bytes, int]:
    """Hash pixels by both paths; only the browser's path heeds the orientation."""
    cpp = cpp_blocks(pixels)
    web = web_blocks(pixels)
    digests = digests_of(cpp) + digests_of(web, orientation=orientation)
    return b"".join(digests), quality_of(cpp.upright)
