"""Opening encoded bytes under limits; whatever a reader raises becomes a named refusal.

Limits hold before anything is parsed, and again once the header is read, before a
pixel is decoded. Bytes stay in memory. Safe to call from several threads.
"""

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing.essentials import readings
from indexer.hashing.formats import CURSOR, ICO, SVG, Format, sniff
from indexer.hashing.variants import UPRIGHT_ORIENTATION

SMALLEST_SIDE = 17
"""Pixels; images with a shorter side are refused. A digest asks for 16 half waves along each
axis. With 16 samples the last is zero whatever the picture, and with fewer more of them:
such bits are noise. Measured on thumbnails of 100 photos: within 31 bits of the photo are
99 at 20 pixels, 71 at 16, none at 12. (The reference gives up below 5 only.)"""

ORIENTATIONS = range(1, 9)
"""Of EXIF (CIPA DC-008, tag 274)."""

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
class Limits:
    """What one image may cost, all inclusive.

    Attributes:
        max_bytes: encoded bytes.
        max_pixels: width times height of the image; of an animation also all pixels of
            all frames that have to be decoded.
        max_frames: frames of an animation that are hashed, the first included.
        max_video_frames: frames of a video that are hashed.
        timeout_s: seconds in a process of its own; see ``decoders``.
    """

    max_bytes: int
    max_pixels: int
    max_frames: int
    timeout_s: float
    max_video_frames: int = 0


def format_of(data: bytes, limits: Limits) -> Format:
    """Name the format of bytes that will be decoded.

    Raises:
        ImageRefusedError: they will not be.
    """
    if not data:
        raise ImageRefusedError(Refusal.EMPTY, "no bytes")
    if len(data) > limits.max_bytes:
        raise ImageRefusedError(
            Refusal.TOO_MANY_BYTES, f"{len(data)} bytes, at most {limits.max_bytes} are decoded"
        )
    form = sniff(data)
    if form is None:
        raise ImageRefusedError(Refusal.NOT_AN_IMAGE, "bytes of no image format that is known")
    if form is SVG:
        raise ImageRefusedError(Refusal.VECTOR_IMAGE, "a drawing has no pixels of its own to hash")
    if form.extra:
        raise ImageRefusedError(
            Refusal.UNSUPPORTED_FORMAT,
            f"{form.mime} is not decoded: install delist[{form.extra}]",
        )
    if form.reader is None and not (form.demuxer and limits.max_video_frames):
        raise ImageRefusedError(Refusal.UNSUPPORTED_FORMAT, f"{form.mime} is not decoded")
    return form


def open_image(data: bytes, form: Format, *, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header and hold it against the limits; nothing is decoded yet.

    Raises:
        ImageRefusedError: a limit is exceeded.
        Exception: whatever the reader raises; to be called under ``as_refusal``.
    """
    _read_strictly()
    with _without_warnings():
        image = _first_read(data, form, max_pixels=max_pixels)
    check_size(image.size, max_pixels=max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiles(image, max_pixels=max_pixels)
    return image


def _first_read(data: bytes, form: Format, *, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header in the first of its ways that works; the first error where none does."""
    reader = form.reader
    failed: Exception | None = None
    left = max_pixels  # for all pictures of an icon together, since opening one decodes it
    assert reader is not None  # noqa: S101 - for mypy; format_of refuses
    for reading in readings(data, form):
        try:
            if form in {ICO, CURSOR}:
                left -= _check_icon(reading, max_pixels=left)
            return reader(BytesIO(reading))
        except (ImageRefusedError, *_DECODER_ERRORS) as error:
            failed = failed or error
    assert failed is not None  # noqa: S101 - there is one way at least
    raise failed


def _read_strictly() -> None:
    """Have Pillow report files that were cut off, whatever another library has told it.

    The switch is one for the whole process, and WeasyPrint, for one, sets it on import.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def load(image: ImageFile.ImageFile, *, max_pixels: int) -> None:
    """Decode the pixels, which themselves decide about their number: some headers lie.

    TIFF alone reads metadata, with warnings, while it does so.
    """
    _read_strictly()
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        with _without_warnings():
            image.load()
    else:
        image.load()
    check_size(image.size, max_pixels=max_pixels)


def load_what_is_there(
    data: bytes, form: Format, *, max_pixels: int
) -> tuple[ImageFile.ImageFile, float]:
    """Decode a broken file as far as it goes; what is missing is left as it was set aside.

    Only for a process that decodes nothing else meanwhile: Pillow's switch is the process's.

    Returns:
        The image, and the share of its rows from the first to the last in which there is
        anything, 0-1. What is there to its end has a share of 1 too.

    Raises:
        ImageRefusedError: a limit is exceeded.
        Exception: whatever the reader raises.
    """
    image = open_image(data, form, max_pixels=max_pixels)
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        image.load()
    finally:
        _read_strictly()
    check_size(image.size, max_pixels=max_pixels)
    box = image.getbbox(alpha_only=False)
    return image, (box[3] - box[1]) / image.height if box else 0.0


def check_size(size: tuple[int, int], *, max_pixels: int) -> None:
    """Hold width and height against the limits.

    Raises:
        ImageRefusedError: too large or too small.
    """
    width, height = size
    if width * height > max_pixels:
        raise ImageRefusedError(
            Refusal.TOO_MANY_PIXELS, f"{width}x{height} pixels, at most {max_pixels} are decoded"
        )
    if min(size) < SMALLEST_SIDE:
        raise ImageRefusedError(
            Refusal.TOO_SMALL, f"{width}x{height} pixels, each side needs {SMALLEST_SIDE}"
        )


def orientation_of(image: ImageFile.ImageFile) -> int:
    """Read the EXIF orientation; 1 when there is none or the EXIF is broken.

    Of a loaded image, since PNG may have it behind the pixels. TIFF keeps it in
    its own directory, and Pillow applies it on load; HEIF's reader applies it too.
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
    if isinstance(orientation, int) and orientation in ORIENTATIONS:
        return orientation
    return UPRIGHT_ORIENTATION


@contextmanager
def as_refusal() -> Iterator[None]:
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


def _check_tiles(image: TiffImagePlugin.TiffImageFile, *, max_pixels: int) -> None:
    """Refuse tiles larger than any image may be: the decoder sets memory aside for one."""
    width = image.tag_v2.get(ExifTags.Base.TileWidth.value, 0)
    height = image.tag_v2.get(ExifTags.Base.TileLength.value, 0)
    if width * height > max_pixels:
        raise ImageRefusedError(Refusal.TOO_MANY_PIXELS, "a tile exceeds the limit of the image")


def _check_icon(data: bytes, *, max_pixels: int) -> int:
    """Hold the pictures inside an icon against the limit; returns the pixels of the largest.

    Pillow decodes the largest while it opens the file, at the size that the
    picture's own header gives; the directory's 256x256 may be a lie.
    """
    most, entry_bytes, first_entry = 0, 16, 6
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
        most = max(most, pixels)
    return most


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on odd metadata to ourselves; a broken file is news to nobody."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _says_truncated(error: Exception) -> bool:
    """Guess from a decoder's error whether bytes are missing rather than wrong."""
    text = str(error).lower()
    return (
        isinstance(error, _TRUNCATION_TYPES)
        or isinstance(error.__cause__, _TRUNCATION_TYPES)
        or any(word in text for word in _TRUNCATION_WORDS)
    )
