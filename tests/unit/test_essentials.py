"""Broken metadata hides no picture: what browsers pass over changes neither pixels nor outcome."""

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import hash_image
from indexer.hashing.essentials import essential_png
from indexer.hashing.formats import sniff
from indexer.hashing.jpeg import MOST_SCANS, has_many_scans
from indexer.hashing.opening import open_image
from indexer.model import HashedImage

PHOTO = draw_photo(21, width=200, height=150)
PNG = encode(PHOTO)
PALETTE = encode(PHOTO.convert("P"))
JPEG = encode(PHOTO, "JPEG", quality=90)
GIF = encode(PHOTO, "GIF")
AVIF = encode(PHOTO, "AVIF", quality=80, speed=10)
GIF_HEADER_BYTES = 13 + 3 * 256
COLOURS = int.from_bytes(PALETTE[PALETTE.index(b"PLTE") - 4 :][:4]) // 3
CLEAR = bytes(COLOURS)


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=1 << 24, max_pixels=1 << 22)


def farthest_bits(one: HashedImage, other: HashedImage) -> int:
    """The larger distance of the upright hashes of both paths, on white."""
    left, right = one.rows[0][1], other.rows[0][1]
    return max(
        (int.from_bytes(left[at : at + 32]) ^ int.from_bytes(right[at : at + 32])).bit_count()
        for at in (0, 256)
    )


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + body)
    written = right if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", written)


def png_of(
    rows: NDArray[np.uint8], *, colour: int, depth: int = 8, chunks: bytes, width: int | None = None
) -> bytes:
    """Write rows of bytes as a PNG without filters."""
    height, packed = rows.shape
    header = struct.pack(">IIBBBBB", width or packed, height, depth, colour, 0, 0, 0)
    pixels = np.insert(rows, 0, 0, axis=1).tobytes()
    parts = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(pixels))
    return PNG[:8] + parts + chunk(b"IEND", b"")


def in_png(added: bytes, *, before: bytes = b"IDAT", png: bytes = PNG) -> bytes:
    at = png.index(before) - 4
    return png[:at] + added + png[at:]


def in_jpeg(marker: int, body: bytes) -> bytes:
    return JPEG[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + JPEG[2:]


def in_gif(added: bytes) -> bytes:
    return GIF[:GIF_HEADER_BYTES] + added + GIF[GIF_HEADER_BYTES:]


ANCILLARY: dict[str, bytes] = {
    "a text with a wrong checksum": chunk(b"tEXt", b"a\0b", 0),
    "a text that unpacks to megabytes": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 21))),
    "a profile of megabytes": chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 21))),
    "a profile cut short": chunk(b"iCCP", b"a"),
    "sizes cut short": chunk(b"pHYs", b"a"),
    "primaries cut short": chunk(b"cHRM", b"abc"),
    "an animation cut short": chunk(b"acTL", b""),
    "a frame without its animation": chunk(b"fcTL", b""),
    "frames out of order": chunk(b"acTL", bytes((0, 0, 0, 2, 0, 0, 0, 0)))
    + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 9, 200, 150, 0, 0, 1, 1, 0, 0)),
    "frames that do not fit": chunk(b"acTL", bytes((0, 0, 0, 2, 0, 0, 0, 0)))
    + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 900, 150, 0, 0, 1, 1, 0, 0)),
    "a colour of the wrong size": chunk(b"tRNS", b"\0"),
    "a colour with a wrong checksum": chunk(b"tRNS", bytes(6), 0),
    **{
        f'a text called "{name}"': chunk(b"tEXt", name.encode() + b"\x001")
        for name in ("interlace", "transparency", "bbox", "default_image")
    },
}


@pytest.mark.parametrize("what", ANCILLARY)
def test_ancillary_chunks_hide_no_png(what: str) -> None:
    """A browser passes over them, wherever they are broken; so the hashes stay the same."""
    image = hashed(in_png(ANCILLARY[what]))

    assert image.rows == hashed(PNG).rows
    assert image.incomplete is None


