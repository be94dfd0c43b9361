"""WARC archives, packed by gzip or not, as Common Crawl and others write them.

An archive is read in passes: first its images; then, where there are any, what leads elsewhere;
then its pages. By then every image that a page names is stored, whether it came before the page
or after it, in this archive or in another of the same command, and nothing has to be held
meanwhile but where redirects lead, of which so many count (docs/adr/0046).

A record that is damaged is named, and reading goes on at the next one that can be found.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin

from crawler.bodies import Body as LookedAt
from crawler.bodies import BodyLimits
from crawler.decoding import Decoding, read_encodings
from crawler.errors import RefusedError
from crawler.kinds import HEAD_BYTES, is_image
from crawler.refusals import http_code
from delist.errors import UsageError
from delist.ingest.rows import Body, Content, Moved, Page, Passed, Place, Refused, Row
from delist.ingest.sources import seeking
from delist.ingest.sources.source import (
    DAMAGED,
    IMAGES,
    INFLATES,
    REDIRECTS,
    SourceEndedError,
    check_ratio,
)
from indexer.errors import InvalidUrlError, Refusal
from indexer.url import canonical_url

REVISIT, BAD_HTTP, TOO_MANY_REDIRECTS = "revisit", "bad_http", "too_many_redirects"
OTHER, PAGE, REDIRECT = "other", "pages", "redirects"

MOST_REDIRECTS = 100_000
"""Redirects of one archive that are held; about 300 bytes each."""

_MOST_STEPS = 10
_PIECE_BYTES = 64 * 1024
_SUCCESS = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HTML_TYPES = ("text/html", "application/xhtml")
_HTML = re.compile(
    rb"\s*(?:<!--.{0,200}?-->\s*)?<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL
)
_HTML_HEAD_BYTES = 1024
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(?:;[^\r\n]*)?\r\n")
_KEPT_HEADERS = frozenset({"content-type", "rating"})
_MOST_HEADERS = 16

T = TypeVar("T")
_Found = tuple[Content, str, datetime | None]
"""What a record holds, its address, and when that was there."""


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """One record, before its body is read."""

    url: str
    at: datetime | None
    status: int
    headers: Any
    declared: str
    encodings: tuple[str, ...]
    size_bytes: int
    reader: Any

    @property
    def kept_headers(self) -> tuple[tuple[str, str], ...]:
        found = self.headers.to_tuples() if self.headers is not None else ()
        kept = [(name, value) for name, value in found if name.lower() in _KEPT_HEADERS]
        return tuple(kept[:_MOST_HEADERS]) or (("Content-Type", self.declared),)


class _Archive:
    """Walks through records of a file, and knows where it was when one could not be read.

    Attributes:
        at: byte of the record that was met last, or at which walking began.
        is_inside: whether that record is the one that cannot be read, not what follows it.
        code: what is wrong with it.
    """

    def __init__(self, file: BinaryIO, *, is_packed: bool, largest: int) -> None:
        self._file, self._is_packed, self._largest = file, is_packed, largest
        self._unpacked = 0
        self.at, self.is_inside, self.code = 0, True, DAMAGED

    def walk(self, anchor: int, skip: int) -> Iterator[tuple[Any, int, Place]]:
        """Yield records from a byte on, but the first ``skip``, with the place behind each.

        Raises:
            OSError: something cannot be read; ``at`` and ``is_inside`` say where.
            SourceEndedError: it unpacks to too much.
        """
        from fastwarc.warc import ArchiveIterator, WarcRecordType  # noqa: PLC0415 - an extra

        # One of unknown type may be the last, cut off before its type.
        wanted = (
            WarcRecordType.response
            | WarcRecordType.resource
            | WarcRecordType.revisit
            | WarcRecordType.unknown
        )
        self._file.seek(anchor)
        self.at, self.is_inside, self.code, number = anchor, True, DAMAGED, 0
        for record in ArchiveIterator(self._file, record_types=wanted, strict_mode=False):
            self.at, self.is_inside = record.stream_pos, True
            if number and seeking.begins_at(self._file, self.at, is_packed=self._is_packed):
                anchor, number, skip = self.at, 0, 0
            number += 1
            if self._is_packed and record.content_length > self._largest:
                self.code = INFLATES
                raise OSError  # looked past, as one that cannot be read
            if number > skip:
                yield record, self.at, Place(offset=anchor, skip=number)
            self._unpacked += record.content_length
            if self._is_packed:
                check_ratio(self._unpacked, self.at)
            self.is_inside = False

    def reading(self, read: Callable[[Any], T], record: Any) -> T:  # noqa: ANN401 - FastWARC's
        """Read something of the record that was met last."""
        self.is_inside = True
        return read(record)


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
                content, url, seen_at = (found, "", None) if isinstance(found, Refused) else found
                if isinstance(found, Refused) and stage != IMAGES:
                    content = Passed(OTHER)  # it was named before
                yield Row(
                    at=f"byte {at}", url=url, content=content, seen_at=seen_at,
                    next=after, done_bytes=at,
                )  # fmt: skip

    def _records(
        self, file: BinaryIO, place: Place, read: Callable[[Any], T]
    ) -> Iterator[tuple[T | Refused, int, Place]]:
        """Yield what is read of each record, with where it stands and what comes behind it."""
        archive = _Archive(file, is_packed=self._is_packed, largest=self._largest)
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
        answer = _answer(record)
        try:
            return _refusal(record, answer) or self._take(answer), answer.url, answer.at
        except RefusedError as refused:
            return Refused(refused.code), answer.url, answer.at

    def _take(self, answer: _Answer) -> Content:
        body = LookedAt(
            status=answer.status,
            declared=answer.declared,
            encodings=answer.encodings,
            limits=BodyLimits(
                max_video_bytes=self._limits.video_bytes, keep_bytes=self._limits.image_bytes
            ),
        )
        held, read_bytes = bytearray(), 0
        while piece := answer.reader.read(_PIECE_BYTES):
            is_first = not read_bytes
            read_bytes += len(piece)
            held += body.take(piece)
            if is_first and body.is_video is False and (kind := _kind(bytes(held), answer)):
                is_cut = answer.size_bytes > read_bytes and not answer.reader.read(1)
                return Refused(Refusal.TRUNCATED.value) if is_cut else Passed(kind)
            if len(held) > self._limits.image_bytes:
                return Refused(Refusal.TOO_MANY_BYTES.value)
        if answer.size_bytes > read_bytes:
            return Refused(Refusal.TRUNCATED.value)
        held += body.end()
        if body.video is not None:
            return body.video
        kind = _kind(bytes(held[:_PIECE_BYTES]), answer)
        return Passed(kind) if kind else Body(bytes(held), answer.encodings)

    def _read_page(self, record: Any) -> _Found:  # noqa: ANN401 - FastWARC's
        """Read a page; whatever else there is was looked at before."""
        answer = _answer(record)
        try:
            is_page = not _refusal(record, answer)
            content = self._page(answer) if is_page else Passed(OTHER)
        except RefusedError as refused:
            content = Refused(refused.code)
        return content, answer.url, answer.at

    def _page(self, answer: _Answer) -> Content:
        held = bytearray()
        while piece := answer.reader.read(_PIECE_BYTES):
            if not held and _kind(piece, answer) != PAGE:
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


def _refusal(record: Any, answer: _Answer) -> Content | None:  # noqa: ANN401 - FastWARC's
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
    answer = _answer(record)
    location = answer.headers.get("Location") if answer.status in _REDIRECTS else None
    if not location or str(record.record_type) == REVISIT:
        return None
    try:
        url = canonical_url(answer.url)
        return url, canonical_url(urljoin(url, location)), answer.at
    except (InvalidUrlError, ValueError):
        return None  # it leads to no image


def _answer(record: Any) -> _Answer:  # noqa: ANN401 - FastWARC's
    headers = record.http_headers if record.is_http and record.is_http_parsed else None
    declared = headers.get("Content-Type") if headers is not None else None
    encodings: tuple[str, ...] = ()
    reader, status = record.reader, 200
    if headers is not None:
        status = headers.status_code or 0
        encodings = tuple(read_encodings(headers.get_bytes_multiple(b"Content-Encoding")))
        if "chunked" in (headers.get("Transfer-Encoding") or "").lower():
            reader = _Chunked(record.reader)
    elif record.is_http:
        status = 0
    else:
        declared = record.headers.get("Content-Type")
    return _Answer(
        url=(record.headers.get("WARC-Target-URI") or "").strip("<>"),
        at=_time(record.headers.get("WARC-Date")),
        status=status,
        headers=headers if headers is not None else {},
        declared=declared or "",
        encodings=encodings,
        size_bytes=0 if isinstance(reader, _Chunked) else record.content_length,
        reader=reader,
    )


class _Chunked:
    """Undoes the chunks of a body that is said to have them; some writers have done so before."""

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - FastWARC's
        self._raw: Any = reader
        self._first: bytes = reader.read(_PIECE_BYTES)
        self._chunks: Any = None
        if _CHUNK.match(self._first):
            from fastwarc.stream_io import ChunkedReader  # noqa: PLC0415 - an extra

            self._chunks = ChunkedReader(_Joined(self._first, reader))

    def read(self, size: int) -> bytes:
        """Read some bytes of the body, none at its end.

        Raises:
            RefusedError: ``truncated``, the chunks end too early.
        """
        if self._chunks is None:
            first, self._first = self._first, b""
            return first or bytes(self._raw.read(size))
        try:
            return bytes(self._chunks.read(size))
        except (OSError, EOFError, ValueError):
            raise RefusedError(Refusal.TRUNCATED.value) from None


class _Joined:
    """Bytes that were read already, and a reader of what follows, as one file."""

    def __init__(self, first: bytes, rest: Any) -> None:  # noqa: ANN401 - FastWARC's
        self._first, self._rest, self._at = first, rest, 0

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, none at the end."""
        size = _PIECE_BYTES if size < 0 else size
        found, self._first = self._first[:size], self._first[size:]
        found = found or bytes(self._rest.read(size))
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Say where it stands; it goes forward alone."""
        del offset, whence
        return self._at

    def tell(self) -> int:
        """Say how many bytes were read."""
        return self._at

    def close(self) -> None:
        """Do nothing: the archive goes on."""


def _kind(start: bytes, answer: _Answer) -> str:
    """Say what a body is, by its beginning: ``pages`` or ``other``; empty for an image."""
    head = _unpacked(start, answer.encodings)[:_HTML_HEAD_BYTES]
    declared = answer.declared.strip().lower()
    if is_image(head[:HEAD_BYTES], declared) or declared.startswith("image/"):
        return ""
    if declared.startswith(_HTML_TYPES) or (not declared and _HTML.match(head)):
        return PAGE
    return OTHER


def _unpacked(start: bytes, encodings: tuple[str, ...]) -> bytes:
    if not encodings:
        return start
    found = b""
    try:
        for piece in Decoding(encodings).feed(start):
            found += piece
            if len(found) >= _HTML_HEAD_BYTES:
                break
    except RefusedError:
        pass  # whoever reads it whole names what is wrong
    return found


def _time(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
