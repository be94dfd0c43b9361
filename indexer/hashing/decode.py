"""From encoded bytes to pixels, or to a named refusal.

The policy, in order:

(1) Limits hold before anything is parsed, and again once the header is read,
    before a pixel is decoded.
(2) The format is told by content (``formats``), and one reader is asked.
(3) What the decoder raises, whatever it is, becomes a refusal. A truncated file
    is refused as a whole: half a picture has another hash.
(4) Of an animation the first frame counts.
(5) Pixels are normalised to RGB (``modes``).

Bytes stay in memory. Safe to call from several threads.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.formats import ICO, Format, sniff
from indexer.hashing.jpeg import decode_jpeg
from indexer.hashing.modes import Pixels, flattened, packed
from indexer.hashing.variants import UPRIGHT_ORIENTATION
from indexer.model import Background

SMALLEST_SIDE = 17
"""Pixels; images with a shorter side are refused. A digest asks for 16 half waves along each
axis. With 16 samples the last is zero whatever the picture, and with fewer more of them:
such bits are noise. Measured on thumbnails of 100 photos: within 31 bits of the photo are
99 at 20 pixels, 71 at 16, none at 12. (The reference gives up below 5 only.)"""

_ORIENTATIONS = range(1, 9)
_TRUNCATION_WORDS = ("truncat", "not enough", "unexpected end", "eof", "end of file", "too short")
_TRUNCATION_TYPES = (EOFError, IndexError, struct.error)
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,  # where the process turns warnings into errors
)
"""What Pillow's readers let through on broken files, gathered from its readers and from
fuzzing. All are refusals: bytes from the web must not stop a crawl."""

# Python keeps its warning filters for the whole process: one thread at a time changes them.
_WARNINGS_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """The pixels of an image, as stored, on one or two backgrounds.

    Attributes:
        pixels: RGB; a second entry, on black, only if the image is transparent somewhere.
        orientation: EXIF orientation, 1-8; not applied to ``pixels``.
        mime: media type by content.
        width: pixels, as stored.
        height: pixels, as stored.
    """

    pixels: tuple[tuple[Background, Pixels], ...] = field(repr=False)
    orientation: int
    mime: str
    width: int
    height: int


def decode(data: bytes, *, max_bytes: int, max_pixels: int) -> DecodedImage:
    """Decode the first frame of an image.

    Args:
        data: encoded bytes.
        max_bytes: largest ``data``, inclusive.
        max_pixels: largest width times height, inclusive.

    Raises:
        ImageRefusedError: with the reason; the message holds nothing of ``data``.
    """
    form = _format_of(data, max_bytes=max_bytes)
    with _as_refusal():
        image = _open(data, form, max_pixels=max_pixels)
        width, height = image.size
        return DecodedImage(
            pixels=_pixels_of(data, image, max_pixels=max_pixels),
            orientation=_orientation_of(image),
            mime=form.mime,
            width=width,
            height=height,
        )


def _format_of(data: bytes, *, max_bytes: int) -> Format:
    if not data:
        raise ImageRefusedError(Refusal.EMPTY, "no bytes")
    if len(data) > max_bytes:
        raise ImageRefusedError(
            Refusal.TOO_MANY_BYTES, f"{len(data)} bytes, at most {max_bytes} are decoded"
        )
    form = sniff(data)
    if form is None:
        raise ImageRefusedError(Refusal.NOT_AN_IMAGE, "bytes of no image format that is known")
    if form.reader is None:
        raise ImageRefusedError(Refusal.UNSUPPORTED_FORMAT, f"{form.mime} is not decoded")
    return form


def _open(data: bytes, form: Format, *, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header and hold it against the limits; nothing is decoded yet."""
    if form is ICO:
        _check_icon(data, max_pixels=max_pixels)
    reader = form.reader
    assert reader is not None  # noqa: S101 - for mypy; _format_of refuses
    with _without_warnings():
        image = reader(BytesIO(data))
    _check_size(image.size, max_pixels=max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image, max_pixels=max_pixels)
    return image


def _pixels_of(
    data: bytes, image: ImageFile.ImageFile, *, max_pixels: int
) -> tuple[tuple[Background, Pixels], ...]:
    fast = decode_jpeg(data, image)
    if fast is not None:
        return ((Background.WHITE, fast),)
    _load(image)
    # The pixels themselves decide: some headers say otherwise.
    _check_size(image.size, max_pixels=max_pixels)
    return tuple((background, packed(seen)) for background, seen in flattened(image))


