"""How close images come to signals: all digests of all images as one batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.model import (
    DIGEST_BYTES,
    DIGESTS_PER_ROW,
    HASHERS,
    VARIANTS,
    Background,
    Match,
    RowLabel,
    variant_name,
)
from indexer.view import SignalView, SignalViews

HashRows = tuple[tuple[Background, bytes], ...]
"""As ``HashedImage.rows``."""


@dataclass(frozen=True, slots=True)
class NearestVariant:
    """How one image comes closest to one signal: distance, and which of its hashes.

    Attributes:
        row: place of the row among the image's rows.
        position: place of the digest in its row, 0-15.
    """

    distance_bits: int
    row: int
    position: int
    background: Background


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepVariant:
    """How one image comes closest to one signal once an edit is undone.

    Attributes:
        distance_bits: Hamming distance.
        weighted_bits: the same, weighted by margin: what the threshold is on.
        variant: name of the guess.
    """

    distance_bits: int
    weighted_bits: float
    variant: str


class Lookup:
    """Which signals the hashes of images come close to. Thread-safe."""

    def __init__(
        self, views: SignalViews, *, threshold_bits: int, deep_threshold_bits: float = 0.0
    ) -> None:
        self.views = views
        self.threshold_bits = threshold_bits
        self.deep_threshold_bits = deep_threshold_bits

    def nearest(
        self, view: SignalView, images: Sequence[HashRows]
    ) -> list[dict[bytes, NearestVariant]]:
        """Find, for each image, every signal within the threshold and its nearest variant.

        All digests of all images go through the index as one batch. Of equal
        distances the first counts, in the order of rows, ``HASHERS`` and ``VARIANTS``.
        """
        owners = [
            (number, place, background)
            for number, rows in enumerate(images)
            for place, (background, _) in enumerate(rows)
        ]
        found: list[dict[bytes, NearestVariant]] = [{} for _ in images]
        if not owners:
            return found
        joined = b"".join(digests for rows in images for _, digests in rows)
        queries = np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)
        hits = zip(*view.find(queries, threshold_bits=self.threshold_bits), strict=True)
        for query, signal_key, distance in hits:
            row, position = divmod(int(query), DIGESTS_PER_ROW)
            number, place, background = owners[row]
            key = signal_key.tobytes()
            held = found[number].get(key)
            if held is None or int(distance) < held.distance_bits:
                found[number][key] = NearestVariant(int(distance), place, position, background)
        return found


def match_of(
    nearest: NearestVariant,
    *,
    signal_key: bytes,
    feed: str,
    threshold_bits: int,
    label: RowLabel,
    content_sha256: bytes,
    image_key: bytes = b"",
) -> Match:
    """Name an image's nearest variant as a match; ``label`` is that of its row."""
    return Match(
        image_key=image_key,
        signal_key=signal_key,
        feed=feed,
        distance_bits=nearest.distance_bits,
        threshold_bits=threshold_bits,
        hasher=HASHERS[nearest.position // len(VARIANTS)],
        variant=variant_name(
            nearest.position, nearest.background, frame=label.frame, partial=label.partial
        ),
        quality=label.quality,
        content_sha256=content_sha256,
    )


def deep_match_of(
    nearest: DeepVariant,
    *,
    signal_key: bytes,
    feed: str,
    threshold_bits: float,
    quality: int,
    content_sha256: bytes,
    image_key: bytes = b"",
) -> Match:
    """Name what the deep tier found as a match."""
    return Match(
        image_key=image_key,
        signal_key=signal_key,
        feed=feed,
        distance_bits=nearest.distance_bits,
        threshold_bits=int(threshold_bits),
        variant=nearest.variant,
        quality=quality,
        content_sha256=content_sha256,
        weighted_bits=round(nearest.weighted_bits, 1),
    )
