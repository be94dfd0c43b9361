"""Reading sitemaps (sitemaps.org 0.9, Google's image extension), packed or not.

Pure. Sitemaps come from strangers: entities are not resolved, unpacking and the
number of entries are bounded, and broken XML yields what could be read of it.
"""

import gzip
import io
import zlib
from dataclasses import dataclass, field
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from crawler.errors import RefusedError

MAX_ENTRIES = 50_000
"""The protocol's own limit of entries in one sitemap."""

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitemap:
    """What one sitemap lists. URLs are as they were written, unchecked."""

    page_urls: tuple[str, ...] = field(default=(), repr=False)
    image_urls: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Pairs of page URL and image URL."""
    sitemap_urls: tuple[str, ...] = field(default=(), repr=False)


def unpack(body: bytes, *, max_bytes: int) -> bytes:
    """Return the bytes, decompressed if they are gzip.

    Raises:
        RefusedError: unpacked they are larger than ``max_bytes``, or the packing is broken.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise RefusedError("bad_encoding") from None
    if len(unpacked) > max_bytes:
        raise RefusedError("too_many_bytes")
    return unpacked


def parse_sitemap(body: bytes) -> Sitemap | None:
    """Read a sitemap or a sitemap index; None when the bytes are neither."""
    reader = _Reader()
    try:
        for event, element in _events(body):
            if reader.root is None:
                reader.root = _name(element)
                if reader.root not in {"urlset", "sitemapindex"}:
                    return None
            if event == "end":
                reader.end(element)
            if reader.entries >= MAX_ENTRIES:
                break
    except etree.XMLSyntaxError:
        pass  # what could be read counts
    return None if reader.root is None else reader.sitemap()


class _Reader:
    """Gathers the entries of one sitemap as their elements end."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.entries = 0
        self._pages: list[str] = []
        self._images: list[tuple[str, str]] = []
        self._sitemaps: list[str] = []
        self._location = ""
        self._entry_images: list[str] = []

    def end(self, element: Any) -> None:  # noqa: ANN401 - lxml has no types
        name = _name(element)
        if name == "loc" and element.text:
            self._end_location(_name(element.getparent()), element.text.strip())
        elif name in {"url", "sitemap"}:
            self._end_entry(self._pages if name == "url" else self._sitemaps)
            element.clear()

    def sitemap(self) -> Sitemap:
        return Sitemap(
            page_urls=tuple(self._pages),
            image_urls=tuple(self._images),
            sitemap_urls=tuple(self._sitemaps),
        )

    def _end_location(self, parent: str, text: str) -> None:
        if parent == "image":
            self._entry_images.append(text)
            self.entries += 1
        elif parent in {"url", "sitemap"}:
            self._location = text

    def _end_entry(self, locations: list[str]) -> None:
        if self._location:
            locations.append(self._location)
            self._images.extend((self._location, image) for image in self._entry_images)
        self._location, self._entry_images = "", []
        self.entries += 1


def sitemaps_of_robots(body: bytes) -> tuple[str, ...]:
    """Return the ``Sitemap:`` lines of a robots.txt."""
    found = []
    for line in body.decode("utf-8-sig", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == "sitemap" and value.strip():
            found.append(value.strip())
    return tuple(found)


def _events(body: bytes) -> Any:  # noqa: ANN401 - lxml has no types
    return etree.iterparse(
        io.BytesIO(body),
        events=("start", "end"),
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _name(element: Any) -> str:  # noqa: ANN401 - lxml has no types
    tag = "" if element is None else element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""
