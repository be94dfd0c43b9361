"""The two paths, their variants and the rows that ``hash_image`` makes of them."""

import hashlib
import math

import numpy as np
import pdqhash
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from delist.ops.pictures import Pixels, draw_photo, draw_pixels, encode
from indexer.hashing import hash_image
from indexer.hashing.paths import cpp_blocks, web_blocks
from indexer.hashing.pdq import quality_of
from indexer.hashing.variants import digests_of, transform
from indexer.model import (
    DIGEST_BYTES,
    HASHERS,
    ROW_BYTES,
    VARIANTS,
    Background,
    HashedImage,
    Hasher,
    Variant,
)

MANY = 1 << 30
SIZES = [
    (64, 64), (17, 17), (17, 23), (100, 63), (127, 129), (128, 128), (200, 150), (333, 217),
    (511, 512), (512, 512), (512, 17), (513, 512), (600, 400), (801, 599), (1024, 768),
    (3000, 40), (40, 3000), (1025, 1027),
]  # fmt: skip
sides = st.integers(17, 1100)


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=MANY, max_pixels=MANY)


def digest(image: HashedImage, hasher: Hasher, variant: Variant = Variant.UPRIGHT) -> bytes:
    return next(
        entry.digest
        for entry in image.hashes
        if entry.hasher is hasher and entry.variant == variant.value
    )


def distance_bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def reference_picks(pixels: Pixels) -> Pixels:
    """What Meta's C++ reference hashes of an image: 512x512 picks once a side exceeds 512."""
    height, width = pixels.shape[:2]
    if max(height, width) <= 512:
        return pixels
    rows = [i * height // 512 for i in range(512)]
    columns = [j * width // 512 for j in range(512)]
    return np.ascontiguousarray(pixels[rows][:, columns])


def reference(pixels: Pixels) -> tuple[bytes, int]:
    vector, quality = pdqhash.compute(reference_picks(pixels))
    return np.packbits(vector).tobytes(), int(quality)


def web_oracle(pixels: Pixels) -> bytes:
    """Do the browser hasher's steps one after the other, as it does: slowly."""
    luma = web_canvas(pixels)
    for _ in range(2):
        luma = box_blur_rows(luma)
        luma = box_blur_rows(luma.T).T
    block = np.floor(luma[4::8, 4::8] + 1e-6)
    values = [
        sum(
            0.03125
            * math.cos(math.pi / 128 * i * (2 * y + 1))
            * float(np.dot(block[y], np.cos(np.pi / 128 * j * (2 * np.arange(64) + 1))))
            for y in range(64)
        )
        for i in range(1, 17)
        for j in range(1, 17)
    ]
    median = sorted(values)[127]
    bits = sum(1 << position for position, value in enumerate(values) if value > median)
    return bits.to_bytes(32)


def web_canvas(pixels: Pixels) -> NDArray[np.float64]:
    """Halve while both sides are 1024 or more, then blend bilinearly to 512x512, cut to 8 bits."""
    halved = pixels.astype(np.int64)
    while min(halved.shape[:2]) >= 1024:
        assert halved.shape[0] % 2 == halved.shape[1] % 2 == 0, "the oracle halves even sides"
        total = halved[::2, ::2] + halved[1::2, ::2] + halved[::2, 1::2] + halved[1::2, 1::2]
        halved = (total + 2) // 4
    share = np.array([19595, 38470, 7471])
    grey = ((halved @ share + 32768) >> 16).astype(float)
    return np.floor(blend_rows(blend_rows(grey, grey.shape[0]).T, grey.shape[1]).T)


def blend_rows(grey: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    rows = []
    for i in range(512):
        at = min(max((i + 0.5) * side / 512 - 0.5, 0), side - 1)
        upper = int(at)
        lower = min(upper + 1, side - 1)
        rows.append(grey[upper] * (1 - (at - upper)) + grey[lower] * (at - upper))
    return np.array(rows)


def box_blur_rows(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.vstack([luma[:1], luma[:1], luma, luma[-1:], luma[-1:]])
    return np.asarray(sum(padded[k : k + len(luma)] for k in range(5)) / 5)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_cpp_equals_the_reference(width: int, height: int) -> None:
    """The *cpp* path has the bits and the quality of Meta's code on the same pixels."""
    pixels = draw_pixels(width * 7 + height, width=width, height=height)
    blocks = cpp_blocks(Image.fromarray(pixels))

    assert (digests_of(blocks)[0], quality_of(blocks.upright)) == reference(pixels)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), width=sides, height=sides)
def test_cpp_equals_the_reference_on_any_size(seed: int, width: int, height: int) -> None:
    """No size is special."""
    pixels = draw_pixels(seed, width=width, height=height)

    assert digests_of(cpp_blocks(Image.fromarray(pixels)))[0] == reference(pixels)[0]


@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (300, 200), (512, 512), (1023, 700), (1600, 1200), (2060, 2048)]
)
def test_web_equals_the_slow_way(width: int, height: int) -> None:
    """The folded *web* path has the bits of its steps done one after the other."""
    pixels = draw_pixels(width + height, width=width, height=height)

    assert digests_of(web_blocks(Image.fromarray(pixels)))[0] == web_oracle(pixels)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), width=sides, height=sides)
