"""How well a reporter's second hash tells the picture's copies from strangers and forgeries.

    python -m tests.benchmarks.corroboration_figures PHOTOS

The figures of docs/adr/0036. PHOTOS holds JPEG files; those of quality 50 and more are used.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from indexer.evidence import RESEMBLES
from indexer.hashing.corroboration import (
    CORROBORATES,
    CorroboratingHash,
    best_likeness_beyond,
    corroborating_hash,
    foretold_map,
    likeness_beyond,
)
from indexer.hashing.modes import packed
from indexer.hashing.paths import cpp_blocks, web_blocks
from indexer.hashing.pdq import digests_of_blocks, quality_of
from indexer.hashing.traits import BrightMap, find_map, likeness, traits_of

_WITHIN_BITS = 31
_COPIES_OF = 6
_STRANGERS, _TURNED = 59, 20
_FLIPPED = 0.15
_LEAST_QUALITY = 50
_GAMMA = [int(255 * (value / 255) ** 0.7) for value in range(256)]
_RANDOM = np.random.default_rng(1)


def digest_of(picture: Image.Image) -> bytes:
    return bytes(digests_of_blocks(web_blocks(packed(picture)).upright[np.newaxis])[0])


def stored(picture: Image.Image) -> BrightMap:
    """Make what is kept of an image."""
    block = cpp_blocks(packed(picture)).upright
    found = find_map(traits_of(block, digests_of_blocks(block[np.newaxis])[0].tobytes()), "upright")
    assert found is not None
    return found


def forged(digest: bytes) -> BrightMap:
    """Make a map from a digest alone, some bits changed so that it is not just that."""
    flips = _RANDOM.random((16, 16)) < _FLIPPED
    foretold = foretold_map(digest)
    return BrightMap(bright=foretold.bright ^ flips, known=foretold.known)


def cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = _RANDOM.uniform(0, 0.03, 4)
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop([round(side) for side in box])  # type: ignore[arg-type]


def captioned(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    copy = picture.copy()
    ImageDraw.Draw(copy).rectangle((0, round(0.85 * height), width, height), fill=(0, 0, 0))
    return copy


def recompressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 30": recompressed,
    "quarter size": lambda picture: picture.reduce(4),
    "blur": lambda picture: picture.filter(ImageFilter.GaussianBlur(picture.width / 150)),
    "gamma 0.7": lambda picture: picture.point(_GAMMA * 3),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "crop up to 3 %": cropped,
    "turned by 2 degrees": lambda picture: picture.rotate(2),
    "caption over 15 %": captioned,
}


def copies(photos: list[Image.Image], held: list[tuple[bytes, CorroboratingHash]]) -> Iterator[str]:
    """Say how far edited copies that PDQ still finds are corroborated."""
    for name, edit in EDITS.items():
        found = []
        for photo, (digest, second) in list(zip(photos, held, strict=True))[::_COPIES_OF]:
            copy = edit(photo)
            bits = int.from_bytes(digest_of(copy)) ^ int.from_bytes(digest)
            if bits.bit_count() <= _WITHIN_BITS:
                found.append(likeness_beyond(second.laid(), stored(copy), digest))
        yield told(f"copies within 31 bits: {name}", found)


def told(name: str, values: list[float]) -> str:
    shares = np.percentile(values, [0, 1, 50, 99, 99.9, 100])
    above = sum(value >= CORROBORATES for value in values)
    return (
        f"{name}: {len(values)}; least {shares[0]:.2f}, 1 % {shares[1]:.2f}, "
        f"median {shares[2]:.2f}, 99 % {shares[3]:.2f}, 99.9 % {shares[4]:.2f}, "
        f"most {shares[5]:.2f}; corroborated {above}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    files = sorted(parser.parse_args().photos.glob("*.jpg"))
    photos = [ImageOps.exif_transpose(Image.open(file)).convert("RGB") for file in files]
    blocks = [web_blocks(packed(photo)).upright for photo in photos]
    sure = [at for at, block in enumerate(blocks) if quality_of(block) >= _LEAST_QUALITY]
    photos = [photos[at] for at in sure]
    held = [(digest_of(photos[at]), corroborating_hash(blocks[of])) for at, of in enumerate(sure)]
    maps = [stored(photo) for photo in photos]
    own, strangers, turned, forgeries, plain = [], [], [], [], []
    for at, (digest, second) in enumerate(held):
        laid, count = second.laid(), len(held)
        own.append(likeness_beyond(laid, maps[at], digest))
        others = [maps[(at + 11 * step) % count] for step in range(1, 1 + _STRANGERS)]
        strangers += [likeness_beyond(laid, other, digest) for other in others]
        turned += [best_likeness_beyond(laid, other, digest) for other in others[:_TURNED]]
        forgeries.append(likeness_beyond(forged(digest), maps[at], digest))
        plain.append(likeness(foretold_map(digest), maps[at]))
    lines = [
        told("own", own),
        told("strangers", strangers),
        told("strangers, best of eight turns", turned),
        told("forged from the digest", forgeries),
        f"likeness alone, of what a digest foretells: median {np.median(plain):.2f}",
        f"resembling by likeness alone: {np.mean(np.array(plain) >= RESEMBLES):.0%}",
        *copies(photos, held),
    ]
    print(*lines, sep="\n")  # noqa: T201 - its purpose


if __name__ == "__main__":
    main()
