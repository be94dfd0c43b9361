"""What a page refers to: other pages, images and videos, wherever a page may hide them.

Pure: text in, URLs out. One walk over the tree; broken markup and links that
cannot be joined are counted, never fatal.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from parsel import Selector

from indexer.errors import InvalidUrlError
from indexer.url import canonical_url

DATA_IMAGE = "data:"
MAX_URL_CHARS = 8192
_HTML_SPACE = " \t\n\r\f"
_LINE_BREAKS = re.compile(r"[\t\n\r]")
_PLACE = re.compile(r"[^?#]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_CSS_URL = re.compile(r"url\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"')]+))\s*\)", re.IGNORECASE)
_IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".webp",
    ".avif",
    ".bmp",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".jxl",
    ".jp2",
)
_VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".qt",
    ".webm",
    ".mkv",
    ".avi",
    ".wmv",
    ".flv",
    ".mpg",
    ".mpeg",
    ".3gp",
    ".ogv",
)
_VIDEO_METAS = frozenset(
    {"og:video", "og:video:url", "og:video:secure_url", "twitter:player:stream"}
)
_VIDEO_TAGS = frozenset({"video", "amp-video"})
_IMAGE_METAS = frozenset(
    {"og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"}
)
_IMAGE_TAGS = frozenset({"img", "amp-img", "image"})
_LAZY = ("src", "data-src", "data-original", "data-lazy-src", "data-lazy", "data-url")
_SETS = ("srcset", "data-srcset", "data-lazy-srcset")


OnImage = Callable[[str, str, Any], None]
"""Told of each place of an image: its URL, the tag in lower case, and the element."""


def _nobody(_url: str, _tag: str, _element: Any) -> None:  # noqa: ANN401 - lxml has no types
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLinks:
    """What was found on one page, in document order, each once.

    Attributes:
        page_urls: canonical http(s) URLs of pages.
        image_urls: canonical http(s) URLs of images, and ``data:`` images as they stand.
        video_urls: the same of videos.
        broken: links that could not be joined or are too long.
        dropped_images: image URLs beyond the limit.
        dropped_videos: video URLs beyond the limit.
    """

    page_urls: tuple[str, ...] = field(repr=False)
    image_urls: tuple[str, ...] = field(repr=False)
    video_urls: tuple[str, ...] = field(default=(), repr=False)
    broken: int = 0
    dropped_images: int = 0
    dropped_videos: int = 0


def find_links(
    selector: Selector,
    page_url: str,
    *,
    max_links: int = 5_000,
    max_images: int = 5_000,
    max_videos: int = 100,
    on_image: OnImage = _nobody,
) -> PageLinks:
    """Read the links off a page.

    Args:
        selector: the parsed page.
        page_url: absolute URL that relative links are relative to, unless the page has a base.
        max_links: page links beyond it are left out.
        max_images: images beyond it are left out and counted.
        max_videos: the same of videos.
        on_image: see ``OnImage``; not told of images beyond the limit.
    """
    collector = _Collector(page_url, on_image, max_images=max_images)
    root = selector.root
    if hasattr(root, "iter"):
        collector.read_base(root)
        for element in root.iter():
            if isinstance(element.tag, str):  # not a comment or a processing instruction
                collector.read(element.tag.rpartition("}")[2].lower(), element)
    images = tuple(collector.images)
    videos = tuple(url for url in collector.videos if url not in collector.images)
    files = collector.images.keys() | collector.videos.keys()
    pages = tuple(url for url in collector.pages if url not in files)
    return PageLinks(
        page_urls=pages[:max_links],
        image_urls=images[:max_images],
        video_urls=videos[:max_videos],
        broken=collector.broken,
        dropped_images=max(0, len(images) - max_images),
        dropped_videos=max(0, len(videos) - max_videos),
    )


def is_image_url(url: str) -> bool:
    """Say whether a link looks as if it led to an image file."""
    return _ends_in(url, _IMAGE_SUFFIXES)


def is_video_url(url: str) -> bool:
    """Say whether a link looks as if it led to a video file."""
    return _ends_in(url, _VIDEO_SUFFIXES)


def _ends_in(url: str, suffixes: tuple[str, ...]) -> bool:
    try:
        return urlsplit(url).path.lower().endswith(suffixes)
    except ValueError:
        return False


def parse_srcset(text: str) -> Iterator[str]:
    """Yield the URLs of a ``srcset``, as the HTML standard splits it.

    A URL runs to the next white space, so that commas inside one (``data:``)
    do not split it. Invalid descriptors are skipped.
    """
    position, end = 0, len(text)
    while position < end:
        while position < end and text[position] in _HTML_SPACE + ",":
            position += 1
        start = position
        while position < end and text[position] not in _HTML_SPACE:
            position += 1
        url = text[start:position]
        if url.endswith(","):
            yield url.rstrip(",")
            continue
        if url:
            yield url
        depth = 0
        while position < end and (depth or text[position] != ","):
            depth += {"(": 1, ")": -1 if depth else 0}.get(text[position], 0)
            position += 1


def _is_sound(element: Any) -> bool:  # noqa: ANN401 - lxml has no types
    """Say whether a <source> is one of sound alone, by what it stands in or by its type."""
    parent = element.getparent()
    inside = parent.tag if parent is not None and isinstance(parent.tag, str) else ""
    kind = (element.attrib.get("type") or "").strip().lower()
    return inside.lower() == "audio" or kind.startswith("audio/")


class _Collector:
    """Gathers the links of one page."""

    def __init__(self, page_url: str, on_image: OnImage, *, max_images: int) -> None:
        self._base = page_url
        self._on_image = on_image
        self._max_images = max_images
        self._place: tuple[str, Any] = ("", None)
        self.pages: dict[str, None] = {}
        self.images: dict[str, None] = {}
        self.videos: dict[str, None] = {}
        self.broken = 0

    def read_base(self, root: Any) -> None:  # noqa: ANN401 - lxml has no types
        """Take the first <base href>, if it can be joined."""
        for base in root.iter("base"):
            href = (base.get("href") or "").strip(_HTML_SPACE)
            if not href:
                continue
            try:
                self._base = canonical_url(urljoin(self._base, href))
            except (InvalidUrlError, ValueError):
                self.broken += 1
            return

    def read(self, tag: str, element: Any) -> None:  # noqa: ANN401, C901 - lxml; one branch a kind of tag
        """Take the links of one element."""
        attributes = element.attrib
        self._place = (tag, element)
        if tag in _IMAGE_TAGS:
            self._add_images(
                attributes, *_LAZY, "href", "xlink:href", "{http://www.w3.org/1999/xlink}href"
            )
            self._add_sets(attributes)
        elif tag == "source":
            self._read_source(element)
        elif tag in {"a", "area"}:
            self._add_page(attributes.get("href"))
        elif tag in {"iframe", "frame"}:
            self._add_page(attributes.get("src"))
        elif tag == "meta":
            self._read_meta(attributes)
        elif tag == "link":
            self._read_link(attributes)
        elif tag in _VIDEO_TAGS:
            self._add_images(attributes, "poster", "data-poster")
            self._add_videos(attributes, "src", "data-src")
        elif tag == "input" and (attributes.get("type") or "").strip().lower() == "image":
            self._add_images(attributes, "src")
        if "style" in attributes and "url(" in attributes["style"].lower():
            for found in _CSS_URL.finditer(attributes["style"]):
                self._add_image(next(filter(None, found.groups()), ""))
        if "data-bg" in attributes:
            self._add_images(attributes, "data-bg")

    def _read_source(self, element: Any) -> None:  # noqa: ANN401 - lxml has no types
        self._add_sets(element.attrib)
        if not _is_sound(element):
            self._add_videos(element.attrib, "src", "data-src")

    def _read_meta(self, attributes: Any) -> None:  # noqa: ANN401 - lxml has no types
        name = (attributes.get("property") or attributes.get("name") or "").strip().lower()
        if name in _IMAGE_METAS:
            self._add_images(attributes, "content")
        elif name in _VIDEO_METAS:
            self._add_videos(attributes, "content")

    def _read_link(self, attributes: Any) -> None:  # noqa: ANN401 - lxml has no types
        words = (attributes.get("rel") or "").lower().split()
        kind = (attributes.get("as") or "").lower()
        if "image_src" in words or ("preload" in words and kind == "image"):
            self._add_images(attributes, "href")
        elif "video_src" in words or ("preload" in words and kind == "video"):
            self._add_videos(attributes, "href")

    def _add_images(self, attributes: Any, *names: str) -> None:  # noqa: ANN401 - lxml has no types
        for name in names:
            self._add_image(attributes.get(name))

    def _add_sets(self, attributes: Any) -> None:  # noqa: ANN401 - lxml has no types
        for name in _SETS:
            for url in parse_srcset(attributes.get(name) or ""):
                self._add_image(url)

    def _add_image(self, link: str | None) -> None:
        link = (link or "").strip(_HTML_SPACE)
        if link[: len(DATA_IMAGE)].lower() == DATA_IMAGE:
            self._note_image(link)
        elif url := self._join(link):
            self._note_image(url)

    def _note_image(self, url: str) -> None:
        self.images[url] = None
        if len(self.images) <= self._max_images:
            self._on_image(url, *self._place)

    def _add_videos(self, attributes: Any, *names: str) -> None:  # noqa: ANN401 - lxml has no types
        for name in names:
            link = (attributes.get(name) or "").strip(_HTML_SPACE)
            if link[: len(DATA_IMAGE)].lower() == DATA_IMAGE:
                self.videos[link] = None
            elif url := self._join(link):
                self.videos[url] = None

    def _add_page(self, link: str | None) -> None:
        url = self._join((link or "").strip(_HTML_SPACE))
        if not url:
            return
        if is_image_url(url):
            self._note_image(url)
        elif is_video_url(url):
            self.videos[url] = None
        else:
            self.pages[url] = None

    def _join(self, link: str) -> str | None:
        if not link or link.startswith("#"):
            return None
        link = _LINE_BREAKS.sub("", link)
        if "\\" in link:  # which browsers read as a slash, but for query and fragment
            place = _PLACE.match(link)[0]  # type: ignore[index] # it matches anything
            link = place.replace("\\", "/") + link[len(place) :]
        if _SCHEME.match(link) and not link.lower().startswith(("http:", "https:")):
            return None  # mailto:, javascript:, blob:
        try:
            url = canonical_url(urljoin(self._base, link))
        except (InvalidUrlError, ValueError):
            self.broken += 1
            return None
        if len(url) > MAX_URL_CHARS:
            self.broken += 1
            return None
        return url