def test_a_broken_animation_behind_the_image_hides_no_png() -> None:
    """A frame without its number in the row leaves the still picture as it is."""
    header = chunk(b"acTL", bytes((0, 0, 0, 2, 0, 0, 0, 0)))
    frames = [
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 200, 150, 0, 0, 1, 1, 0, 0))
        for number in (0, 7)
    ]
    image = hashed(in_png(frames[1], before=b"IEND", png=in_png(header + frames[0])))

    assert image.rows == hashed(PNG).rows
    assert not image.is_partial


@pytest.mark.parametrize(
    "png",
    [
        in_png(chunk(b"tRNS", CLEAR), before=b"IEND", png=PALETTE),
        in_png(chunk(b"tRNS", CLEAR), before=b"PLTE", png=PALETTE),
        in_png(chunk(b"tRNS", b"\xff") + chunk(b"tRNS", CLEAR), png=PALETTE),
        in_png(chunk(b"tRNS", CLEAR + CLEAR), png=PALETTE),
        in_png(chunk(b"tRNS", CLEAR, 0), png=PALETTE),
    ],
    ids=["behind the image", "before the palette", "twice", "too long", "wrong checksum"],
)
def test_transparency_that_browsers_ignore_blanks_nothing(png: bytes) -> None:
    """A table that makes all colours transparent counts only in its place, once, and whole."""
    assert hashed(png).rows == hashed(PALETTE).rows


def test_transparency_in_its_place_still_counts() -> None:
    """A palette whose colours are all transparent shows its background alone."""
    assert hashed(in_png(chunk(b"tRNS", CLEAR), png=PALETTE)).quality == 0


def test_beyond_its_palette_a_png_shows_the_last_colour() -> None:
    """Indices without a colour are no other picture: browsers repeat the last."""
    greys = np.asarray(PHOTO.convert("L"))
    palette = chunk(b"PLTE", bytes(value for value in range(100) for _ in range(3)))
    shown = encode(Image.fromarray(np.minimum(greys, 99)))

    assert hashed(png_of(greys, colour=3, chunks=palette)).rows == hashed(shown).rows


def test_beyond_its_table_a_gif_shows_black() -> None:
    """The same of a GIF, whose table is cut to 16 colours."""
    greys = np.asarray(PHOTO.convert("L"))
    whole = encode(PHOTO.convert("L"), "GIF")
    cut = whole[:10] + bytes([whole[10] & 0xF8 | 3]) + whole[11 : 13 + 3 * 16]
    shown = encode(Image.fromarray(np.where(greys < 16, greys, 0).astype(np.uint8)))

    assert hashed(cut + whole[GIF_HEADER_BYTES:]).rows == hashed(shown).rows


def test_a_transparent_grey_is_one_of_the_greys_that_there_are() -> None:
    """Of a PNG of 4 bits, grey 3 of 15 is transparent, not what is 3 once spread over 8 bits."""
    greys = np.asarray(PHOTO.convert("L")) // 16
    packed = greys[:, ::2] << 4 | greys[:, 1::2]
    png = png_of(packed, colour=0, depth=4, chunks=chunk(b"tRNS", b"\0\3"), width=200)
    shown = encode(Image.fromarray(np.where(greys == 3, 255, greys * 17).astype(np.uint8)))

    assert hashed(png).rows[0] == hashed(shown).rows[0]


@pytest.mark.parametrize(
    "jpeg",
    [
        in_jpeg(0xE0, b"JFIF"),
        in_jpeg(0xE2, b"ICC_PROFILE\0"),
        in_jpeg(0xED, b"Photoshop 3.0\x008BIM\3\xed"),
        in_jpeg(0xEE, b"Adobe"),
        JPEG[:2] + b"\xff\x01" + JPEG[2:],
    ],
    ids=["JFIF", "profile", "Photoshop", "Adobe", "parameterless"],
)
def test_segments_cut_short_hide_no_jpeg(jpeg: bytes) -> None:
    """A decoder passes over application segments that are too short to say anything."""
    image = hashed(jpeg)

    assert image.rows == hashed(JPEG).rows
    assert image.incomplete is None


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_what_tells_the_colours_of_a_jpeg_is_kept(mode: str) -> None:
    """Without its Adobe segment a JPEG has other colours."""
    whole = encode(PHOTO.convert(mode), "JPEG", quality=90, keep_rgb=mode == "RGB")
    broken = whole[:2] + b"\xff\xe0\x00\x06JFIF" + whole[2:]

    assert hashed(broken).rows == hashed(whole).rows


