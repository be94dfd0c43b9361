"""Measuring: each edited copy against its own photo's hash, and against all others.

(1) Every photo is hashed as the feed would have been; these hashes, and others that are
    given, are the signals.
(2) Photos that show the same scene are no strangers: where an unedited photo comes within
    ``SAME_SCENE_BITS`` of another signal, in either tier, that pair is left out, and counted.
(3) Each edited copy is hashed, and looked up in both tiers as a crawled image would be.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from delist.ops.evaluate.edits import EDITS, Edit, prepared
from indexer.ann import ExactIndexes
from indexer.comparing import processors
from indexer.deep import closest_signals
from indexer.errors import ImageRefusedError, Refusal
from indexer.hashing import hash_image
from indexer.hashing.decode import decode
from indexer.hashing.explained import is_explained
from indexer.hashing.opening import Limits
from indexer.hashing.parts import Head, Layer
from indexer.hashing.strangers import LEAST_SIGNALS, Strangers
from indexer.model import DIGEST_BYTES, DIGESTS_PER_ROW, HashedImage, Hasher, Variant
from indexer.ports import Digests
from indexer.settings import HashingSettings
from indexer.url import KEY_BYTES
from indexer.view import Base, SignalView

SAME_SCENE_BITS = 20
"""Distance, in bits of either tier, up to which two unedited pictures are one scene."""

FAR_BITS = 128
"""What unrelated pictures are apart, and what stands where a tier met nothing."""

_NO_BUDGET_S = 3600.0
_BLOCK = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The nearest signal of an edited copy, on one side: its own, or the nearest stranger.

    Attributes:
        fast_bits: Hamming distance of the nearest of the sixteen hashes.
        deep_bits: weighted distance; 128 where the search met nothing.
        is_explained: whether that is a match at a threshold that is as far
            (``indexer.hashing.explained``).
    """

    fast_bits: int = FAR_BITS
    deep_bits: float = FAR_BITS
    is_explained: bool = False

    @property
    def match_bits(self) -> float:
        """The least deep threshold at which it is a match; infinite where it is none at any."""
        return self.deep_bits if self.is_explained else float("inf")

    def is_found(self, fast_bits: float, deep_bits: float) -> bool:
        """Say whether either tier finds it at these thresholds, inclusive."""
        return self.fast_bits <= fast_bits or self.match_bits <= deep_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What was measured of one edited copy of one photo."""

    photo: int
    edit: str
    own: Nearest
    stranger: Nearest


@dataclass(slots=True)
class Measured:
    """All that was measured.

    Attributes:
        photos: names of the files, in the order of their numbers.
        signals: signals that strangers were looked for among, the photos' own included.
        same_scene: pairs that are left out.
        done: photos so far.
    """

    photos: list[str]
    signals: int
    same_scene: int = 0
    done: int = 0
    copies: list[Copy] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo that can be hashed: where it is, and its hash as a signal."""

    path: Path
    digest: bytes = field(repr=False)


def load_photo(path: Path, hasher: Hasher, limits: HashingSettings) -> Photo:
    """Hash a file as the feed would.

    Raises:
        ImageRefusedError: it cannot be read, or not be hashed whole.
    """
    hashed = _hashed(_read(path, limits), limits)
    if hashed.is_partial:
        raise ImageRefusedError(Refusal.TRUNCATED, "only a part of the picture is there")
    if hashed.mime.startswith("video/"):
        raise ImageRefusedError(Refusal.UNSUPPORTED_FORMAT, "a video is no photo")
    for entry in hashed.hashes:
        if entry.hasher is hasher and entry.variant == Variant.UPRIGHT:
            return Photo(path=path, digest=entry.digest)
    raise AssertionError("an image has an upright hash of each hasher")


def _read(path: Path, limits: HashingSettings) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ImageRefusedError(Refusal.UNREADABLE, "not a regular file")
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "cannot be read"
        raise ImageRefusedError(Refusal.UNREADABLE, reason) from None


def measure(
    photos: Sequence[Photo],
    others: Digests,
    *,
    limits: HashingSettings,
    seed: int,
    edits: Sequence[Edit] = EDITS,
) -> Iterator[Measured]:
    """Measure photo by photo; yields the same object after each, for progress.

    Args:
        photos: at least one.
        others: uint8[n, 32], further signals; no photo of ``photos`` may be among them.
        limits: of hashing.
        seed: of the edits.

    Raises:
        ImageRefusedError: a file went away, or changed, after it was loaded.
    """
    own = np.frombuffer(b"".join(photo.digest for photo in photos), np.uint8)
    signals = np.concatenate([own.reshape(-1, DIGEST_BYTES), others])  # (1)
    measured = Measured([photo.path.name for photo in photos], len(signals))
    searcher = _Searcher(signals, limits)

    def of_one(number: int) -> tuple[int, list[Copy]]:
        return searcher.copies_of(number, photos[number], edits, seed)

    with ThreadPoolExecutor(processors()) as pool:
        for same, copies in pool.map(of_one, range(len(photos))):
            measured.done += 1
            measured.same_scene += same
            measured.copies += copies
            yield measured


