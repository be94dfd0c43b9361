"""What is kept of an image beside its digests, so that more can be said about a match.

Thirty-four bytes for each hash row, from the 64x64 block that the row was hashed from
(docs/adr/0017)::

    0   1 byte    layout, 1
    1   1 byte    lattice, in 255ths
    2   32 bytes  the map: 16x16 bits, row by row, the first in the highest bit

The map says where a picture is brighter than around there. It is a hash, and as private as a
digest. PDQ says which frequencies of a picture are strong, and never looks at those that
run along one axis alone; what was made to collide under PDQ keeps its own map.
"""

import re
from dataclasses import dataclass, field
from math import exp, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.pdq import Block, cosines
from indexer.hashing.variants import transform
from indexer.model import DIGEST_BITS, Variant

MAP_SIDE = 16
TRAITS_BYTES = 34
_LAYOUT = 1
_STEPS = 255
_FREQUENCIES = 16
_TINY = 1e-9
_LEAST_COMMON = MAP_SIDE * MAP_SIDE // 4
"""Cells that two maps must have in common to be compared."""
_BITS_ALLOWED = (96, 160)
_USUAL_UNSEEN = 0.7
_CHANCE = 0.25
_WEIGHTS = (6.7, 4.3, -0.6, 3.9)
_OFFSET = -1.4


_COSINES = cosines()
_PITCH = np.hypot.outer(np.arange(1, _FREQUENCIES + 1), np.arange(1, _FREQUENCIES + 1))
_PLAIN_LUMA = np.array([0.5])
"""What a cell must be brighter by: plain grounds have noise."""
_PERCENT = re.compile(r"([tblr])([+-]\d+)")
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_PART = re.compile(r"part(\d+)/(\d+)/(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class BrightMap:
    """Where a picture is brighter than around there, as far as they are known.

    Attributes:
        bright: bool[16, 16].
        known: bool[16, 16]; false where a copy lacks that part of the picture.
    """

    bright: NDArray[np.bool_] = field(repr=False)
    known: NDArray[np.bool_] = field(repr=False)


def traits_of(block: Block, digest: bytes) -> bytes:
    """Describe an image by its block in 34 bytes; see the module.

    Args:
        block: float64[64, 64], luma 0-255, of the upright *cpp* path.
        digest: that block's, 32 bytes.
    """
    from indexer.hashing import trait_kernels  # noqa: PLC0415 - a third of a second

    bright = np.empty((MAP_SIDE, MAP_SIDE), np.uint8)
    trait_kernels.compare_around(block, _PLAIN_LUMA, bright)
    head = bytes((_LAYOUT, round(lattice_of_block(block, digest) * _STEPS)))
    return head + np.packbits(bright).tobytes()


def find_lattice(traits: bytes) -> float | None:
    """Read ``lattice_of_block`` out of stored traits, 0-1; None of an unknown layout."""
    return traits[1] / _STEPS if is_known(traits) else None


def find_map(traits: bytes, variant: str) -> BrightMap | None:
    """Read the map out of stored traits, and lay it where the signal's picture has it.

    Args:
        traits: of the hash row that matched.
        variant: the match's. What it says was undone before hashing is undone here: mirrorings
            and turns, missing edges and frames around the picture (to whole percent, as it names
            them). Small angles are let be: a cell is wider.

    Returns:
        The map, or None of an unknown layout.
    """
    if not is_known(traits):
        return None
    bits = np.unpackbits(np.frombuffer(traits, np.uint8, offset=2)).astype(np.bool_)
    bright, frame = bits.reshape(MAP_SIDE, MAP_SIDE), ""
    name = variant.partition("+")[0]
    if variant.startswith("deep:"):
        _, name, frame = (*variant.split(":", 2), "", "")[:3]
    framed = _in_frame(bright, frame)
    turned = Variant(name) if name in set(Variant) else Variant.UPRIGHT
    return BrightMap(
        bright=np.asarray(transform(framed.bright, turned), np.bool_),
        known=np.asarray(transform(framed.known, turned), np.bool_),
    )


def likeness(one: BrightMap, other: BrightMap) -> float:
    """Correlate two maps where both are known (Pearson's phi), -1 to 1.

    1 is the same map, about 0 an unrelated one, -1 the negative. 0 where less than a quarter
    is known of both, or where one is all bright or all dark there: that says nothing.
    """
    common = one.known & other.known
    count = int(common.sum())
    if count < _LEAST_COMMON:
        return 0.0
    left, right = one.bright[common], other.bright[common]
    shares = float(left.mean()), float(right.mean())
    spread = shares[0] * (1 - shares[0]) * shares[1] * (1 - shares[1])
    if spread <= 0:
        return 0.0
    both = float((left & right).mean()) - shares[0] * shares[1]
    return max(-1.0, min(1.0, both / float(np.sqrt(spread))))


def lattice_of_digest(digest: bytes) -> float:
    """Say how much a digest looks like one of a grid, 0-1, from its bits alone.

    A product of two profiles (stripes, grids, a chessboard, a box) has a product of two
    spectra: the bits, as +1 and -1 in 16x16, are nearly one row times one column. The number
    is the share that the best such product explains, from 0.25 (chance; photographs 0.17 to
    0.45) stretched to 0-1; 1 for a digest with fewer than 96 or more than 160 bits set, which
    no photograph has. Text, QR codes and gradients do not show in the bits.
    """
    low, high = _BITS_ALLOWED
    if not low <= int.from_bytes(digest).bit_count() <= high:
        return 1.0
    share = _product_share(_signs_of(digest))
    return max(0.0, min(1.0, (share - _CHANCE) / (1 - _CHANCE)))


def lattice_of_block(block: Block, digest: bytes) -> float:
    """Say how much an image is a grid, stripes, a screen of text or nearly flat, 0-1.

    A logistic scale of four numbers, fitted on drawn lattices against photographs
    (docs/adr/0017): 0.5 is where the two balance. QR codes and slanted stripes lie about there.

    Args:
        block: as of ``traits_of``.
        digest: as of ``traits_of``.
    """
    from indexer.hashing import trait_kernels  # noqa: PLC0415 - a third of a second

    found = np.empty(4)
    trait_kernels.measure(block, _COSINES, _PITCH, _signs_of(digest), found)
    power, seen, product, product_of_signs = found.tolist()
    features = (
        max(0.0, 1 - seen / (power + _TINY) - _USUAL_UNSEEN),  # too fine for PDQ, or along one axis
        product,  # one profile times another
        log1p(sqrt(seen / DIGEST_BITS)),  # strength of a frequency
        product_of_signs,
    )
    score = _OFFSET + sum(w * value for w, value in zip(_WEIGHTS, features, strict=True))
    return 1 / (1 + exp(-score))


def _signs_of(digest: bytes) -> NDArray[np.float64]:
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))
    return np.asarray(bits.reshape(_FREQUENCIES, _FREQUENCIES) * 2.0 - 1.0, np.float64)


