"""What one crawl counts, kept in Scrapy's stats, so that Scrapy users see it too."""

from typing import Any

from scrapy.statscollectors import StatsCollector

from indexer.model import VisitOutcome

_PREFIX = "delist/"
_REFUSED = f"{_PREFIX}refused/"
_SEEDS = f"{_PREFIX}refused_seeds"


class Tally:
    """Counters of a crawl."""

    def __init__(self, stats: StatsCollector) -> None:
        self._stats = stats

    def page(self) -> None:
        """Count a page that was visited."""
        self._stats.inc_value(f"{_PREFIX}pages")

    def image(self, outcome: VisitOutcome, *, matches: int, is_video: bool = False) -> None:
        """Count an image that was hashed or found unchanged, and what it matches if hashed."""
        self._stats.inc_value(f"{_PREFIX}{outcome.value}")
        if is_video:
            self._stats.inc_value(f"{_PREFIX}videos")
        if outcome is VisitOutcome.HASHED and matches:
            self._stats.inc_value(f"{_PREFIX}matches", matches)

    def refuse(self, code: str, *, images: int = 0, seed: int | None = None) -> None:
        """Count a refused resource.

        Args:
            code: why.
            images: how many images it stands for; 0 for a page or a link.
            seed: position among the job's URLs, if it is one of them.
        """
        self._stats.inc_value(f"{_REFUSED}{code}", max(images, 1))
        if images:
            self._stats.inc_value(f"{_PREFIX}images_refused", images)
        if seed is not None:
            seeds = [*self._stats.get_value(_SEEDS, []), (seed, code)]
            self._stats.set_value(_SEEDS, seeds)

    def counts(self) -> dict[str, Any]:
        """Return all counters, as the result of a crawl names them."""
        stats = self._stats.get_stats()
        hashed = stats.get(f"{_PREFIX}hashed", 0)
        unchanged = stats.get(f"{_PREFIX}unchanged", 0)
        return {
            "pages": stats.get(f"{_PREFIX}pages", 0),
            "images": hashed + unchanged + stats.get(f"{_PREFIX}images_refused", 0),
            "hashed": hashed,
            "unchanged": unchanged,
            "videos": stats.get(f"{_PREFIX}videos", 0),
            "refused": {
                name.removeprefix(_REFUSED): count
                for name, count in sorted(stats.items())
                if name.startswith(_REFUSED)
            },
            "matches": stats.get(f"{_PREFIX}matches", 0),
            "refused_seeds": sorted(stats.get(_SEEDS, [])),
        }
