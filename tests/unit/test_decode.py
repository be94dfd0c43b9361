"""What becomes of bytes: pixels of every mode, or a named refusal, never anything else."""

import gzip
import struct
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from delist.ops.pictures import draw_photo, encode
from delist.policy import Policy
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import hash_image
from indexer.hashing.formats import sniff
from indexer.hashing.modes import flattened
from indexer.hashing.opening import SMALLEST_SIDE
from indexer.model import DIGEST_BYTES, Background, HashedImage

MAX_BYTES = 8 * 1024 * 1024
SVG_HEAD = b'<?xml version="1.0"?><svg xmlns="">'
MAX_PIXELS = 4_000_000
AUTOMATIC_BITS = Policy().bands[0].to_bits
"""A copy in another format must stay within what is suppressed without a person."""

PHOTO = draw_photo(21, width=400, height=300)
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "image/jpeg": ("JPEG", {"quality": 95}),
    "image/png": ("PNG", {}),
    "image/gif": ("GIF", {}),
    "image/webp": ("WEBP", {"quality": 95}),
    "image/avif": ("AVIF", {"quality": 90, "speed": 10}),
    "image/tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "image/bmp": ("BMP", {}),
    "image/x-portable-pixmap": ("PPM", {}),
}
SMALL = draw_photo(22, width=48, height=40)
SMALL_FILES = [
    *(encode(SMALL, form, **options) for form, options in FORMATS.values()),
    encode(SMALL.resize((32, 32)), "ICO", bitmap_format="bmp", sizes=[(32, 32)]),
    encode(SMALL.convert("P")),
    encode(SMALL.convert("RGBA"), "TIFF"),
    encode(SMALL, "JPEG", progressive=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"),
    encode(SMALL, "WEBP", lossless=True),
]


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)


def refusal(data: bytes) -> ImageRefusedError:
    with pytest.raises(ImageRefusedError) as raised:
        hashed(data)
    return raised.value


def distance_bits(one: HashedImage, other: HashedImage) -> int:
    """The larger distance of the two upright hashes, each on its first background."""
    pairs = zip(one.hashes, other.hashes, strict=False)
    upright = [pair for pair in pairs if pair[0].variant == "upright"]
    assert [len(left.digest) for left, _ in upright] == [DIGEST_BYTES, DIGEST_BYTES]
    return max(
        (int.from_bytes(left.digest) ^ int.from_bytes(right.digest)).bit_count()
        for left, right in upright
    )


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises pixels and brings none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def gif_header(width: int, height: int, *, frame: tuple[int, int] | None = None) -> bytes:
    """A GIF with one empty frame, which may be larger than the screen it stands on."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    inner = struct.pack("<HHHHB", 0, 0, *(frame or (width, height)), 0)
    return screen + b"," + inner + b"\x02\x02\x4c\x01\x00;"


def tiff(*tags: tuple[int, int]) -> bytes:
    """A TIFF whose directory holds these 32-bit numbers."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(64)


def icon_of(picture: bytes) -> bytes:
    """An icon whose directory says 32x32, whatever its picture says."""
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(picture), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + picture


@pytest.mark.parametrize("mime", FORMATS)
def test_a_format_is_told_by_content(mime: str) -> None:
    """Every format of the allow-list is hashed as the picture it holds."""
    form, options = FORMATS[mime]
    result = hashed(encode(PHOTO, form, **options))

    assert result.mime == mime
    assert (result.width, result.height) == (400, 300)
    assert distance_bits(result, hashed(encode(PHOTO))) <= AUTOMATIC_BITS


def test_a_jpeg_with_further_pictures_counts_as_jpeg() -> None:
    """Of an MPO the first picture is hashed."""
    data = encode(PHOTO, "MPO", quality=95, save_all=True, append_images=[draw_photo(4)])

    assert hashed(data).mime == "image/jpeg"
    assert distance_bits(hashed(data), hashed(encode(PHOTO))) <= 8


def grey(image: Image.Image) -> Image.Image:
    return image.convert("L")


def wide_grey(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def floats(image: Image.Image, scale: float) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) * scale)


def integers(image: Image.Image, scale: int) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.int32) * scale)


def lab(image: Image.Image) -> Image.Image:
    srgb, target = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, srgb, target, outputMode="LAB")
    assert converted is not None
    return converted


def opaque_palette(image: Image.Image) -> bytes:
    return encode(image.quantize(200))


