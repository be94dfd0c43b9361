"""Hashing one image: bytes in, digests out, no pixel kept."""

import hashlib
from contextlib import closing

import numpy as np

from indexer.errors import Refusal
from indexer.hashing.decode import decode
from indexer.hashing.guesses import reduce
from indexer.hashing.modes import Pixels
from indexer.hashing.opening import Limits
from indexer.hashing.origin import marks_of
from indexer.hashing.parts import Head, Layer
from indexer.hashing.paths import cpp_blocks, web_blocks
from indexer.hashing.pdq import Block, quality_of
from indexer.hashing.traits import traits_of
from indexer.hashing.variants import digests_of
from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    VARIANTS,
    Background,
    HashedImage,
    RowLabel,
    variant_name,
)
from indexer.settings import HashingSettings

LEAST_QUALITY = 50
"""Below it a digest says little (0-100)."""

SAME_FRAME_BITS = 4
"""A frame of which every digest is at most so far from that of a frame that is kept adds
nothing: it shows the same picture."""

_DEFAULTS = HashingSettings()


def hash_image(
    data: bytes,
    *,
    max_bytes: int,
    max_pixels: int,
    max_frames: int = _DEFAULTS.max_frames,
    max_video_frames: int = _DEFAULTS.max_video_frames,
    timeout_s: float = _DEFAULTS.timeout_s,
    deep: bool = False,
) -> HashedImage:
    """Hash an image both ways, upright and in seven mirrorings and turns each.

    Deterministic, unless a limit of time is met; in memory only; safe to call from several
    threads.

    Args:
        data: encoded bytes of an image; the format is told by content.
        max_bytes: largest ``data`` that is looked at, inclusive.
        max_pixels: largest width times height that is decoded, inclusive; also of all
            frames of an animation together.
        max_frames: most frames that are hashed, the first included.
        max_video_frames: the same for a video, one a second; 0 refuses videos.
        timeout_s: longest that a decoding process may take, where one is asked.
        deep: also reduce a frame to what the deep tier makes its guesses from: the first, or
            where that shows next to nothing, the first that does.

    Returns:
        The hashes. A transparent image has a second row, on black, only where
        any digest differs from those on white. An animation has further rows for
        frames that differ from those before.

    Raises:
        ImageRefusedError: these bytes are not hashed, and why. Never treat it as
            "no match". The message holds nothing of ``data``.
    """
    limits = Limits(
        max_bytes=max_bytes,
        max_pixels=max_pixels,
        max_frames=max_frames,
        max_video_frames=max_video_frames,
        timeout_s=timeout_s,
    )
    rows, reduced, reduced_quality = _Rows(), None, 0
    with closing(decode(data, limits)) as parts:
        head = next(parts)
        assert isinstance(head, Head)  # noqa: S101 - see decode
        incomplete = None
        for part in parts:
            if isinstance(part, Layer):
                quality = rows.add(part, orientation=head.orientation)
                # A first frame that shows nothing must not hide from all guesses what follows it.
                if deep and (reduced is None or reduced_quality < LEAST_QUALITY <= quality):
                    reduced = reduce(part.pixels, layer=_name_of(part))
                    reduced_quality = quality
            elif isinstance(part, Refusal):
                incomplete = part
    return HashedImage(
        rows=tuple(rows.kept),
        labels=rows.labels_needed(),
        quality=rows.labels[0].quality,
        sha256=hashlib.sha256(data).digest(),
        size_bytes=len(data),
        mime=head.mime,
        width=head.width,
        height=head.height,
        incomplete=incomplete,
        traits=tuple(rows.traits),
        provenance=marks_of(data),
        reduced=reduced,
    )


def hash_within(data: bytes, limits: HashingSettings, *, deep: bool = False) -> HashedImage:
    """Hash an image under the limits of the configuration; see ``hash_image``.

    Raises:
        ImageRefusedError: see ``hash_image``.
    """
    return hash_image(
        data,
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        max_frames=limits.max_frames,
        max_video_frames=limits.max_video_frames,
        timeout_s=limits.timeout_s,
        deep=deep,
    )


class _Rows:
    """The rows of an image so far.

    Attributes:
        kept: backgrounds and digests.
        labels: one for each of ``kept``.
        traits: one for each of ``kept``.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[Background, bytes]] = []
        self.labels: list[RowLabel] = []
        self.traits: list[bytes] = []

    def add(self, layer: Layer, *, orientation: int) -> int:
        """Hash a layer, and keep its row unless it adds nothing; returns its quality."""
        row, block = _row_of(layer.pixels, orientation=orientation)
        quality = quality_of(block)
        if layer.frame and quality == 0:
            return quality  # flat: its bits are rounding noise
        allowed_bits = SAME_FRAME_BITS if layer.frame else 0
        if any(_farthest(row, held) <= allowed_bits for _, held in self.kept):
            return quality
        self.kept.append((layer.background, row))
        label = RowLabel(frame=layer.frame, quality=quality, partial=layer.partial)
        self.labels.append(label)
        self.traits.append(traits_of(block, row[:DIGEST_BYTES]))
        return quality

    def labels_needed(self) -> tuple[RowLabel, ...]:
        """Return the labels, or none where they say nothing."""
        plain = RowLabel(quality=self.labels[0].quality)
        return () if all(label == plain for label in self.labels) else tuple(self.labels)


def _name_of(layer: Layer) -> str:
    """Name a layer as a match does, behind the variant."""
    return variant_name(0, layer.background, frame=layer.frame).removeprefix(VARIANTS[0].value)


def _farthest(row: bytes, other: bytes) -> int:
    """Return the largest of sixteen distances in bits: position by position."""
    if row == other:
        return 0
    difference = np.frombuffer(row, np.uint64) ^ np.frombuffer(other, np.uint64)
    return int(np.bitwise_count(difference).reshape(DIGESTS_PER_ROW, -1).sum(axis=1).max())


def _row_of(pixels: Pixels, *, orientation: int) -> tuple[bytes, Block]:
    """Hash pixels by both paths; only the browser's path heeds the orientation.

    Returns:
        The row, and the upright block of the *cpp* path, which its first digest is of.
    """
    cpp = cpp_blocks(pixels)
    web = web_blocks(pixels)
    digests = digests_of(cpp) + digests_of(web, orientation=orientation)
    return b"".join(digests), cpp.upright
