"""A second hash from who reported a picture, and what it adds to a match (docs/adr/0036).

The map of ``traits`` is kept of every image, so a reporter's map can be compared with it when the
pixels are long gone. But a digest is a small picture: turned back into one, it gives much of the
map away. So what counts is not how alike two maps are, but how alike they are **beyond what the
digest foretells**: their partial correlation, given the map that the digest's bits alone give.
Who holds only a digest comes to about 0 with whatever is made from it, who holds the picture
to nearly 1; a picture that collides with the digest has another map.

Stored and sent as 33 bytes, 66 hex digits::

    0   1 byte    layout, 1
    1   32 bytes  the map of the block of the *web* path, as ``traits`` writes it

It is a hash, and as private as a digest; more so, since it leaves the reporter for our server
alone. ``delist/web/static/pdq-formulas.js`` makes it in a browser (``mapOf``).
"""

import re
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from indexer.errors import InvalidDigestError
from indexer.hashing.pdq import Block, cosines
from indexer.hashing.traits import MAP_SIDE, BrightMap, is_known, likeness
from indexer.hashing.variants import transform
from indexer.model import VARIANTS

CORROBORATES = 0.5
"""Least ``likeness_beyond`` that speaks for the very picture. Copies within 31 bits are above;
of 40,828 maps of other photographs none is, nor any of 692 made from the digest alone."""
CORROBORATING_BYTES = 33
_LAYOUT = 1
_HEX = re.compile(r"[0-9a-fA-F]*")
_TINY = 1e-9
_COSINES = cosines()
_FREQUENCY = np.arange(1, MAP_SIDE + 1)
_USUAL_SIZE = 1 / np.hypot.outer(_FREQUENCY, _FREQUENCY)
"""How strong a photograph's frequencies are, one to another: the inverse of the pitch."""
_ABOVE_NOTHING = np.zeros(1)
_ABOVE_NOISE = np.array([0.5])  # as ``traits`` has it


@dataclass(frozen=True, slots=True)
class CorroboratingHash:
    """What a reporter's browser sends beside the PDQ hash.

    Attributes:
        map_bits: 32 bytes, 16x16 bits row by row, the first in the highest bit.
    """

    map_bits: bytes = field(repr=False)

    def __bytes__(self) -> bytes:
        """Return the 33 bytes that are stored."""
        return bytes((_LAYOUT,)) + self.map_bits

    def laid(self) -> BrightMap:
        """Return the map, known everywhere."""
        return BrightMap(bright=_unpacked(self.map_bits), known=_everywhere())


def parse_corroborating(text: str) -> CorroboratingHash:
    """Read 66 hex digits, in either case.

    Raises:
        InvalidDigestError: wrong length, not hexadecimal, another layout, or a map that is all
            bright or all dark and says nothing. The text is not repeated.
    """
    text = text.strip()
    if len(text) != 2 * CORROBORATING_BYTES or not _HEX.fullmatch(text):
        raise InvalidDigestError(f"a second hash has {2 * CORROBORATING_BYTES} hex digits")
    layout, map_bits = bytes.fromhex(text[:2])[0], bytes.fromhex(text[2:])
    if layout != _LAYOUT:
        raise InvalidDigestError("a second hash of a layout that is not known here")
    if len(set(map_bits)) == 1 and map_bits[0] in {0x00, 0xFF}:
        raise InvalidDigestError("a second hash of a plain picture says nothing")
    return CorroboratingHash(map_bits)


def read_corroborating(raw: bytes) -> CorroboratingHash | None:
    """Read the bytes that are stored; None of an unknown layout."""
    if len(raw) != CORROBORATING_BYTES or raw[0] != _LAYOUT:
        return None
    return CorroboratingHash(raw[1:])


def corroborating_hash(block: Block) -> CorroboratingHash:
    """Make the second hash of a picture.

    Args:
        block: float64[64, 64], luma 0-255, of the upright *web* path.
    """
    return CorroboratingHash(np.packbits(_brighter(block, _ABOVE_NOISE)).tobytes())


def second_of_traits(traits: bytes) -> CorroboratingHash | None:
    """Take the second hash out of what is kept of a picture; None of an unknown layout.

    Of the *cpp* path: some 3.5 bits from that of the *web* path, which a browser makes.
    """
    return CorroboratingHash(traits[2:]) if is_known(traits) else None


def foretold_map(digest: bytes) -> BrightMap:
    """Make the map that a digest alone foretells: its bits, as strong as they usually are."""
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[::-1].reshape(MAP_SIDE, MAP_SIDE)
    block = _COSINES @ ((bits * 2.0 - 1.0) * _USUAL_SIZE) @ _COSINES.T
    return BrightMap(bright=_brighter(block, _ABOVE_NOTHING), known=_everywhere())


def likeness_beyond(one: BrightMap, other: BrightMap, digest: bytes) -> float:
    """Correlate two maps given what the digest foretells of both, -1 to 1.

    Args:
        one: the reporter's.
        other: of an image that matched, laid where the signal's picture has it.
        digest: the signal's, 32 bytes.

    Returns:
        The partial correlation. 0 where too little is known, or where the digest foretells
        either map to the last bit: then it adds nothing.
    """
    foretold = foretold_map(digest)
    both, mine, theirs = likeness(one, other), likeness(one, foretold), likeness(other, foretold)
    left = (1 - mine**2) * (1 - theirs**2)
    if left <= _TINY:
        return 0.0
    return max(-1.0, min(1.0, (both - mine * theirs) / sqrt(left)))


def best_likeness_beyond(one: BrightMap, other: BrightMap, digest: bytes) -> float:
    """Do the same for the other map in all eight mirrorings and turns, and return the most."""
    return max(
        likeness_beyond(
            one,
            BrightMap(
                bright=np.asarray(transform(other.bright, turn), np.bool_),
                known=np.asarray(transform(other.known, turn), np.bool_),
            ),
            digest,
        )
        for turn in VARIANTS
    )


def _brighter(block: Block, above: NDArray[np.float64]) -> NDArray[np.bool_]:
    from indexer.hashing import trait_kernels  # noqa: PLC0415 - a third of a second

    bright = np.empty((MAP_SIDE, MAP_SIDE), np.uint8)
    trait_kernels.compare_around(np.ascontiguousarray(block), above, bright)
    return bright.astype(np.bool_)


def _unpacked(map_bits: bytes) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(map_bits, np.uint8)).astype(np.bool_)
    return bits.reshape(MAP_SIDE, MAP_SIDE)


def _everywhere() -> NDArray[np.bool_]:
    return np.ones((MAP_SIDE, MAP_SIDE), np.bool_)
