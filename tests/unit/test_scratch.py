"""Memory that is used again for decoded pixels: no image ever shows in another."""

import gc
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError
from indexer.hashing import hash_image, jpeg, scratch
from indexer.hashing.decode import decode_here
from indexer.hashing.modes import Pixels
from indexer.hashing.opening import Limits
from indexer.hashing.parts import Layer
from indexer.model import HashedImage

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 24, max_frames=8, timeout_s=20)
LARGE = 1 << 19
"""Pixels; two MiB."""


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start with nothing, and lend to images that are small enough for a test."""
    monkeypatch.setattr(scratch, "LEAST_BYTES", 1 << 20)
    gc.collect()
    scratch._kept.clear()
    yield
    scratch._kept.clear()


def jpeg_of(
    seed: int,
    width: int = 1003,
    height: int = 701,
    mode: str = "RGB",
    **options: Any,  # noqa: ANN401 - Pillow's
) -> bytes:
    picture = draw_photo(seed, width=width, height=height).convert(mode)
    return encode(picture, "JPEG", **options)


def hashed(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=1 << 24, max_pixels=1 << 24)


def pixels_of(data: bytes) -> Pixels:
    (layer,) = (part for part in decode_here(data, LIMITS) if isinstance(part, Layer))
    return layer.pixels


ORIENTED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"


@cache
def kinds() -> dict[str, bytes]:
    return {
        "4:2:0": jpeg_of(1),
        "smaller": jpeg_of(2, 701, 603, quality=60),
        "4:4:4": jpeg_of(3, subsampling=0),
        "4:2:2, larger": jpeg_of(4, 1201, 903, subsampling=1),
        "progressive": jpeg_of(5, 901, 700, progressive=True),
        "turned by EXIF": jpeg_of(6, exif=ORIENTED),
        "grey": jpeg_of(7, mode="L"),
        "ink": jpeg_of(8, mode="CMYK"),
        "restarts": jpeg_of(9, 1001, 333, restart_marker_blocks=4),
        "tall": jpeg_of(10, 333, 1001),
    }


def test_one_image_after_another_hashes_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was in the buffer before, and whatever its size: hashes are those of Pillow."""
    found = {name: hashed(data) for name, data in kinds().items()}
    again = {name: hashed(data) for name, data in reversed(kinds().items())}
    monkeypatch.setattr(jpeg, "simplejpeg", None)

    for name, data in kinds().items():
        assert found[name] == again[name] == hashed(data), name


def test_a_buffer_is_not_lent_twice_at_a_time() -> None:
    """As long as a picture, or a view of it, is alive, others get other memory."""
    first = pixels_of(kinds()["4:2:0"])
    expected = first.copy()
    part = first[100:200, ::3]
    second = pixels_of(kinds()["4:4:4"])
    assert not np.shares_memory(first, second)
    assert (first == expected).all()

    del first
    third = pixels_of(kinds()["4:4:4"])
    assert not np.shares_memory(part, third)
    assert (part == expected[100:200, ::3]).all()

    del part
    assert len(scratch._kept) == 1
    fourth = scratch.borrow(LARGE)
    assert len(scratch._kept) == 0
    assert not np.shares_memory(fourth, third)


def test_what_stays_is_bounded() -> None:
    """Two buffers; nothing of small images, whose memory costs nothing, nor of huge ones."""
    lent = [scratch.borrow(LARGE) for _ in range(5)]
    assert len(scratch._kept) == 0
    del lent
    assert len(scratch._kept) == scratch.MOST_KEPT

    scratch._kept.clear()
    for count in (1, scratch.LEAST_BYTES // 4 - 1, scratch.MOST_BYTES // 4 + 1):
        assert scratch.borrow(count).size == count
    assert len(scratch._kept) == 0


def test_a_buffer_grows_when_it_must() -> None:
    """A larger image takes a larger buffer, and that one stays; a smaller takes what is there."""
    scratch.borrow(LARGE)
    scratch.borrow(2 * LARGE)
    assert [buffer.size for buffer in scratch._kept] == [8 * LARGE]
    assert scratch.borrow(LARGE).size == LARGE
    assert [buffer.size for buffer in scratch._kept] == [8 * LARGE]


def test_a_file_cut_short_shows_nothing_of_the_image_before() -> None:
    """Where decoding stops, it is refused, or what is missing is grey, as without a buffer."""
    hashed(kinds()["4:2:0"])
    data = kinds()["4:4:4"]
    with pytest.raises(ImageRefusedError):
        hashed(data[: len(data) // 4])
    assert len(scratch._kept) == 1
    kept = hashed(data[: len(data) * 3 // 4])

    scratch._kept.clear()
    assert kept == hashed(data[: len(data) * 3 // 4])


def test_threads_do_not_share_a_buffer() -> None:
    """Four threads, two buffers, sizes mixed: each finds what it finds alone."""
    expected = {name: hashed(data) for name, data in kinds().items()}
    wrong: list[str] = []

    def work(start: int) -> None:
        names = [*kinds()][start:] + [*kinds()][:start]
        wrong.extend(name for name in names if hashed(kinds()[name]) != expected[name])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(scratch._kept) <= scratch.MOST_KEPT
