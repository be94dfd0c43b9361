"""Whether somebody controls a site: a token that they were given, found on the site itself.

What is fetched is a stranger's choice of address, so every request is guarded (``fetching``).
Redirects are followed by hand, each guarded the same way; they stay on the site, on the port that
was asked or a default one, and never go from https back to http.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from delist.errors import FetchError, ProofError
from delist.fetching import OK, REDIRECTS, FetchLimits, GuardedFetch, Resolve, resolve_name
from delist.sites import site_of
from indexer.deadline import Deadline
from indexer.errors import InvalidUrlError
from indexer.url import canonical_url, host_of

FILE_PATH = "/.well-known/delist-appeal.txt"
META_NAME = "delist-appeal"

_MAX_FILE_BYTES = 16 * 1024
_MAX_PAGE_BYTES = 256 * 1024
_MAX_REDIRECTS = 5
_MAX_TOKENS = 100
_LIMITS = FetchLimits()
_IN_HEAD = frozenset({"html", "head", "base", "link", "meta"})
_TEXT_IN_HEAD = frozenset({"title", "style", "script", "noscript", "template"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a token was found.

    Attributes:
        method: ``file`` or ``meta``.
        authority: host that it was found on, with a port that is not the default one.
    """

    method: str
    authority: str


class SiteFetch(GuardedFetch):
    """Fetches small answers from sites that strangers name."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve = resolve_name,
        limits: FetchLimits = _LIMITS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Set up what every request follows; see ``GuardedFetch``."""
        super().__init__(
            user_agent="delist-appeal",
            allow_private=allow_private,
            resolve=resolve,
            limits=limits,
            tls=tls,
        )

    def get(self, url: str, *, max_bytes: int) -> tuple[str, bytes]:
        """Fetch content type and the first bytes of what a URL answers with status 200.

        Raises:
            ProofError: anything else; says what, and names no address.
        """
        first = url
        with Deadline(self.limits.deadline_s) as deadline:
            for _ in range(_MAX_REDIRECTS + 1):
                try:
                    response, body = self.ask(url, max_bytes=max_bytes, deadline=deadline)
                except FetchError as error:
                    raise ProofError(str(error)) from None
                if response.status_code == OK:
                    kind = response.headers.get("content-type", "").partition(";")[0]
                    return kind.strip().lower(), body
                if response.status_code not in REDIRECTS:
                    raise ProofError(f"answered {response.status_code}")
                url = _next_url(first, url, response.headers.get("location", ""))
        raise ProofError("too many redirects")


def find_proof(image_url: str, is_token: Callable[[str], bool], fetch: SiteFetch) -> Found:
    """Look for a token in every place where it would prove control of an image's site.

    Args:
        image_url: canonical.
        is_token: whether a text is the token.
        fetch: how places are looked at.

    Raises:
        ProofError: it is nowhere; says what each place answered.
    """
    failures = []
    for origin in _origins(image_url):
        where = f"{urlsplit(origin).scheme}"
        if authority_of(origin) != authority_of(image_url):
            where += ", whole site"
        for method, url, max_bytes in (
            ("file", origin + FILE_PATH, _MAX_FILE_BYTES),
            ("meta", origin + "/", _MAX_PAGE_BYTES),
        ):
            try:
                kind, body = fetch.get(url, max_bytes=max_bytes)
            except ProofError as error:
                failures.append(f"{method} ({where}): {error}")
                continue
            text = body.decode("utf-8", "replace")
            offered = _lines(kind, text) if method == "file" else _metas(text)
            if any(is_token(word) for word, _ in zip(offered, range(_MAX_TOKENS), strict=False)):
                return Found(method=method, authority=authority_of(origin))
            failures.append(f"{method} ({where}): does not hold the token")
    raise ProofError("no proof of control was found: " + "; ".join(failures))


def places(image_url: str) -> list[str]:
    """List the addresses at which a token proves control, the file's and the front page's."""
    return [origin + path for origin in _origins(image_url) for path in (FILE_PATH, "/")]


def authority_of(url: str) -> str:
    """Return the host of a canonical URL, with a port that is not the default one."""
    return urlsplit(url).netloc.rpartition("@")[2]


def is_covered(url: str, authority: str) -> bool:
    """Say whether proof on a host counts for a canonical URL: the same host, or its site."""
    return authority in {authority_of(url), site_of(url)}


def _origins(image_url: str) -> list[str]:
    """List where a token counts: the image's own host, then its whole site."""
    scheme, authority = urlsplit(image_url).scheme, authority_of(image_url)
    host, site = host_of(image_url), site_of(image_url)
    found = []
    if urlsplit(image_url).port is not None:
        found.append(f"{scheme}://{authority}")
    else:
        found.append(f"https://{authority}")
        if scheme == "http":
            found.append(f"http://{authority}")
    if site != host:
        found.append(f"https://{site}")
    return found


def _next_url(first: str, url: str, location: str) -> str:
    """Follow a redirect, if it may be followed."""
    try:
        target = canonical_url(urljoin(url, location)) if location else ""
    except (InvalidUrlError, ValueError):
        target = ""
    if not target:
        raise ProofError("a redirect leads nowhere")
    start, end = urlsplit(first), urlsplit(target)
    if site_of(target) != site_of(first):
        raise ProofError("a redirect leads to another site")
    if end.port not in {None, start.port}:
        raise ProofError("a redirect leads to another port")
    if urlsplit(url).scheme == "https" and end.scheme != "https":
        raise ProofError("a redirect leads from https to http")
    return target


def _lines(kind: str, text: str) -> Iterator[str]:
    # Pages, on which others may write, are no proof in the file's place.
    if "html" not in kind:
        yield from (line.strip() for line in text.splitlines())


def _metas(text: str) -> list[str]:
    reader = _HeadReader()
    # The standard library's reader gives up on some declarations that HTML does not know, with
    # an AssertionError; what came before counts.
    with suppress(AssertionError):
        reader.feed(text)
    return reader.contents


class _HeadReader(HTMLParser):
    """Reads ``<meta name="delist-appeal">`` in a page's head; what others write is in the body."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: list[str] = []
        self._within = ""
        self._over = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._over or self._within:
            return
        if tag in _TEXT_IN_HEAD:
            self._within = tag
        elif tag not in _IN_HEAD:
            self._over = True
        elif tag == "meta":
            values = {name: value or "" for name, value in reversed(attrs)}
            if values.get("name", "").strip().lower() == META_NAME:
                self.contents.append(values.get("content", "").strip())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # HTML knows no such elements: the slash means nothing.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._within:
            self._within = ""
        elif tag == "head" and not self._within:
            self._over = True

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._within:
            # Text begins the body, with or without a tag.
            self._over = True
