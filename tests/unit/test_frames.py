"""Animations: which frames are hashed, how they are named, and what is left out."""

import itertools
import struct
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from delist.ops.pictures import draw_photo, encode
from indexer.errors import Refusal
from indexer.hashing import hash_image
from indexer.hashing.frames import MOST_FRAMES, frame_count, sampled
from indexer.model import Background, HashedImage, RowLabel

PHOTOS = [draw_photo(seed, width=96, height=64) for seed in range(12)]
ANIMATED: dict[str, tuple[str, dict[str, Any]]] = {
    "image/gif": ("GIF", {}),
    "image/webp": ("WEBP", {"quality": 95}),
    "image/png": ("PNG", {}),
    "image/avif": ("AVIF", {"quality": 95, "speed": 10}),
}
every_format = pytest.mark.parametrize("mime", ANIMATED)


def animation(mime: str, frames: list[Image.Image], **options: Any) -> bytes:  # noqa: ANN401
    form, defaults = ANIMATED[mime]
    options = {"duration": 100, **defaults, **options}
    return encode(frames[0], form, save_all=True, append_images=frames[1:], **options)


def hashed(data: bytes, *, max_pixels: int = 1 << 22, max_frames: int = 8) -> HashedImage:
    return hash_image(data, max_bytes=1 << 24, max_pixels=max_pixels, max_frames=max_frames)


def frames_of(image: HashedImage) -> list[int]:
    return [image.label(row).frame for row in range(len(image.rows))]


def distance_bits(one: HashedImage, row: int, other: HashedImage) -> int:
    """The distance of the upright *cpp* hashes of a row and of a still picture."""
    left, right = one.rows[row][1][:32], other.rows[0][1][:32]
    return (int.from_bytes(left) ^ int.from_bytes(right)).bit_count()


@every_format
def test_first_and_sampled_frames_are_hashed(mime: str) -> None:
    """Up to eight frames, spread evenly from the first to the last, each as it is shown."""
    result = hashed(animation(mime, PHOTOS))

    assert frames_of(result) == [0, 2, 3, 5, 6, 8, 9, 11]
    assert result.mime == mime
    assert result.incomplete is None
    for row, frame in enumerate(frames_of(result)):
        assert distance_bits(result, row, hashed(encode(PHOTOS[frame]))) <= 20


@every_format
def test_as_many_frames_as_the_setting_says(mime: str) -> None:
    """The first counts; with one the rest of an animation is not decoded."""
    data = animation(mime, PHOTOS)

    assert frames_of(hashed(data, max_frames=1)) == [0]
    assert frames_of(hashed(data, max_frames=2)) == [0, 11]
    assert frames_of(hashed(data, max_frames=64)) == list(range(12))


@every_format
def test_the_pixels_of_all_frames_are_limited(mime: str) -> None:
    """Frames beyond the limit of pixels are not looked at; the first always is."""
    data = animation(mime, PHOTOS)
    pixels = 96 * 64

    assert frames_of(hashed(data, max_pixels=3 * pixels)) == [0, 1, 2]
    assert frames_of(hashed(data, max_pixels=pixels)) == [0]


def test_frames_that_add_nothing_are_dropped() -> None:
    """The same picture, and one that differs by little, are one row."""
    nearly = PHOTOS[0].copy()
    nearly.putpixel((3, 3), (0, 0, 0))
    result = hashed(animation("image/png", [PHOTOS[0], nearly, PHOTOS[1], PHOTOS[0], nearly]))

    assert frames_of(result) == [0, 2]


def test_flat_frames_are_left_out() -> None:
    """A frame of one colour has no hash worth the name, unless it is the first."""
    flat = Image.new("RGB", PHOTOS[0].size, (0, 0, 0))

    assert frames_of(hashed(animation("image/png", [PHOTOS[0], flat, PHOTOS[1]]))) == [0, 2]
    behind = hashed(animation("image/png", [flat, PHOTOS[0]]))
    assert frames_of(behind) == [0, 1]
    assert behind.quality == behind.label(0).quality == 0
    assert behind.label(1).quality > 50


def test_transparent_frames_are_seen_on_both_backgrounds() -> None:
    """A frame is named with its background."""
    hole = Image.new("L", PHOTOS[0].size, 255)
    hole.paste(0, (10, 10, 50, 50))
    frames = [photo.convert("RGBA") for photo in PHOTOS[:2]]
    frames[1].putalpha(hole)
    result = hashed(animation("image/webp", frames, lossless=True))
    names = {entry.variant for entry in result.hashes}

    assert [background for background, _ in result.rows] == [
        Background.WHITE, Background.WHITE, Background.BLACK,
    ]  # fmt: skip
    assert {"upright", "mirror", "upright+frame1", "turn90+frame1+black"} <= names


def test_still_images_have_no_labels() -> None:
    """Nothing is stored for what is usual."""
    for form in ("GIF", "WEBP", "PNG", "AVIF", "TIFF", "JPEG"):
        assert hashed(encode(PHOTOS[0], form)).labels == (), form


def test_the_first_frame_stays_the_image() -> None:
    """Frames are added behind the first, which hashes as it does alone."""
    moving = hashed(animation("image/png", PHOTOS[:2]))

    assert moving.rows[0] == hashed(encode(PHOTOS[0])).rows[0]
    assert moving.label(0) == RowLabel(quality=moving.quality)


def test_broken_later_frames_cost_themselves() -> None:
    """What comes before the damage is hashed, and it is said that there was more."""
    data = animation("image/png", PHOTOS)
    result = hashed(data[: 2 * len(data) // 3])

    assert frames_of(result)[:3] == [0, 1, 2]
    assert len(result.rows) < 12
    assert result.incomplete is Refusal.TRUNCATED
    assert not result.is_partial


def test_promised_frames_are_not_counted() -> None:
    """An APNG that promises a million frames and brings three is sampled over three."""
    data = animation("image/png", PHOTOS[:3])
    at = data.index(b"acTL")
    body = struct.pack(">II", 1_000_000, 0)
    crc = struct.pack(">I", zlib.crc32(b"acTL" + body))
    lying = data[: at + 4] + body + crc + data[at + 16 :]

    assert frames_of(hashed(lying)) == [0, 1, 2]


def test_counting_ends() -> None:
    """A GIF of a million empty frames is counted no further than is of use."""
    still = encode(PHOTOS[0], "GIF")
    empty = b",\0\0\0\0\1\0\1\0\0\x02\x02\x4c\x01\x00"
    data = still[:-1] + empty * 1_000_000 + b";"
    with Image.open(BytesIO(still)) as image:
        assert frame_count(data, image) == MOST_FRAMES  # type: ignore[arg-type]
        assert frame_count(still, image) == 1  # type: ignore[arg-type]


@given(count=st.integers(1, 10_000), most=st.integers(1, 64), reach=st.integers(0, 20_000))
def test_samples_are_spread_evenly(count: int, most: int, reach: int) -> None:
    """From the first to the last in reach, ascending, at most as many as asked for."""
    chosen = sampled(count, most=most, reach=reach)

    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(most, max(1, min(count, reach)))
    if len(chosen) > 1:
        assert chosen[-1] == min(count, reach) - 1
        gaps = [after - before for before, after in itertools.pairwise(chosen)]
        assert max(gaps) - min(gaps) <= 1
