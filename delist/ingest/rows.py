"""What a source yields: rows, each of which says where something is and what it is.

A row that cannot be used is yielded too, with a named reason, so that nothing is passed over
unseen. Rows travel to other processes; none of them shows an address in its ``repr``.
"""

from dataclasses import dataclass, field
from datetime import datetime

from indexer.hashing import VideoFile
from indexer.tables import StoredImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a source goes on.

    Attributes:
        offset: what it counts is the source's business: bytes, row groups.
        skip: rows behind it that are done.
        name: the last name that is done, in a folder.
    """

    offset: int = 0
    skip: int = 0
    name: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of an image, as they were sent.

    Attributes:
        encodings: the words of Content-Encoding that are still to be undone.
    """

    data: bytes = field(repr=False)
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileName:
    """A file below a folder, and never outside of it."""

    folder: str = field(repr=False)
    name: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an archive, with its HTTP headers."""

    body: Body
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Digest:
    """A PDQ hash that somebody brought.

    Attributes:
        pdq: 32 bytes, or 64 hex digits; unchecked.
        quality: 0-100; 0 where it is not known, so that no machine acts on it alone.
        sha256: of the bytes it was made of, where that is known.
    """

    pdq: bytes | str = field(repr=False)
    quality: int = 0
    sha256: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Moved:
    """The address leads to another, perhaps by several steps.

    Attributes:
        to: the last of them, in canonical form.
    """

    to: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passed:
    """Something that this pass is not about.

    Attributes:
        kind: what it is, for counters: ``redirects``, ``pages``, ``other``.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing that can be used.

    Attributes:
        code: the named reason, for counters.
    """

    code: str


Content = Body | VideoFile | FileName | Page | Digest | StoredImage | Moved | Passed | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a source.

    Attributes:
        at: where it stands, for the file of refused rows: ``row 12``, ``byte 4096``, a path.
        url: of the image or page, unchecked; empty where there is none.
        content: what is there.
        page_urls: pages on which the image was seen, unchecked.
        document_id: the engine's own id.
        seen_at: when it was there, if the source says so.
        etag: as the server wrote it.
        last_modified: the same.
        next: where the source goes on behind this row.
        done_bytes: how far the source has come, for progress.
        is_new: whether the address came a moment ago in this source: what is stored of it
            is about to change, so nothing is to be concluded from it.
    """

    at: str = field(repr=False)
    url: str = field(default="", repr=False)
    content: Content
    page_urls: tuple[str, ...] = field(default=(), repr=False)
    document_id: str | None = field(default=None, repr=False)
    seen_at: datetime | None = None
    etag: str | None = field(default=None, repr=False)
    last_modified: str | None = None
    next: Place
    done_bytes: int = 0
    is_new: bool = False

    @property
    def size_bytes(self) -> int:
        """How many bytes it carries, about."""
        content = self.content.body if isinstance(self.content, Page) else self.content
        if isinstance(content, VideoFile):
            return len(content.data or b"")
        return len(content.data) if isinstance(content, Body) else 0
