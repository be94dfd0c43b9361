"""What lies on the frontier: URLs to be visited, and the pages on which images were found.

Both are written as MessagePack arrays and sealed before they leave the machine.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from crawler.errors import FrontierError
from crawler.places import Place
from indexer.model import PageMark
from indexer.url import host_of, url_key


class Kind(StrEnum):
    """What is expected at a URL; one letter, by which Redis counts pages and sitemaps."""

    PAGE = "p"
    IMAGE = "i"
    VIDEO = "v"
    SITEMAP = "s"
    ROBOTS = "r"
    """A robots.txt that is read for the sitemaps that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One URL to be visited.

    Attributes:
        links_left: page links that may be followed from here.
        from_page: the page that linked to it; of an image: none, its places say it.
        is_seed: whether somebody named it; what a seed redirects to is visited too.
        optional: a sitemap that was only worth a try.
    """

    url: str = field(repr=False)
    kind: Kind
    links_left: int = 0
    from_page: str | None = field(default=None, repr=False)
    is_seed: bool = False
    optional: bool = False

    @property
    def key(self) -> bytes:
        """Return the key by which it is known."""
        return key_of(self.kind, self.url)

    @property
    def host(self) -> str:
        """Return whose turn it is: machines keep one pace for each."""
        return host_of(self.url)

    @property
    def order(self) -> str:
        """Return where it stands among those of its host, three digits: breadth first."""
        if self.kind in {Kind.SITEMAP, Kind.ROBOTS}:
            return "000"
        if self.kind is not Kind.PAGE:
            return "001"
        return f"{998 - min(self.links_left, 900):03d}"


def key_of(kind: Kind, url: str) -> bytes:
    """Return the key by which a URL is known: one as an image, another as anything else.

    Else a page that is named as an image somewhere would never be visited as a page.
    """
    return (b"i" if kind in {Kind.IMAGE, Kind.VIDEO} else b"p") + url_key(url)


class _Task(msgspec.Struct, array_like=True):
    url: str
    kind: Kind
    links_left: int
    from_page: str | None
    is_seed: bool
    optional: bool


class _Place(msgspec.Struct, array_like=True):
    page_url: str | None
    marks: list[PageMark] | None


_encoder = msgspec.msgpack.Encoder()
_tasks = msgspec.msgpack.Decoder(_Task)
_places = msgspec.msgpack.Decoder(_Place)


def write_task(task: Task) -> bytes:
    """Write a task."""
    told = _Task(task.url, task.kind, task.links_left, task.from_page, task.is_seed, task.optional)
    return _encoder.encode(told)


def read_task(raw: bytes) -> Task:
    """Read a task.

    Raises:
        FrontierError: it was written by another version.
    """
    try:
        told = _tasks.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise FrontierError("the frontier holds what this version cannot read") from None
    return Task(
        url=told.url,
        kind=told.kind,
        links_left=told.links_left,
        from_page=told.from_page,
        is_seed=told.is_seed,
        optional=told.optional,
    )


def write_place(place: Place) -> bytes:
    """Write a place."""
    return _encoder.encode(
        _Place(place.page_url, None if place.marks is None else sorted(place.marks))
    )


def read_place(raw: bytes) -> Place:
    """Read a place; errors as ``read_task``."""
    try:
        told = _places.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise FrontierError("the frontier holds what this version cannot read") from None
    return Place(told.page_url, None if told.marks is None else frozenset(told.marks))
