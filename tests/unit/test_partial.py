"""JPEG files whose end is missing, colour profiles, HEIC: what is hashed all the same, and how."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import formats, hash_image
from indexer.hashing.formats import Format
from indexer.hashing.jpeg import LEAST_SHARE, MOST_SCANS, has_many_scans, has_plain_header
from indexer.hashing.opening import Limits, format_of
from indexer.model import HashedImage

PHOTO = draw_photo(51, width=400, height=304)


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=1 << 24, max_pixels=1 << 22)


def refusal(data: bytes) -> Refusal:
    with pytest.raises(ImageRefusedError) as raised:
        hashed(data)
    return raised.value.code


def distance_bits(one: HashedImage, other: HashedImage) -> int:
    """The distance of the upright *cpp* hashes."""
    left, right = one.rows[0][1][:32], other.rows[0][1][:32]
    return (int.from_bytes(left) ^ int.from_bytes(right)).bit_count()


def cut_to_rows(photo: Image.Image, share: float, **options: Any) -> bytes:  # noqa: ANN401
    """Cut a baseline JPEG where about so many of its rows end, counted by restart markers."""
    data = encode(photo, "JPEG", restart_marker_rows=1, subsampling=0, **options)
    rows = round(photo.height // 8 * share)
    at = data.index(b"\xff\xda")
    for _ in range(rows):
        at = min(data.index(bytes((0xFF, 0xD0 + n)), at + 2) for n in range(8)
                 if bytes((0xFF, 0xD0 + n)) in data[at + 2 :])  # fmt: skip
    return data[:at]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("share", [0.95, 0.8, 0.55])
def test_a_cut_jpeg_is_hashed_as_browsers_show_it(mode: str, share: float) -> None:
    """What is there hashes as in a picture with a stripe of any one colour below it."""
    photo = PHOTO.convert(mode)
    image = hashed(cut_to_rows(photo, share, quality=95))
    rows = round(304 // 8 * share) * 8
    for colour in ("black", "white", "red"):
        seen = photo.convert("RGB")
        seen.paste(colour, (0, rows, 400, 304))
        assert distance_bits(image, hashed(encode(seen))) <= 8

    assert (image.width, image.height) == (400, 304)
    assert image.incomplete is Refusal.TRUNCATED
    assert image.is_partial
    assert {entry.variant.endswith("+partial") for entry in image.hashes} == {True}


def test_a_small_loss_is_found_again() -> None:
    """With 95 of 100 rows the whole picture's hash is within the threshold."""
    assert distance_bits(hashed(cut_to_rows(PHOTO, 0.95)), hashed(encode(PHOTO))) <= 31


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4, 0.2])
def test_a_cut_progressive_jpeg_has_all_rows(share: float) -> None:
    """Its first scan shows the whole picture, only less sharp: it is nearly the same hash."""
    data = encode(PHOTO, "JPEG", progressive=True, quality=90)
    image = hashed(data[: int(len(data) * share)])

    assert image.is_partial
    assert distance_bits(image, hashed(encode(PHOTO))) <= 20


def test_below_the_share_a_cut_jpeg_is_refused() -> None:
    """With fewer than half of its rows a picture's hash says little."""
    assert LEAST_SHARE == 0.5
    assert refusal(cut_to_rows(PHOTO, 0.45)) is Refusal.TRUNCATED
    assert refusal(encode(PHOTO, "JPEG")[:700]) is Refusal.TRUNCATED
    assert refusal(encode(PHOTO, "JPEG")[:12]) is Refusal.TRUNCATED


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1), progressive=st.booleans())
def test_wherever_a_jpeg_is_cut(share: float, progressive: bool) -> None:
    """Whole, partial or refused as truncated or without pixels: nothing in between."""
    data = encode(PHOTO, "JPEG", progressive=progressive)
    try:
        image = hashed(data[: int(len(data) * share)])
    except ImageRefusedError as error:
        code: Refusal | None = error.code
    else:
        code = None
        assert image.is_partial is (image.incomplete is Refusal.TRUNCATED)
    assert code in {None, Refusal.TRUNCATED, Refusal.CORRUPT, Refusal.NOT_AN_IMAGE, Refusal.EMPTY}


def test_a_whole_jpeg_is_not_partial() -> None:
    """Bytes behind the end, or a missing end marker, take nothing away."""
    data = encode(PHOTO, "JPEG")
    for whole in (data, data + b"more", data[:-2]):
        assert (hashed(whole).is_partial, hashed(whole).incomplete) == (False, None)
        assert hashed(whole).rows == hashed(data).rows


def test_other_cut_files_are_refused() -> None:
    """Their readers give all or nothing; of PNG and BMP half has to be there, as of JPEG."""
    for form, share in (("WEBP", 0.8), ("AVIF", 0.8), ("TIFF", 0.8), ("PNG", 0.4), ("BMP", 0.4)):
        data = encode(PHOTO, form)
        assert refusal(data[: int(len(data) * share)]) in {Refusal.TRUNCATED, Refusal.CORRUPT}, form


def opened(data: bytes) -> Any:  # noqa: ANN401 - Pillow's
    return Image.open(io.BytesIO(data))


