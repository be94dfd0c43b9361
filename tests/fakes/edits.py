"""Edits of drawn pictures that the deep tier's tests plant, and what PDQ makes of a picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.hashing.guesses import Reduced, reduce
from indexer.hashing.modes import packed
from tests.fakes.plain_hashing import plain_cpp_block, plain_digest


def digest_of(picture: Image.Image) -> bytes:
    """Hash a picture as the reference does."""
    return plain_digest(plain_cpp_block(np.asarray(picture)))


def reduced(picture: Image.Image) -> Reduced:
    return reduce(packed(picture))


def cropped(
    picture: Image.Image, *, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0
) -> Image.Image:
    """Cut shares of the sides off the edges."""
    width, height = picture.size
    return picture.crop((
        round(left * width), round(top * height),
        round((1 - right) * width), round((1 - bottom) * height),
    ))  # fmt: skip


def placed(
    picture: Image.Image, size: tuple[int, int], at: tuple[int, int], colour: tuple[int, int, int]
) -> Image.Image:
    """Lay a picture on a plain ground."""
    ground = Image.new("RGB", size, colour)
    ground.paste(picture, at)
    return ground


def distance(one: bytes | NDArray[np.uint8], other: bytes) -> int:
    return (int.from_bytes(bytes(one)) ^ int.from_bytes(other)).bit_count()
