"""One source that is being taken in: its passes, and how far it has come.

Sources are told from each other by their path, and known again by size and time of change: one
that has changed is read anew, and folders are each time. Rows go to the processes of a pool and
come back in their order; what was made of them is written in batches with the place behind them.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from delist.ingest.pool import Pool
from delist.ingest.recording import (
    IMAGES_SEEN,
    MATCHES,
    MET,
    PAGES_READ,
    REFUSED,
    ROWS,
    VIDEOS,
    Recorder,
)
from delist.ingest.rejects import RejectsFile
from delist.ingest.reports import IngestOptions, SourceReport
from delist.ingest.rows import Moved, Page, Passed, Place, Refused, Row
from delist.ingest.sources.answers import PAGE
from delist.ingest.sources.source import IMAGES, PAGES, REDIRECTS, STAGES, Source, SourceEndedError
from delist.ingest.sources.warc import REDIRECT
from indexer.build import Indexer
from indexer.errors import InvalidUrlError
from indexer.model import VisitOutcome
from indexer.store import IngestCursor
from indexer.url import canonical_url, url_key

_KEY_BYTES = 8
_NEEDED = {REDIRECTS: MET + REDIRECT, PAGES: MET + PAGE}
"""What the first pass must have met for a later one to be worth it."""


class Taking:
    """One source that is being taken in.

    Attributes:
        images_now: images that this run has looked at.
    """

    def __init__(
        self, indexer: Indexer, source: Source, options: IngestOptions, folder: Path
    ) -> None:
        self._indexer = indexer
        self.source = source
        self._key = _key_of(source, options)
        self._rejects = folder / f"{self._key}.rejects.jsonl"
        with indexer.store.read() as txn:
            held = indexer.store.ingest_cursors.load(txn, self._key)
        is_same = (held.size_bytes, held.modified_ns) == (source.size_bytes, source.modified_ns)
        is_folder = not source.modified_ns
        self.was_done = held.done and is_same and not is_folder and not options.again
        is_left = (is_same or is_folder) and not held.done and not options.again
        fresh = IngestCursor(size_bytes=source.size_bytes, modified_ns=source.modified_ns)
        self._cursor = held if is_left or self.was_done else fresh
        self._images_before = self._cursor.counts.get(IMAGES_SEEN, 0)

    @property
    def images_now(self) -> int:
        """Images that this run has looked at."""
        return self._cursor.counts.get(IMAGES_SEEN, 0) - self._images_before

    def run(self, stage: str, pool: Pool) -> Iterator[int]:
        """Make one pass, unless it is done; yields how many bytes it is behind, now and then."""
        if self._cursor.done or self._cursor.stage > STAGES.index(stage):
            return
        with RejectsFile(self._rejects, size_bytes=self._cursor.rejects_bytes) as rejects:
            recorder = Recorder(self._indexer, self._key, self._cursor, stage, rejects)
            rows = _UnderWay(self.source.rows(stage, self._place()))
            if self._needs(stage):
                for row, done in pool.done(rows):
                    if recorder.add(row, done):
                        rows.note_written(row)
                        self._cursor = recorder.cursor
                        yield row.done_bytes
            if rows.broken and stage == IMAGES:
                recorder.refuse(rows.broken, at="end", is_image=False)
            recorder.flush()
            self._cursor = recorder.cursor
            is_last = not any(map(self._needs, STAGES[STAGES.index(stage) + 1 :]))
            recorder.finish(broken=rows.broken, is_last=is_last)
            self._cursor = recorder.cursor

    def _place(self) -> Place:
        cursor = self._cursor
        return Place(offset=cursor.offset, skip=cursor.skip, name=cursor.name)

    def _needs(self, stage: str) -> bool:
        """Say whether a pass has something to do, by what the first one met."""
        return stage == IMAGES or bool(self._cursor.counts.get(_NEEDED[stage]))

    def report(self) -> SourceReport:
        """Say what came of the source."""
        cursor = self._cursor
        counts = Counter(cursor.counts)
        return SourceReport(
            source=str(self.source.path),
            format=self.source.form,
            rows=counts[ROWS],
            images=counts[IMAGES_SEEN],
            hashed=counts[VisitOutcome.HASHED.value],
            unchanged=counts[VisitOutcome.UNCHANGED.value],
            outdated=counts[VisitOutcome.OUTDATED.value],
            videos=counts[VIDEOS],
            pages=counts[PAGES_READ],
            refused=_refused(counts),
            matches=counts[MATCHES],
            complete=cursor.done,
            broken=cursor.broken,
            was_done=self.was_done,
            rejects=str(self._rejects) if cursor.rejects_bytes else "",
        )


class _UnderWay:
    """The rows of a source on their way to being written; knows which addresses are.

    Attributes:
        broken: why the source ended early, once it has, or empty.
    """

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._waiting: deque[tuple[Place, bytes]] = deque()
        self._keys: Counter[bytes] = Counter()
        self.broken = ""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows; the end of the source does not cost those that are under way."""
        try:
            for row in self._rows:
                key = _url_key(row)
                is_new = bool(key) and self._keys[key] > 0
                self._waiting.append((row.next, key))
                self._keys[key] += 1
                yield replace(row, is_new=True) if is_new else row
        except SourceEndedError as error:
            self.broken = error.code

    def note_written(self, last: Row) -> None:
        """Forget the addresses of rows up to one: what is stored of them is what they said."""
        while self._waiting:
            place, key = self._waiting.popleft()
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
            if place is last.next:
                return


def _url_key(row: Row) -> bytes:
    if not row.url or isinstance(row.content, Refused | Passed | Moved | Page):
        return b""
    try:
        return url_key(canonical_url(row.url))
    except InvalidUrlError:
        return b""


def _key_of(source: Source, options: IngestOptions) -> str:
    """Name a source: what reads the same rows of the same file has the same name."""
    parts = [source.form, str(source.path.resolve()), options.base_url or "", str(options.root)]
    joined = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(joined, digest_size=_KEY_BYTES).hexdigest()


def _refused(counts: Counter[str]) -> dict[str, int]:
    return {
        name.removeprefix(REFUSED): count
        for name, count in sorted(counts.items())
        if name.startswith(REFUSED) and count
    }
