"""Rows of tables, whatever they are written in: which columns count, and what they say.

=================  ===================================================================
column             meaning
=================  ===================================================================
url, image_url     address of the image; needed
bytes, image       its bytes: binary (base64 in JSON lines), or a struct of ``bytes``/``path``
path               a file below the folder of the table
pdq, hash          a PDQ hash: 32 bytes or 64 hex digits
quality            of that hash, 0-100; without it 0, so that a person decides
sha256             of the bytes that the hash was made of: 32 bytes or 64 hex digits
page_url(s)        pages that show the image: a text, or a list
document_id        the engine's own id
=================  ===================================================================

Of one row the first counts that is there: bytes, then path, then hash.
"""

import binascii
from base64 import b64decode
from collections.abc import Collection, Mapping
from typing import Any

from delist.ingest.rows import Body, Content, Digest, FileName, Place, Refused, Row

URL_COLUMNS = ("url", "image_url")
CONTENT_COLUMNS = ("bytes", "image", "path", "pdq", "hash")
OTHER_COLUMNS = ("quality", "sha256", "page_url", "page_urls", "document_id")
COLUMNS = (*URL_COLUMNS, *CONTENT_COLUMNS, *OTHER_COLUMNS)

NO_URL, NO_CONTENT, BAD_ENCODING = "no_url", "no_content", "bad_encoding"

_SHA256_BYTES = 32
_MOST_QUALITY = 100


def missing(names: Collection[str]) -> str:
    """Name what a table lacks so that nothing of it can be used; empty if it has enough."""
    if not set(URL_COLUMNS).intersection(names):
        return "missing_column_url"
    return "" if set(CONTENT_COLUMNS).intersection(names) else "missing_column_content"


def row_of(
    values: Mapping[str, Any], *, folder: str, at: str, following: Place, done_bytes: int
) -> Row:
    """Read one row of a table.

    Args:
        values: what it holds, by column; unchecked.
        folder: what its paths are below.
        at: how it is named where it is refused.
        following: where its source goes on.
        done_bytes: how far its source has come.
    """
    url = next((values[name] for name in URL_COLUMNS if values.get(name)), "")
    document_id = values.get("document_id")
    return Row(
        at=at,
        url=url if isinstance(url, str) else "",
        content=_content(values, folder) if isinstance(url, str) and url else Refused(NO_URL),
        page_urls=_texts(values.get("page_urls")) + _texts(values.get("page_url")),
        document_id=None if document_id in {None, ""} else str(document_id),
        next=following,
        done_bytes=done_bytes,
    )


def _content(values: Mapping[str, Any], folder: str) -> Content:
    for name in ("bytes", "image", "path"):
        value = values.get(name)
        path: Any = value if name == "path" else None
        if isinstance(value, Mapping):  # as the tables of Hugging Face have it
            struct: Mapping[str, Any] = value
            value, path = struct.get("bytes"), struct.get("path")
        if path is None and value is not None:
            return _body(value)
        if isinstance(path, str) and path:
            return FileName(folder, path.encode("utf-8", "surrogateescape"))
    for name in ("pdq", "hash"):
        value = values.get(name)
        if isinstance(value, bytes | str) and value:
            return Digest(value, _quality(values.get("quality")), _sha256(values.get("sha256")))
    return Refused(NO_CONTENT)


def _body(value: object) -> Content:
    if isinstance(value, bytes):
        return Body(value)
    if not isinstance(value, str):
        return Refused(BAD_ENCODING)
    try:
        return Body(b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return Refused(BAD_ENCODING)


def _quality(value: object) -> int:
    """Return a quality; one that makes no sense is none, and a person decides."""
    is_whole = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_whole or not 0 <= value <= _MOST_QUALITY:  # type: ignore[operator] # a number, above
        return 0
    return int(value)  # type: ignore[call-overload, no-any-return] # a number, above


def _sha256(value: object) -> bytes:
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else value
    except ValueError:
        return b""
    return data if isinstance(data, bytes) and len(data) == _SHA256_BYTES else b""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    entries = value if isinstance(value, list | tuple) else ()
    return tuple(entry for entry in entries if isinstance(entry, str) and entry)
