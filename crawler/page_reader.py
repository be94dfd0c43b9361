"""What a page says of itself and of its images, as codes (``PageMark``); its words are let go.

Nothing is asked for beyond the page that was parsed anyway. A page is written by whoever it may
speak against, so nothing is believed and everything is bounded: lengths of texts, counts of
elements, and characters looked at in all. It never raises.

(1) The label for adults: ``Rating`` as header or ``<meta>``, PICS labels of ICRA, schema.org's
    ``isFamilyFriendly``.
(2) Words that name the abuse: in title, headings and address of the page; in what is written
    about one image. A word that speaks of one image is not said of the others.
(3) What the page is: a news article or an article, by schema.org and Open Graph. Where a page
    lists several articles, it is none.
(4) What an image is on it: the article's own picture, a logo or an icon.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from crawler.abuse_words import MAX_TEXT_CHARS, abuse_words
from crawler.linked_data import (
    ARTICLES,
    MAX_JSON_CHARS,
    NEWS,
    addresses_of,
    named_types,
    nodes_of,
    types_of,
)
from indexer.model import PageMark

MAX_IMAGES = 5_000
"""Images of one page that are looked at."""
MAX_TEXT_IN_ALL = 200_000
"""Characters of texts about images that are looked at on one page."""
MAX_ELEMENTS = 500
"""``<meta>``, ``itemtype`` and headings of one page, of each."""

_ICRA = re.compile(r"\b[ns][a-h] 1\b")
"""ICRA's vocabulary: nudity and sexual material of any kind that is there."""
_MAX_VALUE = 4_096
_RTA = "rta-5042-1996-1400-1577-rta"
_RATINGS = frozenset({"adult", "mature", "restricted", _RTA})
_DECORATION = frozenset({"logo", "logos", "icon", "icons", "favicon", "sprite", "sprites"})
_SMALL_PX = 48
_ABOUT = ("alt", "title", "aria-label")
_UP = 6
"""How far up the link and the figure around an image are looked for."""
_MOST_PIECES = 64
"""Elements in a link, a heading or a caption whose text is put together."""
_FALSE = frozenset({"false", "no", "0", "http://schema.org/false", "https://schema.org/false"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageContext:
    """What was read off one page.

    Attributes:
        page: what holds for the page.
        images: what it says of single images beside that, by URL as ``find_links`` gives it.
    """

    page: frozenset[PageMark] = frozenset()
    images: dict[str, frozenset[PageMark]] = field(default_factory=dict, repr=False)

    def of(self, image_url: str) -> frozenset[PageMark]:
        """Return all marks of an image on this page."""
        return self.page | self.images.get(image_url, frozenset())


class PageReader:
    """Reads one page: ``see`` for each place of an image, then ``finish``."""

    def __init__(self, page_url: str, *, ratings: tuple[str, ...] = ()) -> None:
        """Begin with a page.

        Args:
            ratings: values of its HTTP header ``Rating``.
        """
        self._url = page_url
        self._ratings = ratings
        self._page: set[PageMark] = set()
        self._images: dict[str, set[PageMark]] = {}
        self._shown: set[str] = set()
        self._decorating: set[str] = set()
        self._lead: set[str] = set()
        self._news = 0
        self._articles = 0
        self._left = MAX_TEXT_IN_ALL

    def see(self, url: str, tag: str, element: Any) -> None:  # noqa: ANN401 - lxml has no types
        """Take in one place at which the page names an image."""
        if url not in self._images and len(self._images) >= MAX_IMAGES:
            return
        marks = self._images.setdefault(url, set())
        if _is_lead(tag, element):
            self._lead.add(url)
        if tag in {"img", "amp-img"}:
            (self._decorating if _decorates(url, element) else self._shown).add(url)
        if PageMark.IMAGE_WORDS not in marks and any(map(self._names_abuse, _about(url, element))):
            marks.add(PageMark.IMAGE_WORDS)  # (2)

    def finish(self, root: Any) -> PageContext:  # noqa: ANN401 - lxml has no types
        """Read what holds for the whole page, and put both together."""
        for value in self._ratings:
            self._rate(value)
        if hasattr(root, "iter"):
            self._read_metas(root)
            self._read_texts(root)
            self._read_types(root)
            self._read_data(root)
        if self._news == 1:  # (3)
            self._page.add(PageMark.NEWS)
        elif self._articles == 1:
            self._page.add(PageMark.ARTICLE)
        for url in self._decorating - self._shown:  # (4)
            self._images[url].add(PageMark.DECORATION)
        for url in self._lead if self._news == 1 else ():
            if url in self._images:
                self._images[url].add(PageMark.NEWS_IMAGE)
        images = {url: frozenset(marks) for url, marks in self._images.items() if marks}
        return PageContext(page=frozenset(self._page), images=images)

    def _names_abuse(self, text: str) -> bool:
        self._left -= min(len(text), MAX_TEXT_CHARS)
        return self._left >= 0 and abuse_words().name_abuse(text)

    def _rate(self, value: str) -> None:  # (1)
        if value[:_MAX_VALUE].strip().lower() in _RATINGS:
            self._page.add(PageMark.ADULT)

    def _read_metas(self, root: Any) -> None:  # noqa: ANN401 - lxml has no types
        for meta in islice(root.iter("meta"), MAX_ELEMENTS):
            name = _name_of(meta)
            value = (meta.get("content") or "")[:_MAX_VALUE]
            if name == "rating":
                self._rate(value)
            elif name == "pics-label":
                by_icra = "icra.org" in value.lower() and _ICRA.search(value)
                if by_icra or _RTA in value.lower():
                    self._page.add(PageMark.ADULT)
            elif name == "isfamilyfriendly" and value.strip().lower() in _FALSE:
                self._page.add(PageMark.ADULT)
            elif name == "og:type" and value.strip().lower() == "article":
                self._articles = max(1, self._articles)
            elif name in {"og:title", "twitter:title"}:
                self._read_text(value)

    def _read_texts(self, root: Any) -> None:  # (2)  # noqa: ANN401 - lxml has no types
        for element in islice(root.iter("title", "h1"), 10):
            self._read_text(_text_of(element))
        self._read_text(_address_text(self._url))

    def _read_text(self, text: str) -> None:
        if abuse_words().name_abuse(text):
            self._page.add(PageMark.ABUSE_WORDS)

    def _read_types(self, root: Any) -> None:  # noqa: ANN401 - lxml has no types
        found: list[str] = []
        for value in root.xpath(f"(//@itemtype)[position() <= {MAX_ELEMENTS}]"):
            found += named_types(str(value))
        self._count(found)

    def _read_data(self, root: Any) -> None:  # noqa: ANN401 - lxml has no types
        left, types = MAX_JSON_CHARS, list[str]()
        for script in islice(root.iter("script"), MAX_ELEMENTS):
            text = script.text or ""
            if "ld+json" not in (script.get("type") or "").lower() or len(text) > left:
                continue
            left -= len(text)
            nodes = list(islice(nodes_of(text), MAX_ELEMENTS))
            for node in nodes:
                types += types_of(node)
                self._read_node(node)
        self._count(types)

    def _read_node(self, node: dict[str, Any]) -> None:
        if str(node.get("isFamilyFriendly", "")).strip().lower() in _FALSE:
            self._page.add(PageMark.ADULT)
        if not NEWS.isdisjoint(types_of(node)):
            self._lead.update(addresses_of(node.get("image"), self._url))
        publisher = node.get("publisher")
        logo = publisher.get("logo") if isinstance(publisher, dict) else node.get("logo")
        logos = addresses_of(logo, self._url)
        self._decorating.update(url for url in logos if url in self._images)

    def _count(self, types: list[str]) -> None:
        """Count articles; one that a page names in two ways is one."""
        news = sum(name in NEWS for name in types)
        self._news = max(self._news, news)
        self._articles = max(self._articles, news + sum(name in ARTICLES for name in types))


def _name_of(meta: Any) -> str:  # noqa: ANN401 - lxml has no types
    for key in ("name", "http-equiv", "property", "itemprop"):
        if value := meta.get(key):
            return str(value)[:_MAX_VALUE].strip().lower()
    return ""


def _is_lead(tag: str, element: Any) -> bool:  # noqa: ANN401 - lxml has no types
    """Say whether the page names the image as its own: for previews, or by schema.org."""
    if tag == "link":
        return "image_src" in (element.get("rel") or "").lower().split()
    return tag == "meta" or element.get("itemprop") == "image"


def _about(url: str, element: Any) -> Iterator[str]:  # noqa: ANN401 - lxml has no types
    """Yield what is written about an image: by itself, its link, its figure, its address."""
    yield from _values(element)
    around = element
    for _ in range(_UP):
        tag = around.tag.lower() if isinstance(around.tag, str) else ""
        if tag == "a":
            yield from _values(around)
            yield _text_of(around)
        elif tag == "figure":
            captions = (part for part in islice(around, _MOST_PIECES) if part.tag == "figcaption")
            yield from map(_text_of, islice(captions, 1))
        around = around.getparent()
        if around is None:
            break
    if not url.startswith("data:"):
        yield _address_text(url)


def _values(element: Any) -> Iterator[str]:  # noqa: ANN401 - lxml has no types
    for name in _ABOUT:
        if value := element.get(name):
            yield value[:MAX_TEXT_CHARS]


def _text_of(element: Any) -> str:  # noqa: ANN401 - lxml has no types
    # Not itertext(): a million elements without text would all be walked, for every image anew.
    pieces = [(element.text or "")[:MAX_TEXT_CHARS]]
    for inner in islice(element.iterdescendants(), _MOST_PIECES):
        text = inner.text if isinstance(inner.tag, str) else ""
        pieces += [(text or "")[:MAX_TEXT_CHARS], (inner.tail or "")[:MAX_TEXT_CHARS]]
    return "".join(pieces)[:MAX_TEXT_CHARS]


def _address_text(url: str) -> str:
    """Return the words of an address: its path and query, unescaped; the host names no page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote_plus(f"{parts.path} {parts.query}"[: 3 * MAX_TEXT_CHARS])


def _decorates(url: str, element: Any) -> bool:  # noqa: ANN401 - lxml has no types
    """Say whether an image is shown as a logo or an icon: by its names or its size."""
    said = [element.get(name) or "" for name in ("class", "id", "itemprop")]
    said.append("" if url.startswith("data:") else url.rpartition("/")[2])
    words = re.split(r"[^a-z]+", " ".join(text[:MAX_TEXT_CHARS] for text in said).lower())
    if not _DECORATION.isdisjoint(words):
        return True
    sides = [(element.get(name) or "").strip().removesuffix("px") for name in ("width", "height")]
    return all(side.isdecimal() and len(side) < 4 and int(side) <= _SMALL_PX for side in sides)  # noqa: PLR2004
