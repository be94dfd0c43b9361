"""Writing what became of rows, in their order, with how far the source has come.

A batch of visits, the place behind its last row and all counters are one transaction; the file of
refused rows is on disk before it, and is cut to the length that the transaction names when the
source is opened again. So a kill at any point costs what was under way, and nothing is counted or
named twice.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import lmdb

from delist.ingest.done import Done
from delist.ingest.rejects import RejectsFile
from delist.ingest.rows import Row
from delist.ingest.sources.source import IMAGES, STAGES
from delist.ingest.work import INVALID_PAGE_URL
from indexer.build import Indexer
from indexer.hashing import VideoFile
from indexer.model import ImageVisit, VisitOutcome, VisitResult
from indexer.store import IngestCursor
from indexer.visits import DeepResult

ROWS, IMAGES_SEEN, PAGES_READ, VIDEOS, MATCHES = "rows", "images", "pages", "videos", "matches"
REFUSED, MET = "refused/", "met/"
NOT_HELD = "not_held"

_VISITS, _ROWS, _SECONDS = 128, 4096, 1.0
"""What is gathered at most before it is written."""


class Recorder:
    """Records one pass over one source.

    Attributes:
        cursor: how far the source has come, as it is stored.
    """

    def __init__(
        self, indexer: Indexer, key: str, cursor: IngestCursor, stage: str, rejects: RejectsFile
    ) -> None:
        self._indexer, self._key = indexer, key
        self._stage, self._rejects = stage, rejects
        self.cursor = cursor
        self._clear()

    def _clear(self) -> None:
        self._visits: list[ImageVisit] = []
        self._searched: list[DeepResult | None] = []
        self._origins: list[Row | None] = []
        self._counts: Counter[str] = Counter()
        self._rows = 0
        self._last: Row | None = None
        self._began_at = time.monotonic()

    def add(self, row: Row, done: Done) -> bool:
        """Take what became of the next row; returns whether a batch was written."""
        for visit, searched in zip(done.visits, done.searched, strict=True):
            self._note(visit, searched, row)
        for place in done.places:
            self._note(place, None, None)
        for code, url in done.refusals:
            self.refuse(code, at=row.at, url=url)
        if self._stage == IMAGES:
            self._counts[ROWS] += 1
            if done.passed:
                self._counts[MET + done.passed] += 1
        self._counts[PAGES_READ] += done.is_page
        self._last = row
        self._rows += 1
        is_full = len(self._visits) >= _VISITS or self._rows >= _ROWS
        if is_full or time.monotonic() - self._began_at > _SECONDS:
            self.write()
            return True
        return False

    def refuse(self, code: str, *, at: str, url: str = "", is_image: bool = True) -> None:
        """Name and count something that was refused."""
        self._rejects.add(at=at, code=code, url=url)
        self._counts[REFUSED + code] += 1
        if self._stage == IMAGES and is_image and code != INVALID_PAGE_URL:
            self._counts[IMAGES_SEEN] += 1

    def flush(self) -> None:
        """Write what is left, if anything is."""
        if self._rows or self._counts:
            self.write()

    def finish(self, *, broken: str = "", is_last: bool) -> None:
        """Write that this pass is over, and whether it was the last one."""
        ended = replace(
            self.cursor,
            stage=STAGES.index(self._stage) + 1,
            offset=0,
            skip=0,
            name=b"",
            done=is_last,
            broken=self.cursor.broken or broken,
        )
        self.write(ended)

    def write(self, following: IngestCursor | None = None) -> None:
        """Write what was gathered.

        Raises:
            StoreError: nothing of it was kept.
        """
        cursor = following or self._behind_last()
        cursor = replace(cursor, rejects_bytes=self._rejects.write())
        written = cursor

        def beside(txn: lmdb.Transaction, results: Sequence[VisitResult]) -> None:
            nonlocal written
            counts = Counter(self.cursor.counts) + self._counts + self._count(results)
            written = replace(cursor, counts=dict(counts))
            self._indexer.store.ingest_cursors.put(txn, self._key, written)

        self._indexer.record_searched(self._visits, self._searched, beside=beside)
        self.cursor = written
        self._clear()

    def _behind_last(self) -> IngestCursor:
        if self._last is None:
            return self.cursor
        place = self._last.next
        return replace(self.cursor, offset=place.offset, skip=place.skip, name=place.name)

    def _note(self, visit: ImageVisit, searched: DeepResult | None, row: Row | None) -> None:
        self._visits.append(visit)
        self._searched.append(searched)
        self._origins.append(row)

    def _count(self, results: Sequence[VisitResult]) -> Counter[str]:
        """Count what became of images; where they were seen is counted with their pages."""
        counts: Counter[str] = Counter()
        for visit, row, result in zip(self._visits, self._origins, results, strict=True):
            if row is None:
                continue
            counts[IMAGES_SEEN] += 1
            hashed = visit.hashed
            if result.outcome is VisitOutcome.NOT_HELD:  # it went meanwhile
                counts[REFUSED + NOT_HELD] += 1
                continue
            counts[result.outcome.value] += 1
            counts[VIDEOS] += isinstance(row.content, VideoFile) or bool(hashed and hashed.md5)
            if result.outcome is VisitOutcome.HASHED:
                counts[MATCHES] += len(result.matches)
            if hashed is not None and not hashed.rows and hashed.incomplete is not None:
                counts[f"{REFUSED}frames_{hashed.incomplete.value}"] += 1
        return counts