def test_a_variant_is_the_hash_of_the_transformed_pixels(
    seed: int, width: int, height: int
) -> None:
    """Both paths: turning the pixels first gives the very bits of the variant."""
    pixels = draw_pixels(seed, width=width, height=height)
    image = Image.fromarray(pixels)
    cpp, web = digests_of(cpp_blocks(image)), digests_of(web_blocks(image))

    for position, variant in enumerate(VARIANTS):
        turned = Image.fromarray(np.ascontiguousarray(transform(pixels, variant)))
        assert digests_of(cpp_blocks(turned))[0] == cpp[position], variant
        assert digests_of(web_blocks(turned))[0] == web[position], variant


@pytest.mark.parametrize(("width", "height"), [(1025, 1027), (1027, 2050), (2051, 2053)])
def test_odd_sides_are_halved_without_a_favourite_edge(width: int, height: int) -> None:
    """Halving keeps the variants of the *web* path exact when a side is odd."""
    pixels = draw_pixels(5, width=width, height=height)
    web = digests_of(web_blocks(Image.fromarray(pixels)))

    for position, variant in enumerate(VARIANTS):
        turned = Image.fromarray(np.ascontiguousarray(transform(pixels, variant)))
        assert digests_of(web_blocks(turned))[0] == web[position], variant


def test_variants_are_what_their_names_say() -> None:
    """Mirror is left-right, flip top-bottom, turns are counter-clockwise."""
    cells = np.arange(6).reshape(2, 3)
    expected = {
        Variant.UPRIGHT: [[0, 1, 2], [3, 4, 5]],
        Variant.MIRROR: [[2, 1, 0], [5, 4, 3]],
        Variant.FLIP: [[3, 4, 5], [0, 1, 2]],
        Variant.TURN_180: [[5, 4, 3], [2, 1, 0]],
        Variant.TRANSPOSE: [[0, 3], [1, 4], [2, 5]],
        Variant.TURN_90: [[2, 5], [1, 4], [0, 3]],
        Variant.TURN_270: [[3, 0], [4, 1], [5, 2]],
        Variant.TRANSVERSE: [[5, 2], [4, 1], [3, 0]],
    }

    assert {variant: transform(cells, variant).tolist() for variant in VARIANTS} == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_web_heeds_the_orientation(orientation: int) -> None:
    """*web* hashes what a viewer shows, in all variants; *cpp* hashes what is stored."""
    stored = draw_photo(3, width=700, height=520)
    exif = Image.Exif()
    exif[0x0112] = orientation
    tagged = hashed(encode(stored, exif=exif))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    shown = hashed(encode(stored.transpose(undo[orientation]) if orientation > 1 else stored))
    untagged = hashed(encode(stored))

    for variant in VARIANTS:
        assert digest(tagged, Hasher.WEB, variant) == digest(shown, Hasher.WEB, variant)
        assert digest(tagged, Hasher.CPP, variant) == digest(untagged, Hasher.CPP, variant)
    assert (tagged.width, tagged.height) == (700, 520)


def test_a_row_holds_both_paths_in_order() -> None:
    """Sixteen digests: eight of *cpp*, then eight of *web*, in the order of ``VARIANTS``."""
    photo = draw_photo(1)
    data = encode(photo)
    result = hashed(data)
    ((background, row),) = result.rows

    assert background is Background.WHITE
    assert len(row) == ROW_BYTES
    assert row == b"".join(digests_of(cpp_blocks(photo)) + digests_of(web_blocks(photo)))
    assert len({row[at : at + DIGEST_BYTES] for at in range(0, ROW_BYTES // 2, DIGEST_BYTES)}) == 8
    assert result.quality == reference(np.asarray(photo))[1]
    assert result.sha256 == hashlib.sha256(data).digest()
    assert (result.size_bytes, result.mime) == (len(data), "image/png")


def test_a_flat_image_is_hashed_with_quality_zero() -> None:
    """An image that shows nothing is no error; its quality says that the hash is worthless."""
    assert hashed(encode(Image.new("RGB", (200, 100), (90, 120, 30)))).quality == 0


def test_a_hash_does_not_show() -> None:
    """Whoever logs the result by accident shows no digest."""
    result = hashed(encode(draw_photo(1)))

    assert result.rows[0][1].hex()[:16] not in repr(result)
    assert "rows" not in repr(result)


def test_jpeg_copies_stay_close() -> None:
    """Saving again as JPEG of moderate quality moves a hash by a few bits."""
    photo = draw_photo(11, width=640, height=480)
    original, copy = hashed(encode(photo)), hashed(encode(photo, "JPEG", quality=60))

    for hasher in HASHERS:
        assert distance_bits(digest(original, hasher), digest(copy, hasher)) <= 8