class _Searcher:
    """Looks pictures up among the signals; in memory, and safe in many threads."""

    def __init__(self, signals: Digests, limits: HashingSettings) -> None:
        self._signals, self._limits = signals, limits
        numbers = np.arange(len(signals), dtype=">u8")
        keys = np.zeros((len(signals), KEY_BYTES), np.uint8)
        keys[:, -8:] = numbers.view(np.uint8).reshape(-1, 8)
        base = Base(1, ExactIndexes().build(signals), keys)
        self._view = SignalView(1, len(signals), (base,))
        self._strangers = Strangers(signals) if len(signals) >= LEAST_SIGNALS else None

    def copies_of(
        self, number: int, photo: Photo, edits: Sequence[Edit], seed: int
    ) -> tuple[int, list[Copy]]:
        data = _read(photo.path, self._limits)
        fast, deep = self._distances(data)
        near = set(np.flatnonzero(fast <= SAME_SCENE_BITS).tolist())
        near |= {other for other, (bits, _) in deep.items() if bits <= SAME_SCENE_BITS}
        near.discard(number)  # (2)
        original = prepared(_picture_of(data, self._limits))
        copies = []
        for edit in edits:  # (3)
            fast, deep = self._distances(edit.copy_of(original, seed=seed, number=number))
            own = _nearest(fast, [deep[number]] if number in deep else [], [number])
            strangers = np.ones(len(fast), np.bool_)
            strangers[[number, *near]] = False
            apart = [found for other, found in deep.items() if strangers[other]]
            stranger = _nearest(fast, apart, strangers)
            copies.append(Copy(photo=number, edit=edit.name, own=own, stranger=stranger))
        return len(near), copies

    def _distances(self, data: bytes) -> tuple[NDArray[np.int64], dict[int, tuple[float, bool]]]:
        """Return Hamming bits to each signal; of what deep met, bits and whether explained."""
        hashed = _hashed(data, self._limits, deep=True)
        fast = np.full(len(self._signals), FAR_BITS, np.int64)
        words = self._signals.view(np.uint64)
        for _, row in hashed.rows:
            for query in np.frombuffer(row, np.uint64).reshape(DIGESTS_PER_ROW, -1):
                for first in range(0, len(words), _BLOCK):
                    part = slice(first, first + _BLOCK)
                    bits = np.bitwise_count(words[part] ^ query).sum(axis=1, dtype=np.int64)
                    np.minimum(fast[part], bits, out=fast[part])
        (found,) = closest_signals(
            self._view,
            [hashed.reduced],
            self._digests,
            budget_s=_NO_BUDGET_S,
            strangers=self._strangers,
        )
        deep = {
            int.from_bytes(key): (fit.weighted_bits, is_explained(fit))
            for key, fit in found.items()
        }
        return fast, deep

    def _digests(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        return {key: self._signals[int.from_bytes(key)].tobytes() for key in keys}


def _picture_of(data: bytes, limits: HashingSettings) -> Image.Image:
    """Decode a photo as hashing does, whatever its format, and note its orientation in it."""
    once = Limits(
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        max_frames=1,
        timeout_s=limits.timeout_s,
    )
    with closing(decode(data, once)) as parts:
        head, layer, *_ = parts
    assert isinstance(head, Head)  # noqa: S101 - see decode
    assert isinstance(layer, Layer)  # noqa: S101 - likewise
    height, width = layer.pixels.shape
    pixels = np.ascontiguousarray(layer.pixels)
    picture = Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1).convert("RGB")
    picture.getexif()[ExifTags.Base.Orientation] = head.orientation
    return picture


def _nearest(
    fast: NDArray[np.int64],
    deep: Iterable[tuple[float, bool]],
    among: NDArray[np.bool_] | list[int],
) -> Nearest:
    # One that is not explained is no match at any threshold, however near.
    bits, explained = min(
        deep, key=lambda found: (not found[1], found[0]), default=(float(FAR_BITS), False)
    )
    nearest = int(fast[among].min(initial=FAR_BITS))
    return Nearest(fast_bits=nearest, deep_bits=bits, is_explained=explained)


def _hashed(data: bytes, limits: HashingSettings, *, deep: bool = False) -> HashedImage:
    return hash_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, deep=deep)
