"""Which images are searched deeply, and what that gives for each visit."""

from collections.abc import Sequence

import numpy as np

from indexer.deep import DeepSearch
from indexer.hashing.guesses import Guess
from indexer.lookup import DeepVariant
from indexer.model import DIGEST_BYTES, MOST_VARIANT_CHARS, HashedImage, ImageRecord, ImageVisit
from indexer.settings import FAST, POLICY, HashingSettings
from indexer.url import host_of
from indexer.view import SignalViews
from indexer.visits import DeepResult

NEAR_BITS = 60
"""How near a stored hash of an image comes to a signal for the image to be searched deeply by
the tier "policy": a crop of a few percent lies there, strangers among a million do not."""


class Tier:
    """Decides how hard an image is looked at."""

    def __init__(
        self,
        settings: HashingSettings,
        views: SignalViews,
        search: DeepSearch,
        *,
        threshold_bits: float,
    ) -> None:
        self._settings = settings
        self._views = views
        self._search = search
        self._threshold_bits = threshold_bits
        self._hosts = frozenset(settings.deep_hosts)

    def is_searched(self, record: ImageRecord) -> bool:
        """Say whether a stored image needs no pixels to meet the signals that are known now.

        Always true of the fast tier: stored hashes meet new signals without another visit.
        And of a video of which no frame was hashed: there is nothing to guess from. Never of
        what took too long, or met a crash: its frames are looked for once more.
        """
        if record.is_unfinished:
            return False
        if self._settings.tier == FAST or not record.rows:
            return True
        return record.searched_to >= self._views.newest().version

    def find(self, hashed: HashedImage) -> dict[bytes, DeepVariant]:
        """Search an image deeply, if it was hashed for that; by signal key."""
        if hashed.reduced is None:
            return {}
        return self._found([hashed])[0]

    def results(self, visits: Sequence[ImageVisit]) -> list[DeepResult | None]:
        """Search the images of a batch that are picked; None where none was hashed for that."""
        version = self._views.newest().version
        able = [visit for visit in visits if visit.hashed and visit.hashed.reduced is not None]
        if not able:
            return [None] * len(visits)
        picked = [visit for visit in able if self._picks(visit)]
        found = self._found([visit.hashed for visit in picked if visit.hashed])
        by_visit = {id(visit): hits for visit, hits in zip(picked, found, strict=True)}
        names = {id(visit) for visit in able}
        return [
            DeepResult(
                version=version,
                threshold_bits=self._threshold_bits,
                found=by_visit.get(id(visit), {}),
            )
            if id(visit) in names
            else None
            for visit in visits
        ]

    def _found(self, images: Sequence[HashedImage]) -> list[dict[bytes, DeepVariant]]:
        return [
            {
                key: DeepVariant(
                    distance_bits=fit.distance_bits,
                    weighted_bits=fit.weighted_bits,
                    variant=_named(fit.guess, image.reduced.layer),
                )
                for key, fit in hits.items()
            }
            for image, hits in zip(
                images, self._search.find([image.reduced for image in images]), strict=True
            )
        ]

    def _picks(self, visit: ImageVisit) -> bool:
        if self._settings.tier != POLICY:
            return True
        if not self._hosts.isdisjoint(map(host_of, (visit.image_url, *visit.page_urls))):
            return True
        assert visit.hashed is not None  # noqa: S101 - the caller's choice
        joined = b"".join(row for _, row in visit.hashed.rows)
        queries = np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)
        rows, _, _ = self._views.newest().find_probable(queries, threshold_bits=NEAR_BITS)
        return len(rows) > 0


def _named(guess: Guess, layer: str) -> str:
    """Name a guess, and which frame it was made of where a case has room for that."""
    name = guess.name + layer
    return name if len(name) <= MOST_VARIANT_CHARS else guess.name
