"""WARC archives, packed by gzip or not, as Common Crawl and others write them.

An archive is read in passes: first its images; then, where there are any, what leads elsewhere;
then its pages. By then every image that a page names is stored, whether it came before the page
or after it, in this archive or in another of the same command, and nothing has to be held
meanwhile but where redirects lead, of which so many count (docs/adr/0046).

A record that is damaged is named, and reading goes on at the next one that can be found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin

from crawler.bodies import Body as LookedAt
from crawler.bodies import BodyLimits
from crawler.errors import RefusedError
from crawler.refusals import http_code
from delist.errors import UsageError
from delist.ingest.rows import Body, Content, Moved, Page, Passed, Place, Refused, Row
from delist.ingest.sources import seeking
from delist.ingest.sources.answers import OTHER, PAGE, PIECE_BYTES, Answer, answer_of, kind_of
from delist.ingest.sources.source import (
    DAMAGED,
    IMAGES,
    REDIRECTS,
    SourceEndedError,
)
from delist.ingest.sources.walking import Walk
from indexer.errors import InvalidUrlError, Refusal
from indexer.url import canonical_url

REVISIT, BAD_HTTP, TOO_MANY_REDIRECTS = "revisit", "bad_http", "too_many_redirects"
REDIRECT = "redirects"

MOST_REDIRECTS = 100_000
"""Redirects of one archive that are held; about 300 bytes each."""

_MOST_STEPS = 10
_SUCCESS = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

T = TypeVar("T")
_Found = tuple[Answer, Content]
"""A record, and what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What one record may cost, in bytes.

    Attributes:
        image_bytes: largest image.
        page_bytes: largest page.
        video_bytes: largest video.
    """

    image_bytes: int
    page_bytes: int
    video_bytes: int


class WarcSource:
    """One archive."""

    form = "warc"

    def __init__(self, path: Path, *, is_packed: bool, limits: ArchiveLimits) -> None:
        """Prepare to read an archive.

        Raises:
            UsageError: FastWARC is not installed.
        """
        try:
            import fastwarc.warc  # noqa: F401, PLC0415 - an extra
        except ImportError:
            raise UsageError(
                'WARC archives need FastWARC: install delist with the extra "ingest"'
            ) from None
        self.path = path
        found = path.stat()
        self.size_bytes, self.modified_ns = found.st_size, found.st_mtime_ns
        self._is_packed, self._limits = is_packed, limits
        self._largest = max(limits.video_bytes, limits.image_bytes, limits.page_bytes)

    def rows(self, stage: str, place: Place) -> Iterator[Row]:
        """See ``Source``.

        Places are a byte at which reading can begin, and how many records from there are done.
        """
        with self.path.open("rb") as file:
            if stage == REDIRECTS:
                yield from self._redirects(file)
                return
            read = self._read_image if stage == IMAGES else self._read_page
            for found, at, after in self._records(file, place, read):
                if isinstance(found, Refused):
                    # The first pass names it.
                    content: Content = found if stage == IMAGES else Passed(OTHER)
                    yield Row(at=f"byte {at}", content=content, next=after, done_bytes=at)
                    continue
                answer, content = found
                yield Row(
                    at=f"byte {at}",
                    url=answer.url,
                    content=content,
                    seen_at=answer.at,
                    etag=answer.etag,
                    last_modified=answer.last_modified,
                    next=after,
                    done_bytes=at,
                )

    def _records(
        self, file: BinaryIO, place: Place, read: Callable[[Any], T]
    ) -> Iterator[tuple[T | Refused, int, Place]]:
        """Yield what is read of each record, with where it stands and what comes behind it."""
        archive = Walk(file, is_packed=self._is_packed, largest=self._largest)
        anchor, skip = place.offset, place.skip
        lost: int | None = None  # behind this record something is damaged, perhaps the next one
        while True:
            walk = archive.walk(anchor, skip)
            try:
                for record, at, after in walk:
                    if lost is not None:  # something that was no record
                        yield Refused(DAMAGED), lost, Place(offset=anchor)
                        lost = None
                    yield archive.reading(read, record), at, after
            except OSError:
                pass
            else:
                return
            found = seeking.next_start(file, archive.at + 1, is_packed=self._is_packed)
            if found is None:
                raise SourceEndedError(archive.code)
            if archive.is_inside:
                yield Refused(archive.code), archive.at, Place(offset=found)
                lost = None
            else:
                lost = archive.at
            anchor, skip = found, 0

    def _read_image(self, record: Any) -> _Found:  # noqa: ANN401 - FastWARC's
        """Read an image or video; say of anything else what it is."""
        answer = answer_of(record)
        try:
            return answer, _refusal(record, answer) or self._take(answer)
        except RefusedError as refused:
            return answer, Refused(refused.code)

    def _take(self, answer: Answer) -> Content:
        body = LookedAt(
            status=answer.status,
            declared=answer.declared,
            encodings=answer.encodings,
            limits=BodyLimits(
                max_video_bytes=self._limits.video_bytes, keep_bytes=self._limits.image_bytes
            ),
        )
        held, held_bytes, read_bytes = list[bytes](), 0, 0
        kind: str | None = None  # not known yet
        while piece := answer.reader.read(PIECE_BYTES):
            held.append(body.take(piece))
            held_bytes += len(held[-1])
            if not read_bytes and body.is_video is False:
                kind = kind_of(held[0], answer)
            read_bytes += len(piece)
            if kind:
                is_cut = answer.size_bytes > read_bytes and not answer.reader.read(1)
                return Refused(Refusal.TRUNCATED.value) if is_cut else Passed(kind)
            if held_bytes > self._limits.image_bytes:
                return Refused(Refusal.TOO_MANY_BYTES.value)
        if answer.size_bytes > read_bytes:
            return Refused(Refusal.TRUNCATED.value)
        held.append(body.end())
        if body.video is not None:
            return body.video
        whole = b"".join(held)
        if kind is None:
            kind = kind_of(whole[:PIECE_BYTES], answer)
        return Passed(kind) if kind else Body(whole, answer.encodings)

    def _read_page(self, record: Any) -> _Found:  # noqa: ANN401 - FastWARC's
        """Read a page; whatever else there is was looked at before."""
        answer = answer_of(record)
        try:
            return answer, Passed(OTHER) if _refusal(record, answer) else self._page(answer)
        except RefusedError as refused:
            return answer, Refused(refused.code)

    def _page(self, answer: Answer) -> Content:
        held = bytearray()
        while piece := answer.reader.read(PIECE_BYTES):
            if not held and kind_of(piece, answer) != PAGE:
                return Passed(OTHER)
            held += piece
            if len(held) > self._limits.page_bytes:
                return Refused(Refusal.TOO_MANY_BYTES.value)
        if not held:
            return Passed(OTHER)
        return Page(Body(bytes(held), answer.encodings), answer.kept_headers)

    def _redirects(self, file: BinaryIO) -> Iterator[Row]:
        """Yield where addresses lead, after all of them are known."""
        leads: dict[str, tuple[str, datetime | None]] = {}
        start, at = Place(), 0
        for found, at, _ in self._records(file, start, _lead):
            if found is None or isinstance(found, Refused):
                continue
            url, target, seen_at = found
            if len(leads) >= MOST_REDIRECTS and url not in leads:
                refused = Refused(TOO_MANY_REDIRECTS)
                yield Row(at=f"byte {at}", url=url, content=refused, next=start)
            else:
                leads[url] = (target, seen_at)
        for url, (_, seen_at) in leads.items():
            end = url
            for _ in range(_MOST_STEPS):
                end = leads[end][0] if end in leads else end
            if end != url and end not in leads:
                content = Moved(end)
                yield Row(at=f"byte {at}", url=url, content=content, seen_at=seen_at, next=start)


def _refusal(record: Any, answer: Answer) -> Content | None:  # noqa: ANN401 - FastWARC's
    """Say of a record why its body is not looked at; None: it is."""
    if record.headers.get("Content-Length") is None:
        return Refused(Refusal.TRUNCATED.value)  # the file ends in its headers
    if str(record.record_type) == REVISIT:
        return Refused(REVISIT)  # its bytes are elsewhere, and nobody has looked at them
    if str(record.record_type) == "unknown":
        return Passed(OTHER)
    if answer.status in _REDIRECTS and answer.headers.get("Location"):
        return Passed(REDIRECT)
    if not answer.status:
        return Refused(BAD_HTTP)
    return None if answer.status in _SUCCESS else Refused(http_code(answer.status))


def _lead(record: Any) -> tuple[str, str, datetime | None] | None:  # noqa: ANN401 - FastWARC's
    """Say where a record leads, and from where; None: nowhere."""
    answer = answer_of(record)
    location = answer.headers.get("Location") if answer.status in _REDIRECTS else None
    if not location or str(record.record_type) == REVISIT:
        return None
    try:
        url = canonical_url(answer.url)
        return url, canonical_url(urljoin(url, location)), answer.at
    except (InvalidUrlError, ValueError):
        return None  # it leads to no image
