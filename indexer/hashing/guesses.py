"""Guesses of what was done to a copy, undone before hashing.

The feed holds hashes only, but we hold the crawled pixels: where a copy was cropped, its
edges are continued to where the picture may have ended; where it was turned, it is turned
back; where a border was added, it is cut. What is found this way is never exact, so nothing
rests on it alone (docs/adr/0016).

A guess only changes weights along the two axes, so it is made from a small reduction of the
image: filter, decimation and DCT are linear, and fold with the frame into 16 weighted sums
along each axis. A dihedral variant then changes signs of frequencies or swaps the axes.
Close to both paths' hashes, equal to neither: 4 bits from *web*, 7 from *cpp* on average.

Mismatches are weighed by margin: the feed knows of each frequency on which side of the
median it lies, but of the image we know by how much. Ranked by that, the bits of an edited
copy differ where they nearly were equal, those of another image anywhere.

Formulas: ``pdq``; *web* filter: ``paths``.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import degrees, radians

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.modes import Pixels
from indexer.hashing.pdq import cosines
from indexer.hashing.variants import HASHED
from indexer.model import DIGEST_BITS, DIGEST_BYTES, Variant

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height of a part of an image, in shares of its sides."""

WHOLE: Rectangle = (0.0, 0.0, 1.0, 1.0)
REDUCED_SIDE = 256
"""Samples along each side of what is kept of an image, in memory, to guess from."""

