"""Guesses of what was done to a copy, undone before hashing.

The feed holds hashes only, but we hold the crawled pixels: where a copy was cropped, its
edges are continued to where the picture may have ended; where it was turned, it is turned
back; where a border was added, it is cut. What is found this way is never exact, so nothing
rests on it alone (docs/adr/0016).

A guess only changes weights along the two axes, so it is made from a small reduction of the
image: filter, decimation and DCT are linear, and fold with the frame into 16 weighted sums
along each axis. A dihedral variant then changes signs of frequencies or swaps the axes.
Close to both paths' hashes, equal to neither: 4 bits from *web*, 7 from *cpp* on average.

What guesses hash to, and how near one comes to a signal: ``fitting``.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import radians, sin

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.modes import Pixels
from indexer.hashing.variants import HASHED
from indexer.model import Variant

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height of a part of an image, in shares of its sides."""

WHOLE: Rectangle = (0.0, 0.0, 1.0, 1.0)
REDUCED_SIDE = 256
"""Samples along each side of what is kept of an image, in memory, to guess from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What is left of an image, in memory only, until its guesses have been looked up.

    Attributes:
        luma: float32[256, 256], 0-255.
        aspect: width through height, in pixels.
        layer: what the name of a match has behind the guess's: which frame, on which
            background; empty for the first on white.
        parts: what has been cut out of it so far (``fitting``).
    """

    luma: NDArray[np.float32] = field(repr=False)
    aspect: float
    layer: str = ""
    parts: dict[tuple[Rectangle, float], NDArray[np.float32]] = field(
        default_factory=dict, repr=False, compare=False
    )


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

    @property
    def missing_share(self) -> float:
        """Share of the picture's area that the copy does not show, 0-1; corners of a turn too."""
        shown = 1.0
        for before, after in ((self.top, self.bottom), (self.left, self.right)):
            shown *= 1 - (max(before, 0.0) + max(after, 0.0)) / (1 + before + after)
        return min(1 - shown + abs(sin(radians(self.turn_deg))) / 2, 1.0)

    def __str__(self) -> str:
        """Name the frame in at most 48 characters: ``t+5,l-12,turn+2.1,part10/0/80/95``.

        What is missing at top, bottom, left and right in percent, the angle in degrees, and
        left, top, width and height of the rectangle in percent; what is nothing is left out.
        """
        edges = (("t", self.top), ("b", self.bottom), ("l", self.left), ("r", self.right))
        parts = [f"{edge}{share * 100:+.0f}" for edge, share in edges if round(share * 100)]
        if round(self.turn_deg, 1):
            parts.append(f"turn{self.turn_deg:+.1f}")
        if self.rectangle != WHOLE:
            parts.append("part" + "/".join(f"{share * 100:.0f}" for share in self.rectangle))
        return ",".join(parts) or "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One frame in one dihedral variant."""

    frame: Frame
    variant: Variant

    @property
    def name(self) -> str:
        """The guess as a match names it: ``deep:mirror:l+5``."""
        return f"deep:{self.variant.value}:{self.frame}"


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
_WIDER = (
    *((0.0, 0.0), (-0.05, -0.05), (-0.1, -0.1)),
    *((0.0, -0.05), (-0.05, 0.0), (-0.02, -0.1), (-0.1, -0.02)),
)
_AS_SEEN = (Variant.UPRIGHT, Variant.MIRROR)
CROPPED = GuessSet(name="cropped", axis=_pairs(0.0, 0.06, 0.12), variants=_AS_SEEN)
TURNED = GuessSet(name="turned", axis=_EVEN, variants=_AS_SEEN, turns_deg=(3.2, -3.2))
WIDER = GuessSet(name="wider", axis=_WIDER, variants=_AS_SEEN)
"""For a survivor's own picture that is a part of the copy."""
SIDEWAYS = GuessSet(
    name="sideways", axis=_EVEN, variants=tuple(v for v in HASHED if v not in _AS_SEEN)
)
PART_SET = GuessSet(name="part", axis=((0.0, 0.0), (0.06, 0.06), (-0.03, -0.03)), variants=_AS_SEEN)
"""For a picture inside the picture."""
GUESS_SETS = (CROPPED, PART_SET, TURNED, WIDER, SIDEWAYS)
"""In the order in which they are tried: the first are what people do most."""


def reduce(pixels: Pixels, *, layer: str = "") -> Reduced:
    """Reduce an image to what guesses are made from.

    Args:
        pixels: uint32[height, width]; red, green and blue from the lowest byte up.
        layer: as of ``Reduced``.
    """
    from indexer.hashing import sampling_kernels  # noqa: PLC0415 - a third of a second

    luma = np.empty((REDUCED_SIDE, REDUCED_SIDE), np.float32)
    sampling_kernels.reduce(pixels, luma)
    height, width = pixels.shape
    return Reduced(luma=luma, aspect=width / height, layer=layer)


@lru_cache(maxsize=64)
def guesses_of(guess_set: GuessSet, rectangle: Rectangle = WHOLE) -> tuple[Guess, ...]:
    """Name the guesses of a set, in the order of ``digests_of_guesses``."""
    return tuple(
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
    )  # fmt: skip
