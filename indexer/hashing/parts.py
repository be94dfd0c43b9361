"""What decoding gives, part by part: in this process and from one of its own alike."""

from collections.abc import Generator
from dataclasses import dataclass, field

from indexer.errors import Refusal
from indexer.hashing.modes import Pixels
from indexer.model import Background


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is true of all frames.

    Attributes:
        orientation: EXIF orientation, 1-8; not applied to pixels.
        mime: media type by content.
        width: pixels, as stored.
        height: pixels, as stored.
    """

    orientation: int
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One frame on one background.

    Attributes:
        frame: number of the frame, 0 for the first; of a video the second that it stands at.
        partial: a part of the picture was missing and is grey.
    """

    frame: int = 0
    background: Background = Background.WHITE
    partial: bool = False
    pixels: Pixels = field(repr=False)


Decoded = Generator[Head | Layer | Refusal]
"""First the head; then layers, one at a time, of the first frame first and of each frame on
white first, on black only if it is transparent somewhere; last, where not all was decoded that
should have been, the reason."""