def test_scans_are_counted_where_they_cost() -> None:
    """Usual files have few; a hundred are many, in progressive and in split files."""
    progressive = encode(PHOTO, "JPEG", progressive=True)
    at = progressive.rfind(b"\xff\xda")
    scan = progressive[at : at + 2 + int.from_bytes(progressive[at + 2 : at + 4])]
    usual = encode(PHOTO, "JPEG")
    markers_behind = usual[:-2] + b"\xff\xda\x00\x02" * 100 + usual[-2:]
    many = progressive[:-2] + scan * (MOST_SCANS + 1) + progressive[-2:]

    assert not has_many_scans(progressive, opened(progressive))
    assert not has_many_scans(usual, opened(usual))
    assert not has_many_scans(markers_behind, opened(markers_behind))
    assert has_many_scans(many, opened(many))
    assert not has_many_scans(encode(PHOTO), opened(encode(PHOTO)))


def test_a_split_baseline_file_counts_its_scans() -> None:
    """A first scan of one component alone makes the decoder read all scans."""
    usual = bytearray(encode(PHOTO, "JPEG"))
    at = usual.index(b"\xff\xda")
    one = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    split = bytes(usual[:at]) + one * (MOST_SCANS + 2) + b"\xff\xd9"

    assert has_many_scans(split, opened(split))


@pytest.mark.parametrize(
    ("header", "is_plain"),
    [(b"", True), (b"\xff\xfe\x00\x04ab", True), (b"\xff\xfe\x00\x02" * 2000, False),
     (b"\xff" * 9, False), (b"garbage", False)],
)  # fmt: skip
def test_long_headers_are_told(header: bytes, is_plain: bool) -> None:
    """A few segments in a row are plain; thousands, or bytes between them, are not."""
    data = encode(PHOTO, "JPEG")

    assert has_plain_header(data[:2] + header + data[2:]) is is_plain
    assert not has_plain_header(data[:30])


def inverting_profile() -> bytes:
    """An ICC profile under which black is shown white."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = struct.pack(">4sIIHH", b"curv", 0, 2, 65535, 0)
    white = fixed(0.9642, 1, 0.8249)
    tags = {
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.4361, 0.2225, 0.0139),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.3851, 0.7169, 0.0971),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1431, 0.0606, 0.7141),
        b"wtpt": b"XYZ \0\0\0\0" + white,
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(value))
        body += value
    head = bytearray(128)
    head[8:24] = b"\x02\x40\0\0mntrRGB XYZ "
    head[36:40], head[68:80] = b"acsp", white
    head[:4] = struct.pack(">I", at + len(body))
    return bytes(head) + table + body


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_colour_profiles_are_not_applied(form: str) -> None:
    """Meta's reference hashes the numbers that are stored, and so do we (docs/adr/0014)."""
    plain, profiled = encode(PHOTO, form), encode(PHOTO, form, icc_profile=inverting_profile())

    assert opened(profiled).info["icc_profile"] == inverting_profile()
    assert hashed(profiled).rows == hashed(plain).rows


def test_wide_colour_keeps_its_upper_byte() -> None:
    """A TIFF of 16 bits a channel hashes as its 8-bit copy, which is what a screen shows."""
    wide = np.asarray(PHOTO).astype("<u2") * 257
    entries = [
        (256, 4, 1, PHOTO.width), (257, 4, 1, PHOTO.height), (258, 3, 3, 8 + 2 + 9 * 12 + 4),
        (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 200), (277, 3, 1, 3),
        (278, 4, 1, PHOTO.height), (279, 4, 1, wide.nbytes),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    head += struct.pack("<HHH", 16, 16, 16)
    data = head.ljust(200, b"\0") + wide.tobytes()

    assert hashed(data).rows == hashed(encode(PHOTO)).rows


def test_heic_is_hashed_where_its_reader_is_installed() -> None:
    """As a copy in another format, and refused by name without its reader."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = hashed(encode(PHOTO, "HEIF", quality=95))

    assert image.mime == "image/heif"
    assert distance_bits(image, hashed(encode(PHOTO))) <= 20


def test_without_its_reader_heic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the extra."""
    form = Format(mime="image/heif", extra="heif")
    monkeypatch.setitem(formats._BRANDS, b"heic", form)
    limits = Limits(max_bytes=1 << 20, max_pixels=1 << 20, max_frames=1, timeout_s=1)
    with pytest.raises(ImageRefusedError, match=r"delist\[heif\]") as raised:
        format_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", limits)

    assert raised.value.code is Refusal.UNSUPPORTED_FORMAT


def test_a_lenient_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another library may tell Pillow to fill up cut files, for the whole process; not for us."""
    cut = encode(PHOTO, "JPEG")[: 2 * len(encode(PHOTO, "JPEG")) // 3]
    strict = hashed(cut)
    webp = encode(PHOTO, "WEBP")[:-2000]
    png = hashed(encode(PHOTO, "PNG")[:-2000])

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    assert hashed(cut) == strict
    assert strict.incomplete is Refusal.TRUNCATED
    assert hashed(encode(PHOTO, "PNG")[:-2000]) == png
    assert png.is_partial
    assert refusal(webp) is Refusal.CORRUPT
