"""The pictures of the demo: drawn, never photographed, and edited as copies in the wild are.

A feed knows a photo by the hash of the original; the site shows copies of it. So the
originals are hashed here, half of them by each path, and only their copies are served.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from PIL import Image, ImageOps

from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_image
from indexer.match import distance_bits
from indexer.model import HASHERS, HashedImage, Hasher, Variant
from indexer.settings import HashingSettings

_SIZE = {"width": 400, "height": 300}
_FIRST_SEED = 3000
_CAPTION_COLOUR = (16, 16, 16)
_ORIENTATION_TAG, _ON_ITS_SIDE = 0x0112, 6
_LIMITS = HashingSettings()
PHOTOS = 60
FURTHER_BITS = range(22, 31)
"""Distance of the copy that is edited further: beyond the automatic band, with a margin."""


class Role(StrEnum):
    """What a picture on the site is there for."""

    ORDINARY = "ordinary"
    """Nobody reported it; it must never be suppressed."""
    COPY = "copy"
    """An edited copy of a reported photo."""
    FURTHER = "further"
    """A copy edited so far that a person has to look."""
    LATE = "late"
    """A copy of a photo that is reported only after the crawl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture on the site.

    Attributes:
        original: number of the photo it is a copy of; None for ordinary ones.
        edit: what was done to it, in words for people.
    """

    path: str
    data: bytes = field(repr=False)
    role: Role
    edit: str
    original: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Album:
    """All pictures of the site, and the hashes of the originals that are reported.

    Attributes:
        digests: 64 hex digits for each original, by number: those of ``COPY`` pictures
            first, then ``FURTHER``, then ``LATE``.
        hashers: the path by which each was made.
    """

    pictures: tuple[Picture, ...]
    digests: tuple[str, ...] = field(repr=False)
    hashers: tuple[Hasher, ...]

    def having(self, *roles: Role) -> list[Picture]:
        """Return the pictures of some roles, in the order of the site."""
        return [picture for picture in self.pictures if picture.role in roles]

    def copies_of(self, *originals: int) -> list[Picture]:
        """Return the copies of some originals."""
        return [picture for picture in self.pictures if picture.original in originals]


Edit = Callable[[Image.Image], bytes]


def _low_quality(photo: Image.Image) -> bytes:
    return encode(photo, "JPEG", quality=40)


def _half_size(photo: Image.Image) -> bytes:
    return encode(ImageOps.scale(photo, 0.5), "JPEG", quality=85)


def _palette(photo: Image.Image) -> Image.Image:
    return photo.quantize(palette=photo.quantize(), dither=Image.Dither.FLOYDSTEINBERG)


def _mirrored(photo: Image.Image) -> bytes:
    return encode(ImageOps.mirror(photo), "JPEG", quality=85)


def _quarter_turn(photo: Image.Image) -> bytes:
    return encode(photo.transpose(Image.Transpose.ROTATE_270), "JPEG", quality=85)


def _exif_sideways(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = _ON_ITS_SIDE
    lying = photo.transpose(Image.Transpose.ROTATE_90)
    return encode(lying, "JPEG", quality=85, exif=exif)


EDITS: dict[str, tuple[str, Edit]] = {
    "JPEG at quality 40": ("jpg", _low_quality),
    "half the size": ("jpg", _half_size),
    "PNG with a palette": ("png", lambda photo: encode(_palette(photo), "PNG")),
    "GIF": ("gif", lambda photo: encode(_palette(photo), "GIF")),
    "CMYK JPEG": ("jpg", lambda photo: encode(photo.convert("CMYK"), "JPEG", quality=85)),
    "mirrored": ("jpg", _mirrored),
    "a quarter turn": ("jpg", _quarter_turn),
    "sideways by EXIF": ("jpg", _exif_sideways),
    "WebP": ("webp", lambda photo: encode(photo, "WEBP", quality=80)),
}
_LATE_EDITS = ("JPEG at quality 40", "mirrored")
COPIES = len(EDITS) * len(HASHERS)
"""Originals 0 to ``COPIES`` - 1 are copied with every edit, for each path of the feed's hash."""
FURTHER, LATE = COPIES, COPIES + 1


def make_album(seed: int = 2024) -> Album:
    """Draw the pictures. Equal seeds give equal albums."""
    originals = [_original(number) for number in range(LATE + 1)]
    hashers = tuple(HASHERS[number // len(EDITS) % len(HASHERS)] for number in range(LATE + 1))
    digests = tuple(
        _digest(_hash(encode(photo, "JPEG", quality=92)), hasher)
        for photo, hasher in zip(originals, hashers, strict=True)
    )
    drawn = [*_copies(originals, digests[FURTHER]), *_ordinary(LATE + 1)]
    random.Random(seed).shuffle(drawn)  # noqa: S311 - a layout, no secret
    pictures = tuple(
        Picture(path=f"/photos/{place:02}.{kind}", data=data, role=role, edit=edit, original=number)
        for place, (kind, data, role, edit, number) in enumerate(drawn, 1)
    )
    return Album(pictures=pictures, digests=tuple(d.hex() for d in digests), hashers=hashers)


_Drawn = tuple[str, bytes, Role, str, int | None]


def _copies(originals: list[Image.Image], further_digest: bytes) -> Iterator[_Drawn]:
    edits = list(EDITS)
    for number in range(COPIES):
        edit = edits[number % len(edits)]
        kind, apply = EDITS[edit]
        yield kind, apply(originals[number]), Role.COPY, edit, number
    captioned, percent = _edit_further(originals[FURTHER], further_digest)
    edit = f"a caption bar over the lower {percent} %"
    yield "jpg", captioned, Role.FURTHER, edit, FURTHER
    for edit in _LATE_EDITS:
        kind, apply = EDITS[edit]
        yield kind, apply(originals[LATE]), Role.LATE, edit, LATE


def _ordinary(first: int) -> Iterator[_Drawn]:
    for number in range(first, first + PHOTOS - COPIES - 1 - len(_LATE_EDITS)):
        photo = encode(_original(number), "JPEG", quality=85)
        yield "jpg", photo, Role.ORDINARY, "as taken", None


def _original(number: int) -> Image.Image:
    return draw_photo(_FIRST_SEED + number, **_SIZE)


def _edit_further(photo: Image.Image, digest: bytes) -> tuple[bytes, int]:
    """Widen a caption bar until the copy is as far away as ``FURTHER_BITS`` says."""
    for percent in range(2, 50):
        copy = photo.copy()
        copy.paste(_CAPTION_COLOUR, (0, photo.height * (100 - percent) // 100, *photo.size))
        data = encode(copy, "JPEG", quality=85)
        nearest = min(distance_bits(entry.digest, digest) for entry in _hash(data).hashes)
        if nearest in FURTHER_BITS:
            return data, percent
    raise AssertionError("no edit of the demo's photo is as far away as it should be")


def _hash(data: bytes) -> HashedImage:
    return hash_image(data, max_bytes=_LIMITS.max_bytes, max_pixels=_LIMITS.max_pixels)


def _digest(hashed: HashedImage, hasher: Hasher) -> bytes:
    return next(
        entry.digest
        for entry in hashed.hashes
        if entry.hasher is hasher and entry.variant == Variant.UPRIGHT
    )
