"""From encoded bytes to pixels, or to a named refusal.

The policy, in order:

(1) Limits hold before anything is parsed, and again once the header is read,
    before a pixel is decoded (``opening``).
(2) The format is told by content (``formats``), and one reader is asked.
(3) Formats of large libraries, animations and whatever may take long are decoded in
    a process of their own (``decoders``, docs/adr/0014); the rest here.
(4) What the decoder raises, whatever it is, becomes a refusal. A truncated file
    is refused as a whole, but for a JPEG, PNG, GIF or BMP of which half is there: browsers
    show it.
(5) Of an animation the first frame and some others count (``frames``).
(6) Pixels are normalised to RGB (``modes``). Embedded colour profiles are not applied.

Bytes stay in memory. Safe to call from several threads.
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from PIL import Image, ImageFile

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.essentials import essential_png
from indexer.hashing.formats import BMP, GIF, JPEG, PNG, Format
from indexer.hashing.frames import frame_count, sampled
from indexer.hashing.jpeg import (
    LEAST_SHARE,
    decode_jpeg,
    has_many_scans,
    has_plain_header,
    what_came_before,
    what_is_left,
)
from indexer.hashing.modes import Pixels, flattened, packed
from indexer.hashing.opening import (
    Limits,
    as_refusal,
    format_of,
    load,
    load_what_is_there,
    open_image,
    orientation_of,
)
from indexer.hashing.parts import Decoded, Head, Layer
from indexer.hashing.variants import UPRIGHT_ORIENTATION

HEADER_BYTES = 1024 * 1024
"""Files up to this size are opened in this process. A file may be millions of empty blocks,
and Pillow takes 1-3 microseconds for each, holding the GIL."""

_SHOWN_IN_PART = {
    Refusal.TRUNCATED: (PNG, GIF, BMP),
    Refusal.CORRUPT: (PNG, GIF, BMP, JPEG),
}
"""What is left of them only a process of its own can ask Pillow for. Of cut JPEG files any can."""


def decode(data: bytes, limits: Limits) -> Decoded:
    """Decode the frames of an image that are hashed, here or in a process of its own.

    To be read to its end, or closed.

    Raises:
        ImageRefusedError: not even the first frame was decoded, and why; while the head
            is read. The message holds nothing of ``data``.
    """
    form = format_of(data, limits)
    if not form.isolated and _is_short_to_read(data, form):
        with as_refusal():
            image = open_image(data, form, max_pixels=limits.max_pixels)
            is_laborious = has_many_scans(data, image) or (
                limits.max_frames > 1 and frame_count(data, image) > 1
            )
        if not is_laborious:
            parts = _layers(data, image, form, limits)
            try:
                head = next(parts)
            except ImageRefusedError as error:
                if form not in _SHOWN_IN_PART.get(error.code, ()):
                    raise
            else:
                yield head
                yield from parts
                return
    from indexer.hashing.decoders import DECODERS  # noqa: PLC0415 - not in the decoding process

    yield from DECODERS.decode(data, limits, mime=form.mime)


def _is_short_to_read(data: bytes, form: Format) -> bool:
    """Say whether a header has so few parts that Pillow, in Python, soon has read it."""
    return len(data) <= HEADER_BYTES or (form is JPEG and has_plain_header(data))


def decode_here(data: bytes, limits: Limits, *, is_alone: bool = False) -> Decoded:
    """Do what ``decode`` does, in this process whatever the format.

    Args:
        data: encoded bytes.
        limits: what they may cost.
        is_alone: nobody else decodes in this process, so Pillow may be asked to be lenient.
    """
    form = format_of(data, limits)
    if form.demuxer:
        yield from _video_layers(data, form, limits)
        return
    with as_refusal():
        image = open_image(data, form, max_pixels=limits.max_pixels)
    yield from _layers(data, image, form, limits, is_alone=is_alone)


def _layers(
    data: bytes,
    image: ImageFile.ImageFile,
    form: Format,
    limits: Limits,
    *,
    is_alone: bool = False,
) -> Decoded:
    width, height = image.size
    rest: Refusal | None = None
    with as_refusal():
        count = frame_count(data, image)
        first, is_partial = _first_frame(
            data, image, form, max_pixels=limits.max_pixels, is_alone=is_alone
        )
        if is_partial:
            rest = Refusal.TRUNCATED
        orientation = orientation_of(image)
    yield Head(orientation=orientation, mime=form.mime, width=width, height=height)
    yield from _on_backgrounds(first, frame=0, is_partial=is_partial)
    del first
    reach = limits.max_pixels // (width * height)
    try:
        for frame in sampled(count, most=limits.max_frames, reach=reach)[1:]:
            with as_refusal():
                image.seek(frame)
                load(image, max_pixels=limits.max_pixels)
            yield from _on_backgrounds(image, frame=frame)
    except ImageRefusedError as error:
        rest = error.code
    if rest is not None:
        yield rest


def _video_layers(data: bytes, form: Format, limits: Limits) -> Decoded:
    from indexer.hashing import video  # noqa: PLC0415 - an extra; in the decoding process only

    pictures = video.pictures(
        data, form.demuxer, most=limits.max_video_frames, max_pixels=limits.max_pixels
    )
    has_begun = False
    try:
        while True:
            with as_refusal():
                second, picture = next(pictures, (0, None))
            if picture is None:
                break
            if not has_begun:
                width, height = picture.size
                yield Head(
                    orientation=UPRIGHT_ORIENTATION, mime=form.mime, width=width, height=height
                )
            yield from _on_backgrounds(picture, frame=second if has_begun else 0)
            has_begun = True
    except ImageRefusedError as error:
        if not has_begun:
            raise
        yield error.code
    if not has_begun:
        raise ImageRefusedError(Refusal.CORRUPT, "no picture in the video")


def _first_frame(
    data: bytes, image: ImageFile.ImageFile, form: Format, *, max_pixels: int, is_alone: bool
) -> tuple[ImageFile.ImageFile | Pixels, bool]:
    """Decode the first frame, and say whether a part of it is missing."""
    fast = decode_jpeg(data, image)
    if fast is not None:
        return fast, False
    try:
        with as_refusal():
            load(image, max_pixels=max_pixels)
    except ImageRefusedError as error:
        if error.code is Refusal.TRUNCATED and form is JPEG:
            left = what_is_left(data, partial(open_image, form=form, max_pixels=max_pixels))
            if left is not None and left.share >= LEAST_SHARE:
                return left.image, not left.is_whole
        elif is_alone and form in _SHOWN_IN_PART.get(error.code, ()):
            part = _part_of(data, form, max_pixels=max_pixels)
            if part is not None:
                return part
        raise
    return image, False


def _part_of(
    data: bytes, form: Format, *, max_pixels: int
) -> tuple[ImageFile.ImageFile, bool] | None:
    """Decode a broken file as far as it goes, in a process of its own; None for too little."""
    if form is PNG:  # perhaps its animation is broken alone
        data = essential_png(data, still=True)
        with suppress(ImageRefusedError), as_refusal():
            image = open_image(data, form, max_pixels=max_pixels)
            load(image, max_pixels=max_pixels)
            return image, False
    image, share = load_what_is_there(data, form, max_pixels=max_pixels)
    if share >= LEAST_SHARE:
        return image, True
    if form is JPEG:
        before = what_came_before(data, partial(open_image, form=form, max_pixels=max_pixels))
        return None if before is None else (before, True)
    return None


def _on_backgrounds(
    picture: Image.Image | Pixels, *, frame: int, is_partial: bool = False
) -> Iterator[Layer]:
    """Flatten a frame; the array of a layer is made when it is asked for."""
    if not isinstance(picture, Image.Image):
        yield Layer(frame=frame, partial=is_partial, pixels=picture)
        return
    with as_refusal():
        seen = flattened(picture)
    for background, image in seen:
        with as_refusal():
            pixels = packed(image)
        yield Layer(frame=frame, background=background, partial=is_partial, pixels=pixels)