def palette_with_transparency(image: Image.Image) -> bytes:
    return encode(image.quantize(200), transparency=bytes([255] * 255 + [0]))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "palette": opaque_palette,
    "palette with transparency": palette_with_transparency,
    "GIF": lambda image: encode(image, "GIF"),
    "CMYK JPEG": lambda image: encode(image.convert("CMYK"), "JPEG", quality=95),
    "CMYK TIFF": lambda image: encode(image.convert("CMYK"), "TIFF"),
    "grey": lambda image: encode(grey(image)),
    "grey JPEG": lambda image: encode(grey(image), "JPEG", quality=95),
    "grey with alpha": lambda image: encode(image.convert("LA")),
    "alpha": lambda image: encode(image.convert("RGBA")),
    "16-bit grey PNG": lambda image: encode(wide_grey(image)),
    "16-bit grey TIFF": lambda image: encode(wide_grey(image), "TIFF"),
    "16-bit grey PGM": lambda image: encode(wide_grey(image), "PPM"),
    "32-bit TIFF of 16 bits": lambda image: encode(integers(image, 257), "TIFF"),
    "32-bit TIFF": lambda image: encode(integers(image, 70_000), "TIFF"),
    "float TIFF 0-1": lambda image: encode(floats(image, 1 / 255), "TIFF"),
    "float TIFF 0-255": lambda image: encode(floats(image, 1), "TIFF"),
    "float TIFF": lambda image: encode(floats(image, -1e6).point(lambda x: x * -1 + 0), "TIFF"),
    "YCbCr TIFF": lambda image: encode(image.convert("YCbCr"), "TIFF"),
    "LAB TIFF": lambda image: encode(lab(image), "TIFF"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_in_another_mode_stays_close(copy: str) -> None:
    """Palette, ink, wide and grey copies hash as the picture that a viewer shows."""
    result = hashed(COPIES[copy](PHOTO))

    assert distance_bits(result, hashed(encode(PHOTO))) <= AUTOMATIC_BITS


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA", "HSV", "YCbCr", "LA"])
def test_rare_modes_become_opaque_rgb(mode: str) -> None:
    """Modes that few files have are converted like the others, premultiplied ones too."""
    steps = {"RGBa": "RGBA", "La": "LA", "PA": "P"}
    image = PHOTO.convert(steps.get(mode, "RGB")).convert(mode)
    ((background, pixels),) = flattened(image)
    expected = np.asarray(PHOTO.convert("L" if mode in {"La", "LA"} else "RGB").convert("RGB"))
    limit = 40 if mode == "PA" else 3

    assert (background, pixels.mode) == (Background.WHITE, "RGB")
    assert np.abs(np.asarray(pixels).astype(int) - expected).mean() <= limit


def test_one_bit_copies_stay_within_the_threshold() -> None:
    """A dithered copy in black and white is still found."""
    assert distance_bits(hashed(encode(PHOTO.convert("1"))), hashed(encode(PHOTO))) <= 31


def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    """A PNG of 16 bits a channel hashes as its 8-bit copy."""
    wide = np.asarray(PHOTO).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", PHOTO.width, PHOTO.height, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )

    assert hashed(data).rows == hashed(encode(PHOTO)).rows


def test_the_first_frame_counts() -> None:
    """Of an animation the first frame is hashed."""
    other = draw_photo(5, width=400, height=300)
    for form in ("GIF", "PNG", "WEBP"):
        moving = encode(PHOTO, form, save_all=True, append_images=[other])
        assert distance_bits(hashed(moving), hashed(encode(PHOTO))) <= AUTOMATIC_BITS, form


def test_transparency_is_flattened_on_white_and_on_black() -> None:
    """A picture with a hole hashes as seen on white, and as seen on black."""
    hole = Image.new("L", PHOTO.size, 255)
    hole.paste(0, (60, 40, 220, 200))
    layer = PHOTO.copy()
    layer.putalpha(hole)
    rows = dict(hashed(encode(layer)).rows)

    assert list(rows) == [Background.WHITE, Background.BLACK]
    for background, colour in ((Background.WHITE, "white"), (Background.BLACK, "black")):
        seen = Image.new("RGB", PHOTO.size, colour)
        seen.paste(PHOTO, mask=hole)
        assert rows[background] == hashed(encode(seen)).rows[0][1]


def test_black_is_left_out_where_it_changes_nothing() -> None:
    """One row for an opaque image with an alpha channel, and for one that is barely thin."""
    opaque = PHOTO.convert("RGBA")
    thin = PHOTO.convert("RGBA")
    thin.putpixel((0, 0), (0, 0, 0, 254))

    assert hashed(encode(opaque)).rows == hashed(encode(PHOTO)).rows
    assert [background for background, _ in hashed(encode(thin)).rows] == [Background.WHITE]


def test_an_oriented_tiff_is_hashed_as_decoded() -> None:
    """Pillow turns a TIFF by its own tag: it is not turned a second time."""
    data = encode(PHOTO, "TIFF", tiffinfo={274: 3})
    turned = hashed(encode(PHOTO.transpose(Image.Transpose.ROTATE_180)))

    assert hashed(data).rows == turned.rows


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 40])
def test_broken_exif_is_ignored(exif: bytes) -> None:
    """An image is not lost over its metadata."""
    plain, odd = encode(PHOTO, "JPEG"), encode(PHOTO, "JPEG", exif=exif)

    assert hashed(odd).rows == hashed(plain).rows


