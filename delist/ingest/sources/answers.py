"""One record of an archive as the answer that it holds: status, headers, body, what it is."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crawler.decoding import Decoding, read_encodings
from crawler.errors import RefusedError
from crawler.kinds import HEAD_BYTES, is_image
from indexer.errors import Refusal

OTHER, PAGE = "other", "pages"
PIECE_BYTES = 64 * 1024
"""Bytes of a body that are read at once."""

_HTML_TYPES = ("text/html", "application/xhtml")
_HTML = re.compile(rb"(?is)\s*(?:<!--.{0,200}?-->\s*)?<(?:!doctype\s+html|html)[\s>]")
_HTML_HEAD_BYTES = 1024
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(?:;[^\r\n]*)?\r\n")
_KEPT_HEADERS = frozenset({"content-type", "rating"})
_MOST_HEADERS = 16
_MOST_VALIDATOR_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """One record, before its body is read.

    Attributes:
        url: the address that it was fetched from, unchecked.
        at: when that was, if it says so.
        status: of HTTP; 200 for a record without HTTP, 0 where HTTP cannot be read.
        headers: of HTTP: a mapping.
        declared: its Content-Type.
        encodings: the words of its Content-Encoding.
        size_bytes: of its body; 0 where only its end tells.
        reader: gives its body, piece by piece.
        is_cut: whether the archive says that it holds a part of the body alone.
    """

    url: str = field(repr=False)
    at: datetime | None
    status: int
    headers: Any = field(repr=False)
    declared: str
    encodings: tuple[str, ...]
    size_bytes: int
    reader: Any
    is_cut: bool = False

    @property
    def etag(self) -> str | None:
        """What the server called these bytes."""
        return self._validator("ETag")

    @property
    def last_modified(self) -> str | None:
        """When the server says that they changed last."""
        return self._validator("Last-Modified")

    def _validator(self, name: str) -> str | None:
        """Return a header as a crawl keeps it; none of a body that the archive cut off."""
        text = (self.headers.get(name) or "").strip()
        is_kept = text.isprintable() and len(text) <= _MOST_VALIDATOR_CHARS and not self.is_cut
        return text if text and is_kept else None

    @property
    def kept_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that a page is read with."""
        found = self.headers.to_tuples() if self.headers is not None else ()
        kept = [(name, value) for name, value in found if name.lower() in _KEPT_HEADERS]
        return tuple(kept[:_MOST_HEADERS]) or (("Content-Type", self.declared),)


def answer_of(record: Any) -> Answer:  # noqa: ANN401 - FastWARC's
    """Read the head of a record."""
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
    return Answer(
        url=(record.headers.get("WARC-Target-URI") or "").strip("<>"),
        at=_time(record.headers.get("WARC-Date")),
        status=status,
        headers=headers if headers is not None else {},
        declared=declared or "",
        encodings=encodings,
        size_bytes=0 if isinstance(reader, _Chunked) else record.content_length,
        reader=reader,
        is_cut=bool(record.headers.get("WARC-Truncated")),
    )


class _Chunked:
    """Undoes the chunks of a body that is said to have them; some writers have done so before."""

    def __init__(self, reader: Any) -> None:  # noqa: ANN401 - FastWARC's
        self._raw: Any = reader
        self._first: bytes = reader.read(PIECE_BYTES)
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
        size = PIECE_BYTES if size < 0 else size
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


def kind_of(start: bytes, answer: Answer) -> str:
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
