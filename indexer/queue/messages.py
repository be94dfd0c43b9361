"""What crawlers tell the indexer: what a visit found, and which images a page names.

Layout of a message before it is sealed: one byte with the schema, one with what it is, then a
MessagePack array in the order of the fields below. A change of it is another schema. It is
written down here and not taken from the records, which may change without it.
"""

from datetime import datetime

import msgspec

from indexer.errors import InvalidUrlError, Refusal
from indexer.model import (
    HASHER_VERSION,
    MD5_BYTES,
    ROW_BYTES,
    Background,
    HashedImage,
    ImageVisit,
    PageMark,
    RowLabel,
)
from indexer.url import KEY_BYTES, canonical_url

SCHEMA = 1
_VISIT, _PAGE = b"v", b"p"
_SHA256_BYTES = 32


class MessageError(Exception):
    """A message that cannot be taken in.

    Attributes:
        code: ``other_schema``, ``other_hasher`` or ``unreadable``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class PageRead(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A page was read: what it said of images that it no longer names ends.

    Attributes:
        image_keys: ``url_key`` of every image that it names now.
    """

    page_url: str
    image_keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"PageRead({len(self.image_keys)} images)"


class _Label(msgspec.Struct, array_like=True):
    frame: int
    quality: int
    partial: bool


class _Hashed(msgspec.Struct, array_like=True):
    hasher_version: int
    rows: list[tuple[Background, bytes]]
    labels: list[_Label]
    quality: int
    sha256: bytes
    size_bytes: int
    mime: str
    width: int
    height: int
    incomplete: Refusal | None
    md5: bytes
    traits: list[bytes]
    provenance: list[str]


class _Visit(msgspec.Struct, array_like=True):
    image_url: str
    page_urls: list[str]
    aliases: list[str]
    document_id: str | None
    etag: str | None
    last_modified: str | None
    page_marks: list[PageMark] | None
    seen_at: datetime | None
    hashed: _Hashed | None


_encoder = msgspec.msgpack.Encoder()
_visits = msgspec.msgpack.Decoder(_Visit)
_pages = msgspec.msgpack.Decoder(PageRead)


def encode_visit(visit: ImageVisit) -> bytes:
    """Write a visit. What the deep tier would guess from is left out: it never leaves memory."""
    hashed = visit.hashed
    found = (
        None
        if hashed is None
        else _Hashed(
            hasher_version=HASHER_VERSION,
            rows=list(hashed.rows),
            labels=[_Label(label.frame, label.quality, label.partial) for label in hashed.labels],
            quality=hashed.quality,
            sha256=hashed.sha256,
            size_bytes=hashed.size_bytes,
            mime=hashed.mime,
            width=hashed.width,
            height=hashed.height,
            incomplete=hashed.incomplete,
            md5=hashed.md5,
            traits=list(hashed.traits),
            provenance=list(hashed.provenance),
        )
    )
    told = _Visit(
        image_url=visit.image_url,
        page_urls=list(visit.page_urls),
        aliases=list(visit.aliases),
        document_id=visit.document_id,
        etag=visit.etag,
        last_modified=visit.last_modified,
        page_marks=None if visit.page_marks is None else sorted(visit.page_marks),
        seen_at=visit.seen_at,
        hashed=found,
    )
    return bytes((SCHEMA,)) + _VISIT + _encoder.encode(told)


def encode_page(page: PageRead) -> bytes:
    """Write which images a page names."""
    return bytes((SCHEMA,)) + _PAGE + _encoder.encode(page)


def decode(message: bytes) -> ImageVisit | PageRead:
    """Read a message, and check what the store relies on.

    Raises:
        MessageError: another schema or hasher, or bytes that break the layout.
    """
    if message[:1] != bytes((SCHEMA,)):
        raise MessageError("other_schema" if message else "unreadable")
    try:
        if message[1:2] == _PAGE:
            return _checked_page(_pages.decode(message[2:]))
        if message[1:2] == _VISIT:
            return _read_visit(_visits.decode(message[2:]))
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidUrlError):
        pass  # `from None` is not enough: a decoding error may name what it met
    raise MessageError("unreadable")


def _checked_page(page: PageRead) -> PageRead:
    canonical_url(page.page_url)
    _check(all(len(key) == KEY_BYTES for key in page.image_keys))
    return page


def _read_visit(told: _Visit) -> ImageVisit:
    for url in (told.image_url, *told.page_urls, *told.aliases):
        canonical_url(url)
    _check(told.seen_at is None or told.seen_at.tzinfo is not None)
    return ImageVisit(
        image_url=told.image_url,
        page_urls=tuple(told.page_urls),
        aliases=tuple(told.aliases),
        document_id=told.document_id,
        etag=told.etag,
        last_modified=told.last_modified,
        page_marks=None if told.page_marks is None else frozenset(told.page_marks),
        seen_at=told.seen_at,
        hashed=None if told.hashed is None else _read_hashed(told.hashed),
    )


def _read_hashed(told: _Hashed) -> HashedImage:
    if told.hasher_version != HASHER_VERSION:
        raise MessageError("other_hasher")
    _check(all(len(row) == ROW_BYTES for _, row in told.rows))
    _check(len(told.labels) in {0, len(told.rows)} and len(told.traits) in {0, len(told.rows)})
    _check(bool(told.mime))  # without it, it would be a digest that somebody brought
    _check(len(told.sha256) == _SHA256_BYTES and len(told.md5) in {0, MD5_BYTES})
    return HashedImage(
        rows=tuple(told.rows),
        labels=tuple(
            RowLabel(frame=label.frame, quality=label.quality, partial=label.partial)
            for label in told.labels
        ),
        quality=told.quality,
        sha256=told.sha256,
        size_bytes=told.size_bytes,
        mime=told.mime,
        width=told.width,
        height=told.height,
        incomplete=told.incomplete,
        md5=told.md5,
        traits=tuple(told.traits),
        provenance=tuple(told.provenance),
    )


def _check(holds: bool) -> None:  # noqa: FBT001 - an assertion
    if not holds:
        raise MessageError("unreadable")