def test_an_orientation_beyond_eight_is_ignored() -> None:
    """EXIF knows eight orientations; others turn nothing."""
    exif = Image.Exif()
    exif[0x0112] = 9

    assert hashed(encode(PHOTO, exif=exif)).rows == hashed(encode(PHOTO)).rows


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Refusal.EMPTY),
        (b"x" * (MAX_BYTES + 1), Refusal.TOO_MANY_BYTES),
        (b"x", Refusal.NOT_AN_IMAGE),
        (b"<!doctype html><p>Not found", Refusal.NOT_AN_IMAGE),
        (b"BMW is a maker of cars", Refusal.NOT_AN_IMAGE),
        (b"P5.js is a library", Refusal.NOT_AN_IMAGE),
        (b"RIFF\x24\0\0\0WAVEfmt ", Refusal.NOT_AN_IMAGE),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Refusal.CORRUPT),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Refusal.CORRUPT),
        (b"\0\0\0\x0cJXL \r\n\x87\n", Refusal.UNSUPPORTED_FORMAT),
        (b"\xff\x0a\xfa\x1f", Refusal.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x0cjP  \r\n\x87\n", Refusal.UNSUPPORTED_FORMAT),
        (b'<?xml version="1.0"?><SVG xmlns="">', Refusal.VECTOR_IMAGE),
        (gzip.compress(SVG_HEAD + bytes(5000), mtime=0), Refusal.VECTOR_IMAGE),
        (gzip.compress(b"<html>" + bytes(5000), mtime=0), Refusal.NOT_AN_IMAGE),
        (b"\x1f\x8b\x08" + b"<svg" * 9, Refusal.NOT_AN_IMAGE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", Refusal.UNSUPPORTED_FORMAT),
        (b"%PDF-1.7", Refusal.UNSUPPORTED_FORMAT),
        (b"\xd7\xcd\xc6\x9a", Refusal.UNSUPPORTED_FORMAT),
        (b"P3\n40 40\n255\n" + b"0 " * 4800, Refusal.UNSUPPORTED_FORMAT),
        (encode(Image.new("RGB", (1, 1))), Refusal.TOO_SMALL),
        (encode(Image.new("RGB", (500, SMALLEST_SIDE - 1))), Refusal.TOO_SMALL),
        (encode(PHOTO)[:2000], Refusal.TRUNCATED),
        (encode(PHOTO, "JPEG")[:5000], Refusal.TRUNCATED),
        (encode(PHOTO, "GIF")[:700], Refusal.TRUNCATED),
        (encode(PHOTO, "BMP")[:9000], Refusal.TRUNCATED),
        (encode(PHOTO, "JPEG")[:20] + b"\0" * 3000, Refusal.CORRUPT),
    ],
)
def test_refusals_are_named(data: bytes, code: Refusal) -> None:
    """Each reason has its name."""
    assert refusal(data).code is code


