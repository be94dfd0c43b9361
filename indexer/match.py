"""Deciding whether an image hash matches a signal, and whether a digest can serve as one.

Pure: no I/O, no clock, no settings, so a crawl, a re-scan and a test agree.
"""

import re

from indexer.errors import HashKindMismatchError, InvalidDigestError
from indexer.model import DIGEST_BYTES, MD5_BYTES, HashKind, ImageHash, Match, Signal

MIN_SET_BITS = 96
MAX_SET_BITS = 160
"""A real PDQ digest has 128 bits set: each bit says whether a coefficient lies above the
median. Flat and crafted images leave this band; as signals they would match by accident."""

_HEX = re.compile("[0-9A-Fa-f]*")
FEED_KIND_PDQ = "ImagePDQ"
"""StopNCII's word for ``HashKind.PDQ``."""

FEED_KIND_VIDEO_MD5 = "VideoMD5"
"""StopNCII's word for ``HashKind.VIDEO_MD5``."""

MATCHED_KINDS = (FEED_KIND_PDQ, FEED_KIND_VIDEO_MD5)
"""The kinds of signals that are matched; others are kept and counted."""

_MD5_OF_NOTHING = bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e")


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


def parse_md5(text: str) -> bytes:
    """Read 32 hex digits, in either case, as a 16-byte MD5 digest.

    Raises:
        InvalidDigestError: wrong length or not hexadecimal. The text is not repeated.
    """
    text = text.strip()
    if len(text) != 2 * MD5_BYTES or not _HEX.fullmatch(text):
        raise InvalidDigestError(f"an MD5 digest has {2 * MD5_BYTES} hex digits and nothing else")
    return bytes.fromhex(text)


def checked_md5(md5: bytes) -> bytes:
    """Return an MD5 digest of 16 bytes as it is.

    Raises:
        InvalidDigestError: another length.
    """
    if len(md5) != MD5_BYTES:
        raise InvalidDigestError(f"an MD5 digest has {MD5_BYTES} bytes, this has {len(md5)}")
    return md5


def md5_value(md5: bytes) -> bytes:
    """Write an MD5 as a signal holds it, and as its key is made from: hex text, lower case."""
    return md5.hex().encode()


def signal_value(signal: Signal) -> str:
    """Write a signal's digest as its feed does."""
    if signal.kind == FEED_KIND_PDQ:
        return signal.digest.hex()
    return signal.digest.decode("utf-8", "replace")


def names_no_file(md5: bytes) -> bool:
    """Say whether an MD5 is that of no bytes at all: every empty file would match."""
    return md5 == _MD5_OF_NOTHING


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