_EDGES, _TURN = 4, 4
_LEVELS = 4
_FREQUENCIES = 16
_TURNED_OVER = 4  # the variants from here on swap the axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What is left of an image, in memory only, until its guesses have been looked up.

    Attributes:
        luma: float32[256, 256], 0-255.
        aspect: width through height, in pixels.
    """

    luma: NDArray[np.float32] = field(repr=False)
    aspect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the picture that was hashed lies, seen from the copy.

    Attributes:
        top, bottom, left, right: what is missing beyond each edge of the rectangle, in shares
            of its side; negative: the picture's edge lies inside.
        turn_deg: degrees by which the copy was turned, anticlockwise.
        rectangle: left, top, width, height of the part of the copy that is looked at, in shares.
    """

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0
    turn_deg: float = 0.0
    rectangle: Rectangle = WHOLE

    def __str__(self) -> str:
        parts = [
            f"{name}={value * 100:+.0f}%"
            for name, value in (
                ("top", self.top),
                ("bottom", self.bottom),
                ("left", self.left),
                ("right", self.right),
            )
            if abs(value) >= 0.005  # noqa: PLR2004 - shows as 0 %
        ]
        if abs(self.turn_deg) >= 0.05:  # noqa: PLR2004 - shows as 0
            parts.append(f"turn={self.turn_deg:+.1f}")
        if self.rectangle != WHOLE:
            parts.append("part=" + "/".join(f"{share * 100:.0f}" for share in self.rectangle))
        return ",".join(parts) or "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One frame in one dihedral variant."""

    frame: Frame
    variant: Variant

    @property
    def name(self) -> str:
        """The guess as a match names it: ``deep:mirror:left=+5%``."""
        return f"deep:{self.variant.value}:{self.frame}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How close a guess comes to a digest.

    Attributes:
        distance_bits: Hamming distance, 0-256.
        weighted_bits: the same with every bit weighted by the rank of its margin, so that
            unrelated images are at 128 too; spread 9.2 bits where Hamming has 8.2.
    """

    guess: Guess
    distance_bits: int
    weighted_bits: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessSet:
    """Guesses that are made together: all pairs of frames of the two axes.

    Attributes:
        axis: what may be missing before and after, along each axis.
        turns_deg: angles.
        variants: which of the eight.
    """

    name: str
    axis: tuple[tuple[float, float], ...]
    variants: tuple[Variant, ...]
    turns_deg: tuple[float, ...] = (0.0,)

    def __len__(self) -> int:
        return len(self.axis) ** 2 * len(self.variants) * len(self.turns_deg)


def _pairs(*shares: float) -> tuple[tuple[float, float], ...]:
    return tuple((before, after) for before in shares for after in shares)


_EVEN = ((0.0, 0.0), (0.06, 0.06), (0.12, 0.12), (0.03, 0.1), (0.1, 0.03))
_AS_SEEN = (Variant.UPRIGHT, Variant.MIRROR)
GUESS_SETS = (
    GuessSet(name="cropped", axis=_pairs(0.0, 0.06, 0.12), variants=_AS_SEEN),
    GuessSet(name="turned", axis=_EVEN, variants=_AS_SEEN, turns_deg=(3.2, -3.2)),
    GuessSet(name="wider", axis=_pairs(0.0, -0.06, -0.11), variants=_AS_SEEN),
    GuessSet(name="sideways", axis=_EVEN, variants=tuple(v for v in HASHED if v not in _AS_SEEN)),
)
"""In the order in which they are tried: the first are what people do most."""

_MOVES = np.array(
    [
        *((1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 0, 1, 0)),  # one edge
        *((1, -1, 0, 0, 0), (0, 0, 1, -1, 0)),  # the place
        *((1, 1, 0, 0, 0), (0, 0, 1, 1, 0), (1, 1, 1, 1, 0)),  # the size
        (0, 0, 0, 0, 0.9),  # the angle
    ],
    np.float32,
) * np.float32(0.02)
"""Top, bottom, left, right in shares, angle in radians: 2 %, and one degree."""

PART_SET = GuessSet(name="part", axis=((0.0, 0.0), (0.06, 0.06), (-0.03, -0.03)), variants=_AS_SEEN)
"""For a picture inside the picture."""


def reduce(pixels: Pixels) -> Reduced:
    """Reduce an image to what guesses are made from.

    Args:
        pixels: uint32[height, width]; red, green and blue from the lowest byte up.
    """
    from indexer.hashing import guess_kernels  # noqa: PLC0415 - a third of a second

    luma = np.empty((REDUCED_SIDE, REDUCED_SIDE), np.float32)
    guess_kernels.reduce(pixels, luma)
    height, width = pixels.shape
    return Reduced(luma=luma, aspect=width / height)


def guesses_of(guess_set: GuessSet, rectangle: Rectangle = WHOLE) -> list[Guess]:
    """Name the guesses of a set, in the order of ``digests_of_guesses``."""
    return [
        Guess(
            frame=Frame(
                top=rows[0], bottom=rows[1], left=columns[0], right=columns[1],
                turn_deg=turn, rectangle=rectangle,
            ),
            variant=variant,
        )
        for turn in guess_set.turns_deg
        for rows in guess_set.axis
        for columns in guess_set.axis
        for variant in guess_set.variants
    ]  # fmt: skip


def digests_of_guesses(
    reduced: Reduced, guess_set: GuessSet, rectangle: Rectangle = WHOLE
) -> NDArray[np.uint8]:
    """Hash an image in all guesses of a set: uint8[n, 32]."""
    from indexer.hashing import guess_kernels  # noqa: PLC0415

    vertical, horizontal = _folds(guess_set.axis)
    frames = len(guess_set.axis) ** 2
    chosen = [HASHED.index(variant) for variant in guess_set.variants]
    parts = []
    for turn in guess_set.turns_deg:
        digests = np.empty((frames * len(HASHED), DIGEST_BYTES), np.uint8)
        luma = _part(reduced, rectangle, turn)
        guess_kernels.coarse(luma, vertical, horizontal, digests)
        parts.append(digests.reshape(frames, len(HASHED), DIGEST_BYTES)[:, chosen])
    return np.concatenate(parts).reshape(-1, DIGEST_BYTES)


def fit(reduced: Reduced, guess: Guess, digest: bytes, *, refined: bool) -> Fit:
    """Measure how close a guess comes to a digest; ``refined``: from there, how close it can.

    Args:
        digest: 32 bytes, a signal's.
    """
    from indexer.hashing import guess_kernels  # noqa: PLC0415

    frame, place = guess.frame, HASHED.index(guess.variant)
    _, _, width, height = frame.rectangle
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[::-1].reshape(_FREQUENCIES, -1)
    target = np.ascontiguousarray(bits.T if place >= _TURNED_OVER else bits).reshape(-1)
    start = [frame.top, frame.bottom, frame.left, frame.right, radians(frame.turn_deg)]
    moved = np.array(start, np.float32)
    values = np.empty((_FREQUENCIES, _FREQUENCIES), np.float32)
    guess_kernels.refine(
        _part(reduced, frame.rectangle, 0.0),
        reduced.aspect * width / height,
        _cosines(),
        place % _TURNED_OVER,
        target,
        _MOVES,
        _LEVELS if refined else 0,
        moved,
        values,
    )
    wrong = (values > _lower_median(values)).reshape(-1) != target
    edges = [float(share) for share in moved[:_EDGES]]
    return Fit(
        guess=Guess(
            frame=Frame(
                top=edges[0], bottom=edges[1], left=edges[2], right=edges[3],
                turn_deg=degrees(float(moved[_TURN])), rectangle=frame.rectangle,
            ),
            variant=guess.variant,
        ),
        distance_bits=int(wrong.sum()),
        weighted_bits=float(margin_weights(values)[wrong].sum()),
    )  # fmt: skip


def margin_weights(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weigh each of 256 frequencies by the rank of its distance from the median; mean 1."""
    margins = np.abs(values - _lower_median(values)).reshape(-1)
    ranks = np.empty(DIGEST_BITS, np.int64)
    ranks[np.argsort(margins, kind="stable")] = np.arange(DIGEST_BITS)
    return np.asarray((ranks + 0.5) / (DIGEST_BITS / 2))


def _lower_median(values: NDArray[np.float32]) -> np.float32:
    middle = DIGEST_BITS // 2 - 1
    return np.float32(np.partition(values.reshape(-1), middle)[middle])


def _part(reduced: Reduced, rectangle: Rectangle, turn_deg: float) -> NDArray[np.float32]:
    from indexer.hashing import guess_kernels  # noqa: PLC0415

    side = guess_kernels.SIDE
    luma = np.empty((side, side), np.float32)
    left, top, width, height = rectangle
    guess_kernels.resample(
        reduced.luma, left, top, width, height, radians(turn_deg), reduced.aspect, luma
    )
    return luma


@lru_cache(maxsize=16)
def _folds(
    axis: tuple[tuple[float, float], ...],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from indexer.hashing import guess_kernels  # noqa: PLC0415

    folds = np.empty((len(axis), _FREQUENCIES, guess_kernels.SIDE), np.float32)
    guess_kernels.folds(np.array(axis, np.float32), _cosines(), folds)
    vertical = folds.reshape(-1, guess_kernels.SIDE)
    return vertical, np.ascontiguousarray(vertical.T)


@cache
def _cosines() -> NDArray[np.float32]:
    """Frequencies 1-16 of the DCT, frequency first: float32[16, 64]."""
    return np.ascontiguousarray(cosines().T, np.float32)
