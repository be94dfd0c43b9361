"""Deciding whether an image hash matches a signal, and whether a digest can serve as one.

Pure: no I/O, no clock, no settings, so a crawl, a re-scan and a test agree.
"""

import re

from indexer.errors import HashKindMismatchError, InvalidDigestError
from indexer.model import DIGEST_BYTES, HashKind, ImageHash, Match, Signal

MIN_SET_BITS = 96
MAX_SET_BITS = 160
"""A real PDQ digest has 128 bits set: each bit says whether a coefficient lies above the
median. Flat and crafted images leave this band; as signals they would match by accident."""

_HEX = re.compile("[0-9A-Fa-f]*")
FEED_KIND_PDQ = "ImagePDQ"
"""StopNCII's word for ``HashKind.PDQ``."""


def parse_digest(text: str) -> bytes:
    """Read 64 hex digits, in either case, as a 32-byte digest.

    Raises:
        InvalidDigestError: wrong length or not hexadecimal. The text is not repeated.
    """
    text = text.strip()
    if len(text) != 2 * DIGEST_BYTES:
        raise InvalidDigestError(
            f"a PDQ digest has {2 * DIGEST_BYTES} hex digits, this has {len(text)} characters"
        )
    # bytes.fromhex would skip blanks between bytes and so accept a shorter digest.
    if not _HEX.fullmatch(text):
        raise InvalidDigestError("a PDQ digest has hex digits only")
    return bytes.fromhex(text)


def checked_digest(digest: bytes) -> bytes:
    """Return a digest of 32 bytes as it is.

    Raises:
        InvalidDigestError: another length.
    """
    if len(digest) != DIGEST_BYTES:
        raise InvalidDigestError(f"a PDQ digest has {DIGEST_BYTES} bytes, this has {len(digest)}")
    return digest


def is_degenerate(digest: bytes) -> bool:
    """Say whether a digest has too few or too many bits set to stand for a photograph."""
    return not MIN_SET_BITS <= int.from_bytes(digest).bit_count() <= MAX_SET_BITS


def distance_bits(one: bytes, other: bytes) -> int:
    """Count the bits that differ between two digests of equal length."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def compare(image: ImageHash, signal: Signal, *, threshold_bits: int) -> Match | None:
    """Compare one image hash with one signal from a feed.

    Args:
        image: hash of the image. Its quality is not looked at here.
        signal: an active signal of the same kind.
        threshold_bits: the largest distance, in bits, that is still a match (inclusive).

    Returns:
        The match, or None when the distance exceeds the threshold.

    Raises:
        HashKindMismatchError: the kinds differ. Never treat it as "no match".
    """
    if signal.kind != FEED_KIND_PDQ or image.kind is not HashKind.PDQ:
        raise HashKindMismatchError(f"cannot compare {image.kind} with {signal.kind}")
    if len(image.digest) != len(signal.digest):
        raise HashKindMismatchError("the digests differ in length")
    distance = distance_bits(image.digest, signal.digest)
    if distance > threshold_bits:
        return None
    return Match(
        signal_key=signal.key,
        feed=signal.feed,
        distance_bits=distance,
        threshold_bits=threshold_bits,
        hasher=image.hasher,
        variant=image.variant,
        quality=image.quality,
    )