def _product_share(values: NDArray[np.float64]) -> float:
    """Return the share of a 16x16 matrix's power that lies in its largest singular value, 0-1.

    By powers of its Gram matrix, a tenth of the time of a decomposition: short by at most 0.02,
    where many are equally large.
    """
    gram = values @ values.T
    power = float(np.trace(gram))
    if power <= _TINY:
        return 0.0
    gram /= power
    raised = gram
    for _ in range(5):
        raised = raised @ raised
    return float((raised * gram).sum() / np.trace(raised))


def _in_frame(bright: NDArray[np.bool_], frame: str) -> BrightMap:
    """Sample a copy's map where the cells of the whole picture lie; see ``guesses.Frame``."""
    missing = {edge: int(percent) / 100 for edge, percent in _PERCENT.findall(frame)}
    part = _PART.search(frame)
    left, top, width, height = (int(share) / 100 for share in part.groups()) if part else _WHOLE
    rows, rows_known = _places(missing.get("t", 0.0), missing.get("b", 0.0), top, height)
    columns, columns_known = _places(missing.get("l", 0.0), missing.get("r", 0.0), left, width)
    return BrightMap(
        bright=bright[np.ix_(rows, columns)], known=np.logical_and.outer(rows_known, columns_known)
    )


def _places(
    before: float, after: float, start: float, length: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Say, along one axis, in which cells of the copy the picture's lie, and whether they do."""
    centres = (np.arange(MAP_SIDE) + 0.5) / MAP_SIDE
    inside = centres * (1 + before + after) - before
    places = np.floor((start + length * inside) * MAP_SIDE).astype(np.int64)
    known = (inside >= 0) & (inside < 1) & (places >= 0) & (places < MAP_SIDE)
    return np.clip(places, 0, MAP_SIDE - 1), known


def is_known(traits: bytes) -> bool:
    """Say whether bytes are traits of the layout that is read here."""
    return len(traits) == TRAITS_BYTES and traits[0] == _LAYOUT