def _load(image: ImageFile.ImageFile) -> None:
    """Decode the pixels. TIFF alone reads metadata, with warnings, while it does so."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        with _without_warnings():
            image.load()
    else:
        image.load()


def _check_size(size: tuple[int, int], *, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageRefusedError(
            Refusal.TOO_MANY_PIXELS, f"{width}x{height} pixels, at most {max_pixels} are decoded"
        )
    if min(size) < SMALLEST_SIDE:
        raise ImageRefusedError(
            Refusal.TOO_SMALL, f"{width}x{height} pixels, each side needs {SMALLEST_SIDE}"
        )


def _check_tiles(image: TiffImagePlugin.TiffImageFile, *, max_pixels: int) -> None:
    """Refuse tiles larger than any image may be: the decoder sets memory aside for one."""
    width = image.tag_v2.get(ExifTags.Base.TileWidth.value, 0)
    height = image.tag_v2.get(ExifTags.Base.TileLength.value, 0)
    if width * height > max_pixels:
        raise ImageRefusedError(Refusal.TOO_MANY_PIXELS, "a tile exceeds the limit of the image")


def _check_icon(data: bytes, *, max_pixels: int) -> None:
    """Hold the pictures inside an icon against the limit.

    Pillow decodes the largest while it opens the file, at the size that the
    picture's own header gives; the directory's 256x256 may be a lie.
    """
    entry_bytes, first_entry = 16, 6
    count = min(int.from_bytes(data[4:6], "little"), (len(data) - first_entry) // entry_bytes)
    for entry in range(first_entry, first_entry + count * entry_bytes, entry_bytes):
        start = int.from_bytes(data[entry + 12 : entry + 16], "little")
        header = data[start : start + 24]
        if header.startswith(b"\x89PNG"):
            pixels = int.from_bytes(header[16:20]) * int.from_bytes(header[20:24])
        else:
            # A bitmap in an icon has its mask below it and says twice the height.
            width, height = (
                abs(int.from_bytes(header[at : at + 4], "little", signed=True)) for at in (4, 8)
            )
            pixels = width * height // 2
        if pixels > max_pixels:
            raise ImageRefusedError(Refusal.TOO_MANY_PIXELS, "a picture in the icon is too large")


def _orientation_of(image: ImageFile.ImageFile) -> int:
    """Read the EXIF orientation; 1 when there is none or the EXIF is broken.

    Of a loaded image, since PNG may have it behind the pixels. TIFF keeps it in
    its own directory, and Pillow applies it on load.
    """
    raw = image.info.get("exif")
    if not isinstance(raw, bytes):
        return UPRIGHT_ORIENTATION
    exif = Image.Exif()
    try:
        with _without_warnings():
            exif.load(raw)
            orientation = exif.get(ExifTags.Base.Orientation)
    except _DECODER_ERRORS:
        return UPRIGHT_ORIENTATION
    if isinstance(orientation, int) and orientation in _ORIENTATIONS:
        return orientation
    return UPRIGHT_ORIENTATION


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on odd metadata to ourselves; a broken file is news to nobody."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _as_refusal() -> Iterator[None]:
    """Turn whatever a decoder raises into a refusal. Its message is not passed on."""
    try:
        yield
    except ImageRefusedError:
        raise
    except Image.DecompressionBombError:
        raise ImageRefusedError(Refusal.TOO_MANY_PIXELS, "the decoder's own limit") from None
    except MemoryError:
        raise ImageRefusedError(Refusal.UNREADABLE, "not enough memory to decode it") from None
    except _DECODER_ERRORS as error:
        if _says_truncated(error):
            raise ImageRefusedError(Refusal.TRUNCATED, "the bytes end too early") from None
        raise ImageRefusedError(Refusal.CORRUPT, "the decoder gave up") from None


def _says_truncated(error: Exception) -> bool:
    """Guess from a decoder's error whether bytes are missing rather than wrong."""
    text = str(error).lower()
    return (
        isinstance(error, _TRUNCATION_TYPES)
        or isinstance(error.__cause__, _TRUNCATION_TYPES)
        or any(word in text for word in _TRUNCATION_WORDS)
    )