@pytest.mark.parametrize(
    "gif",
    [
        in_gif(b"\x21\xf9\x00"),
        in_gif(b"\x21\xf9\x01\x00\x00"),
        in_gif(b"\x21\xff\x00"),
        in_gif(b"\x21\xff\x0bNETSCAPE2.0\x00"),
        in_gif(b"\x21\x77\x03abc\x00"),
    ],
    ids=["empty control", "short control", "empty application", "empty loop", "unknown"],
)
def test_odd_extensions_hide_no_gif(gif: bytes) -> None:
    """What follows an extension's last block is the next block, however short it was."""
    assert hashed(gif).rows == hashed(GIF).rows


def test_any_brand_makes_an_avif() -> None:
    """Browsers look for the brand among all, not only in the first place."""
    other = AVIF[:8] + b"miaf" + AVIF[12:]

    assert hashed(other).rows == hashed(AVIF).rows
    assert hashed(other).mime == "image/avif"


@pytest.mark.parametrize(
    ("bits", "masks", "most_bits"),
    [
        (16, (0xF00, 0xF0, 0xF), 12),
        (32, (0xFF, 0xFF00, 0xFF0000), 0),
        (32, (0x3FF00000, 0xFFC00, 0x3FF), 4),
    ],
)
def test_a_bitmap_may_have_its_colours_anywhere(
    bits: int, masks: tuple[int, ...], most_bits: int
) -> None:
    """Browsers follow the masks, however odd; so are they followed here."""
    pixels = np.zeros((150, 200), np.uint64)
    for channel, mask in enumerate(masks):
        low = (mask & -mask).bit_length() - 1
        values = np.asarray(PHOTO)[::-1, :, channel].astype(np.uint64)
        pixels |= (values * np.uint64(mask >> low) + np.uint64(127)) // np.uint64(255) << np.uint64(
            low
        )
    body = pixels.astype(f"<u{bits // 8}").tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, 200, 150, 1, bits, 3, len(body), 0, 0, 0, 0)
    head += struct.pack("<III", *masks)
    bitmap = b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head))

    assert farthest_bits(hashed(bitmap + head + body), hashed(PNG)) <= most_bits


def test_a_bitmap_may_count_its_colours_wrongly() -> None:
    """A palette has as many colours as a pixel can name."""
    whole = encode(PHOTO.convert("P"), "BMP")
    odd = whole[:46] + b"\xff\xff\xff\x7f" + whole[50:]

    assert hashed(odd).rows == hashed(whole).rows


def test_a_cursor_is_an_icon() -> None:
    """Browsers show both as pictures; one byte tells them apart."""
    icon = encode(PHOTO.resize((64, 64)), "ICO", sizes=[(64, 64)])
    cursor = icon[:2] + b"\x02" + icon[3:]

    assert hashed(cursor).rows == hashed(icon).rows
    assert hashed(cursor).mime == "image/x-win-cursor"


def test_an_entry_that_lies_hides_no_icon() -> None:
    """Nor do broken metadata of the picture that is shown: browsers take what can be read."""
    small = PHOTO.resize((96, 72))
    png = encode(small)

    def icon(picture: bytes, *more: tuple[int, int]) -> bytes:
        entries = [
            (96, 72, len(picture), 6 + 16 * (1 + len(more))),
            *((8, 8, *one) for one in more),
        ]
        table = b"".join(
            struct.pack("<BBHHHII", w, h, 0, 1, 32, *place) for w, h, *place in entries
        )
        return struct.pack("<HHH", 0, 1, len(entries)) + table + picture

    whole = hashed(icon(png)).rows
    assert whole == hashed(png).rows
    assert hashed(icon(png, (50, 45))).rows == whole
    assert hashed(icon(png, (50, 1 << 30))).rows == whole
    assert hashed(icon(in_png(chunk(b"tEXt", b"a\0b", 0), png=png))).rows == whole


