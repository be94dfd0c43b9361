"""A small, plain picture of what hostile bytes show, for a person who has to look.

The bytes are decoded in a process of their own, whatever their format (docs/adr/0014); what comes
back is pixels. They are scaled down, made grey and blurred here, and encoded anew, so that a
browser meets nothing that a stranger wrote: no metadata, no odd format, no animation, no sound.
Nothing is kept.
"""

import io
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFilter

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.decoders import DECODERS
from indexer.hashing.modes import Pixels
from indexer.hashing.opening import Limits, format_of
from indexer.hashing.parts import Head, Layer
from indexer.model import Background

MIME = "image/jpeg"
_QUALITY = 85
_ROTATION = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
"""What a viewer does under each EXIF orientation (CIPA DC-008, tag 274)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What is shown.

    Attributes:
        data: a JPEG file, written here.
        mime: of the bytes that it was made from.
        frame: number of the frame that is shown; of a video the second that it stands at.
    """

    data: bytes = field(repr=False)
    mime: str
    width: int
    height: int
    frame: int = 0

    @property
    def is_video(self) -> bool:
        """Whether more than a picture is there."""
        return self.mime.startswith("video/")


def preview(
    data: bytes,
    limits: Limits,
    *,
    most_side: int,
    grey: bool = False,
    blur_px: float = 0,
    frame: int = 0,
    background: Background = Background.WHITE,
) -> Preview:
    """Make a picture for a person from one frame of an image or video.

    Args:
        data: as it came from the web.
        limits: as of hashing.
        frame: which of the frames that are hashed; the first where it is not among them.
        background: what is behind a transparent picture; white where that changes nothing.
        most_side: longest side of the picture, in pixels.
        grey: without colour.
        blur_px: radius of the blur in pixels of the picture.

    Raises:
        ImageRefusedError: the bytes show nothing; says why, and holds nothing of them.
    """
    form = format_of(data, limits)
    with closing(DECODERS.decode(data, limits, mime=form.mime)) as parts:
        head = next(parts)
        chosen: Layer | None = None
        backgrounds = {Background.WHITE, background}
        # To the end: a decoding process that is left in the midst of an answer is of no more use.
        for part in parts:
            if isinstance(part, Layer):
                is_asked_for = part.frame == frame and part.background in backgrounds
                chosen = part if chosen is None or is_asked_for else chosen
    if not isinstance(head, Head) or chosen is None:
        raise ImageRefusedError(Refusal.CORRUPT, "no picture in these bytes")
    picture = _picture(chosen.pixels, most_side)
    for step in _ROTATION.get(head.orientation, ()):
        picture = picture.transpose(step)
    if grey:
        picture = picture.convert("L")
    if blur_px:
        picture = picture.filter(ImageFilter.GaussianBlur(blur_px))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=_QUALITY)
    return Preview(
        data=written.getvalue(),
        mime=form.mime,
        width=picture.width,
        height=picture.height,
        frame=chosen.frame,
    )


def _picture(pixels: Pixels, most_side: int) -> Image.Image:
    height, width = pixels.shape
    packed = np.ascontiguousarray(pixels)
    picture = Image.frombuffer("RGBX", (width, height), packed, "raw", "RGBX", 0, 1).convert("RGB")
    picture.thumbnail((most_side, most_side), Image.Resampling.BOX, reducing_gap=2.0)
    return picture
