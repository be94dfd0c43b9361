"""Digests in crowds, and a picture that lies in one: few shapes decide all its bits."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.model import DIGEST_BYTES

Digests = NDArray[np.uint8]


def random_digests(count: int, *, seed: int = 0) -> Digests:
    return np.random.default_rng(seed).integers(0, 256, (count, DIGEST_BYTES), np.uint8)


def relatives(digest: bytes, count: int, *, seed: int = 1) -> Digests:
    """Make digests of pictures of few shapes: whole rows and columns of frequencies change.

    Each differs by 64 bits or more from the one that is given.
    """
    random = np.random.default_rng(seed)
    square = np.unpackbits(np.frombuffer(digest, np.uint8)).reshape(16, 16)
    rows, columns = (random.random((2, 4 * count, 16)) < 0.2).astype(np.uint8)
    changed = rows[:, :, np.newaxis] ^ columns[:, np.newaxis, :]
    far = changed[changed.sum(axis=(1, 2)) >= 64][:count]
    return np.packbits((far ^ square).reshape(-1, 256), axis=1)


def near(digest: bytes, bits: int, count: int, *, seed: int = 2) -> Digests:
    """Make copies of a digest with that many bits changed, other ones in each."""
    random = np.random.default_rng(seed)
    made = np.tile(np.unpackbits(np.frombuffer(digest, np.uint8)), (count, 1))
    for row in made:
        row[random.choice(256, bits, replace=False)] ^= 1
    return np.packbits(made, axis=1)


def cross() -> Image.Image:
    """Draw a picture of few shapes: brightness is one profile times another."""
    place = np.linspace(-1, 1, 300)
    luma = 128 + 100 * np.multiply.outer(np.sign(place + 0.3) * (place > -0.6), np.cos(2 * place))
    return Image.fromarray(np.uint8(np.clip(luma, 0, 255))).convert("RGB")
