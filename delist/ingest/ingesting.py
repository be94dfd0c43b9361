"""Taking sources in: the use case behind ``delist ingest``.

(1) Sources are told from each other by their path, and known again by size and time of change; one
    that has changed is read anew. Folders are read anew each time.
(2) Each pass goes over all sources before the next begins, so that pages find the images of every
    source of the same command.
(3) Rows go to the processes of a pool and come back in their order; what was made of them is
    written in batches with how far the source has come.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from crawler.settings import CrawlSettings
from delist.errors import UsageError
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
from delist.ingest.rows import Moved, Page, Passed, Place, Refused, Row
from delist.ingest.sources.finding import AUTO, FORMATS, Reading, find_sources
from delist.ingest.sources.source import IMAGES, PAGES, REDIRECTS, STAGES, Source, SourceEndedError
from delist.ingest.sources.warc import PAGE, REDIRECT, ArchiveLimits
from indexer.build import Indexer
from indexer.errors import InvalidUrlError
from indexer.model import VisitOutcome
from indexer.store import IngestCursor
from indexer.url import canonical_url, url_key

_KEY_BYTES = 8
_NEEDED = {REDIRECTS: MET + REDIRECT, PAGES: MET + PAGE}
"""What the first pass must have met for a later one to be worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How sources are taken in.

    Attributes:
        form: what they are; ``auto`` lets their bytes say so.
        base_url: what names in folders are put behind to make addresses.
        root: what paths in tables are below; None: the folder of the table.
        processes: how many hash; 0 for as many as there are processors; 1: this one.
        again: read anew what was read before.
        rejects: folder for the files of refused rows; None: ``ingest`` of the data directory.
    """

    form: str = AUTO
    base_url: str | None = None
    root: Path | None = None
    processes: int = 0
    again: bool = False
    rejects: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What came of one source, runs before this one included.

    Attributes:
        source: as it was named, or where it was found.
        rows: rows, records or files that were read.
        images: images and videos among them: hashed, unchanged, outdated or refused.
        outdated: other bytes than those stored, and older: they were left.
        pages: pages of an archive that were read.
        refused: how many were refused, by code.
        matches: signals matched by the images that were hashed.
        complete: whether it was read to its end, or to where it breaks off.
        broken: why it breaks off, or empty.
        was_done: whether it had been taken in before, and nothing was left to do.
        rejects: the file that names what was refused, if anything was.
    """

    source: str
    format: str = ""
    rows: int = 0
    images: int = 0
    hashed: int = 0
    unchanged: int = 0
    outdated: int = 0
    videos: int = 0
    pages: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    complete: bool = False
    broken: str = ""
    was_done: bool = False
    rejects: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What came of all sources: sums of those that were not done before, and each for itself.

    Attributes:
        complete: False when it was stopped; the next run goes on from there.
    """

    rows: int = 0
    images: int = 0
    hashed: int = 0
    unchanged: int = 0
    outdated: int = 0
    videos: int = 0
    pages: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    complete: bool = True
    sources: tuple[SourceReport, ...] = ()

    @property
    def refused_sources(self) -> list[SourceReport]:
        """Those that could not be read, or not to their end."""
        return [source for source in self.sources if source.broken]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """How far it has come.

    Attributes:
        stage: the pass that is under way.
        done_bytes: bytes of the sources that this pass is behind.
        total_bytes: of all sources.
        images: images that this run has looked at.
    """

    stage: str
    done_bytes: int
    total_bytes: int
    images: int


OnProgress = Callable[[IngestProgress], None]


class Ingestion:
    """Takes sources in."""

    def __init__(self, indexer: Indexer, crawl_settings: CrawlSettings) -> None:
        self._indexer = indexer
        self._crawl_settings = crawl_settings
        self._hashing = indexer.settings.hashing

    def run(
        self,
        paths: Sequence[Path],
        options: IngestOptions = IngestOptions(),
        *,
        on_progress: OnProgress = lambda _progress: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> IngestReport:
        """Take sources in, each from where it was left.

        Args:
            paths: folders, tables, archives, single images; see ``sources``.
            options: how.
            on_progress: called now and then.
            stopped: asked between batches; what was begun goes on in the next run.

        Raises:
            UsageError: an option makes no sense, or what reads a source is not installed.
            StoreError: the store failed; what was written before stays.
        """
        reading = self._reading(options)
        work: list[_Taking] = []
        reports: list[SourceReport | _Taking] = []
        for found in find_sources(paths, reading):
            if isinstance(found, tuple):
                path, code = found
                reports.append(SourceReport(source=str(path), broken=code, refused={code: 1}))
                continue
            taking = _Taking(self._indexer, found, options, self._rejects_folder(options))
            work.append(taking)
            reports.append(taking)
        processes = options.processes or len(os.sched_getaffinity(0))
        with Pool(processes, self._indexer.settings, self._crawl_settings) as pool:
            is_complete = self._passes(work, pool, on_progress, stopped)
        return _together(
            [entry.report() if isinstance(entry, _Taking) else entry for entry in reports],
            complete=is_complete,
        )

    def _passes(
        self,
        work: Sequence["_Taking"],
        pool: Pool,
        on_progress: OnProgress,
        stopped: Callable[[], bool],
    ) -> bool:
        total = sum(taking.source.size_bytes for taking in work)
        for stage in STAGES:  # (2)
            before = 0
            for taking in work:
                images = sum(each.images_now for each in work)
                for done_bytes in taking.run(stage, pool):
                    now = images + taking.images_now
                    on_progress(
                        IngestProgress(
                            stage=stage,
                            done_bytes=before + done_bytes,
                            total_bytes=total,
                            images=now,
                        )
                    )
                    if stopped():
                        return False
                before += taking.source.size_bytes
        return True

    def _rejects_folder(self, options: IngestOptions) -> Path:
        return options.rejects or self._indexer.settings.data_dir / "ingest"

    def _reading(self, options: IngestOptions) -> Reading:
        if options.form not in FORMATS:
            raise UsageError(f'--format: one of {", ".join(FORMATS)}, not "{options.form}"')
        base_url = options.base_url
        if base_url is not None:
            try:
                base_url = canonical_url(base_url)
            except InvalidUrlError as error:
                raise UsageError(f"--base-url: {error}") from None
        return Reading(
            form=options.form,
            base_url=base_url,
            root=options.root,
            limits=ArchiveLimits(
                image_bytes=self._hashing.max_bytes,
                page_bytes=self._crawl_settings.max_page_bytes,
                video_bytes=self._crawl_settings.max_video_bytes,
            ),
        )


class _Taking:
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
        is_left = (is_same or is_folder) and not held.done and not options.again  # (1)
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
                for row, done in pool.done(rows):  # (3)
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


def _together(sources: Iterable[SourceReport], *, complete: bool) -> IngestReport:
    found = tuple(sources)
    new = [source for source in found if not source.was_done]
    refused: Counter[str] = Counter()
    for source in new:
        refused.update(source.refused)
    names = (
        "rows", "images", "hashed", "unchanged", "outdated", "videos", "pages", "matches",
    )  # fmt: skip
    return IngestReport(
        **{name: sum(getattr(source, name) for source in new) for name in names},
        refused=dict(sorted(refused.items())),
        complete=complete,
        sources=found,
    )