def test_many_short_palettes_make_no_file_grow() -> None:
    """A palette is filled up once: a megabyte of short ones would become fifty."""
    palettes = chunk(b"PLTE", b"abc") * 1000
    assert len(essential_png(in_png(palettes, png=PALETTE))) < len(PALETTE) + len(palettes) + 2000


def test_the_pictures_of_an_icon_share_one_limit() -> None:
    """Each is decoded when it is tried: many entries that name one bomb must not multiply it."""
    good, broken = encode(PHOTO.resize((96, 72))), encode(PHOTO.resize((100, 100)))[:-2000]
    count, behind = 5, 6 + 16 * 5
    entries = [(0, 0, len(broken), behind)] * (count - 1)
    entries.append((96, 72, len(good), behind + len(broken)))
    table = b"".join(struct.pack("<BBHHHII", w, h, 0, 1, 32, *at) for w, h, *at in entries)
    icon = struct.pack("<HHH", 0, 1, count) + table + broken + good

    enough = hash_image(icon, max_bytes=1 << 24, max_pixels=60_000)
    assert enough.rows == hashed(good).rows
    with pytest.raises(ImageRefusedError) as refused:
        hash_image(icon, max_bytes=1 << 24, max_pixels=20_000)
    assert refused.value.code is Refusal.CORRUPT


@pytest.mark.parametrize(("form", "cut_bytes"), [("PNG", 400), ("GIF", 200), ("BMP", 2000)])
def test_a_cut_file_is_hashed_as_far_as_it_goes(form: str, cut_bytes: int) -> None:
    """A browser shows the rows that are there; a match of them waits for a person."""
    whole = encode(PHOTO, form)
    image = hashed(whole[:-cut_bytes])

    assert image.is_partial
    assert image.incomplete is Refusal.TRUNCATED
    assert farthest_bits(image, hashed(whole)) <= 24


def test_a_progressive_jpeg_is_hashed_up_to_what_breaks_it() -> None:
    """Browsers show each scan as it comes; what is wrong in a later one takes none away."""
    whole = encode(PHOTO, "JPEG", quality=90, progressive=True)
    last = whole.rfind(b"\xff\xda")
    no_table = b"\xff\xc4\x00\x13\x10" + b"\xff" * 16
    image = hashed(whole[:last] + no_table + whole[last:])

    assert image.is_partial
    assert farthest_bits(image, hashed(whole)) <= 10


def test_a_wrong_sum_of_the_pixels_hides_no_png() -> None:
    """Decoders check the sum behind the last row, when all rows are there."""
    at = PNG.index(b"IDAT")
    size = int.from_bytes(PNG[at - 4 : at])
    body = bytearray(PNG[at + 4 : at + 4 + size])
    body[-1] ^= 1
    image = hashed(PNG[: at - 4] + chunk(b"IDAT", bytes(body)) + PNG[at + 8 + size :])

    assert image.is_partial
    assert farthest_bits(image, hashed(PNG)) <= 10


def test_a_comment_is_no_scan_header() -> None:
    """What looks like a scan of all components, before one of a single one, is not believed."""
    usual = encode(PHOTO.convert("CMYK"), "JPEG")
    at = usual.index(b"\xff\xda")
    comment = b"\xff\xfe\x00\x08" + b"\xff\xda\x00\x0e\x04\x00"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    bomb = usual[:at] + comment + scan * (MOST_SCANS + 1) + b"\xff\xd9"

    assert has_many_scans(bomb, opened(bomb))
    assert not has_many_scans(usual, opened(usual))


def opened(data: bytes) -> ImageFile.ImageFile:
    form = sniff(data)
    assert form is not None
    return open_image(data, form, max_pixels=1 << 22)
