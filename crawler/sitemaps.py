"""Reading sitemaps (sitemaps.org 0.9, Google's image extension), packed or not.

Pure. Sitemaps come from strangers: entities are not resolved, unpacking and the
number of entries are bounded, and broken XML yields what could be read of it.
"""

import gzip
import io
import zlib
from dataclasses import dataclass, field

from lxml import etree

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
    pages: list[str] = []
    images: list[tuple[str, str]] = []
    sitemaps: list[str] = []
    root: str | None = None
    entry_images: list[str] = []
    location = ""
    try:
        for event, element in _events(body):
            name = _name(element)
            if root is None:
                root = name
                if root not in {"urlset", "sitemapindex"}:
                    return None
            if event == "start":
                continue
            if name == "loc" and element.text:
                parent = _name(element.getparent())
                if parent == "image":
                    entry_images.append(element.text.strip())
                elif parent in {"url", "sitemap"}:
                    location = element.text.strip()
            elif name in {"url", "sitemap"}:
                if location:
                    (pages if name == "url" else sitemaps).append(location)
                    images.extend((location, image) for image in entry_images)
                location, entry_images = "", []
                element.clear()
            if len(pages) + len(images) + len(sitemaps) >= MAX_ENTRIES:
                break
    except etree.XMLSyntaxError:
        if root is None:
            return None
    if root is None:
        return None
    return Sitemap(
        page_urls=tuple(pages), image_urls=tuple(images), sitemap_urls=tuple(sitemaps)
    )


def sitemaps_of_robots(body: bytes) -> tuple[str, ...]:
    """Return the ``Sitemap:`` lines of a robots.txt."""
    found = []
    for line in body.decode("utf-8-sig", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() == "sitemap" and value.strip():
            found.append(value.strip())
    return tuple(found)


def _events(body: bytes) -> "etree.iterparse[tuple[str, etree._Element]]":
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


def _name(element: "etree._Element | None") -> str:
    tag = "" if element is None else element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""