def test_limits_are_inclusive() -> None:
    """Exactly as many bytes and pixels as allowed are hashed; one more is not."""
    data = encode(PHOTO)
    hash_image(data, max_bytes=len(data), max_pixels=400 * 300)

    with pytest.raises(ImageRefusedError) as bytes_refused:
        hash_image(data, max_bytes=len(data) - 1, max_pixels=400 * 300)
    with pytest.raises(ImageRefusedError) as pixels_refused:
        hash_image(data, max_bytes=len(data), max_pixels=400 * 300 - 1)

    assert bytes_refused.value.code is Refusal.TOO_MANY_BYTES
    assert pixels_refused.value.code is Refusal.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    "bomb",
    [
        png_header(60_000, 60_000),
        png_header(2_000_000_000, 2),
        gif_header(65_535, 65_535),
        gif_header(32, 32, frame=(65_535, 65_535)),
        icon_of(png_header(50_000, 50_000)),
        icon_of(struct.pack("<IiiHHIIiiII", 40, 30_000, 60_000, 1, 32, 0, 0, 0, 0, 0, 0)),
        tiff((256, 60_000), (257, 60_000), (258, 8), (262, 1), (273, 8), (279, 9)),
        tiff((256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (322, 65_520), (323, 65_520),
             (324, 8), (325, 9)),
        b"P6\n60000 60000\n255\n" + bytes(64),
        b"BM" + struct.pack("<IIIIiiHH", 0, 0, 54, 40, 60_000, 60_000, 1, 24) + bytes(24),
    ],
)  # fmt: skip
def test_bombs_are_refused_before_they_are_decoded(bomb: bytes) -> None:
    """A few bytes that promise a huge picture cost no time and no memory."""
    started = time.perf_counter()

    assert refusal(bomb).code is Refusal.TOO_MANY_PIXELS
    assert time.perf_counter() - started < 0.5


def test_an_icon_is_as_large_as_its_picture() -> None:
    """The picture inside an icon counts, not what the directory says of it."""
    result = hashed(icon_of(encode(PHOTO)))

    assert (result.mime, result.width, result.height) == ("image/x-icon", 400, 300)
    assert result.rows == hashed(encode(PHOTO)).rows


@settings(max_examples=150, deadline=None)
@given(data=st.sampled_from(SMALL_FILES), share=st.floats(0, 1))
def test_a_truncated_file_is_hashed_or_refused(data: bytes, share: float) -> None:
    """Wherever a file is cut, the outcome is a hash or a named refusal."""
    hash_or_refuse(data[: int(len(data) * share)])


@settings(max_examples=400, deadline=None)
@given(
    data=st.sampled_from(SMALL_FILES),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=12),
    head=st.booleans(),
)
def test_a_damaged_file_is_hashed_or_refused(
    data: bytes, edits: list[tuple[float, int]], head: bool
) -> None:
    """Whatever bytes are changed, the outcome is a hash or a named refusal."""
    damaged = bytearray(data)
    reach = min(len(data), 200) if head else len(data)
    for share, value in edits:
        damaged[int(share * reach)] = value
    hash_or_refuse(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from([data[:32] for data in SMALL_FILES]), rest=st.binary(max_size=300))
def test_random_bytes_after_a_signature_are_refused(start: bytes, rest: bytes) -> None:
    """A signature alone makes no image."""
    hash_or_refuse(start + rest)


def hash_or_refuse(data: bytes) -> None:
    """Let anything through that is neither a hash nor a refusal with a short, plain message."""
    outcome: HashedImage | ImageRefusedError
    try:
        outcome = hashed(data)
    except ImageRefusedError as error:
        outcome = error
    if isinstance(outcome, HashedImage):
        assert outcome.width * outcome.height <= MAX_PIXELS
    else:
        assert str(outcome).isascii()
        assert len(str(outcome)) < 100


def test_a_message_holds_nothing_of_the_data() -> None:
    """What is logged says why, not what: neither message nor context quotes a file."""
    secret = b"maria-1994"
    files = [
        secret * 10,
        b"P6\n" + secret + b" 40\n255\n",
        b"%PDF-1.7 " + secret,
        encode(PHOTO, "JPEG")[:20] + secret * 50,
    ]

    for data in files:
        error = refusal(data)
        assert secret.decode() not in str(error)
        assert error.__suppress_context__ or error.__context__ is None


def test_several_threads_hash_alike() -> None:
    """Nothing is shared between two hashings but constants."""
    files = [encode(PHOTO, form, **options) for form, options in FORMATS.values()]
    expected = [hashed(data).rows for data in files]
    found: list[object] = []

    def work() -> None:
        found.append([hashed(data).rows for data in files])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 4


def test_no_limit_of_the_process_is_touched() -> None:
    """Pillow's own settings are the application's, not ours."""
    before = Image.MAX_IMAGE_PIXELS
    hashed(encode(PHOTO))

    assert before == Image.MAX_IMAGE_PIXELS


def test_avif_is_told_from_heif() -> None:
    """Both share a container; the brands decide."""
    avif = sniff(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf")
    heif = sniff(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")

    assert avif is not None
    assert heif is not None
    assert (avif.mime, heif.mime) == ("image/avif", "image/heif")
