"""schema.org on a page: what kind of thing the page says it is, and which images are its own.

JSON-LD and the types of microdata, as far as ``crawler.page_reader`` asks. Pages write what they
like here: everything is bounded, and nothing raises.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urljoin

from indexer.errors import InvalidUrlError
from indexer.url import canonical_url

MAX_JSON_CHARS = 500_000
"""Of all blocks of one page together."""
NEWS = frozenset(
    {
        "newsarticle",
        "analysisnewsarticle",
        "askpublicnewsarticle",
        "backgroundnewsarticle",
        "opinionnewsarticle",
        "reportagenewsarticle",
        "reviewnewsarticle",
    }
)
"""schema.org's ``NewsArticle`` and the kinds of it, in lower case."""
ARTICLES = frozenset({"article", "blogposting", "socialmediaposting", "liveblogposting", "report"})

_TYPE = re.compile(r"https?://schema\.org/(\w+)", re.IGNORECASE)
_MOST = 500
_MOST_TYPES = 16
_MAX_CHARS = 4_096


def named_types(itemtype: str) -> list[str]:
    """List the types that an ``itemtype`` of microdata names, in lower case."""
    return [name.lower() for name in _TYPE.findall(itemtype[:_MAX_CHARS])[:_MOST_TYPES]]


def nodes_of(text: str) -> Iterator[dict[str, Any]]:
    """Yield what a block of JSON-LD says of the page itself, not of what it links to.

    That is the objects at its top, in their ``@graph``, and their ``mainEntity``.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return
    for entry in _as_list(data):
        if isinstance(entry, dict):
            yield entry
            for node in _as_list(entry.get("@graph", entry.get("mainEntity"))):
                if isinstance(node, dict):
                    yield node


def types_of(node: dict[str, Any]) -> list[str]:
    """List the types of an object, in lower case and without their vocabulary."""
    names = _as_list(node.get("@type"))[:_MOST_TYPES]
    return [name[:_MAX_CHARS].rpartition("/")[2].lower() for name in names if isinstance(name, str)]


def addresses_of(value: object, page_url: str) -> Iterator[str]:
    """Yield the canonical URLs of images: an address, an ``ImageObject``, or a list of either."""
    for entry in _as_list(value):
        parts = [entry.get("url"), entry.get("contentUrl")] if isinstance(entry, dict) else [entry]
        for link in parts:
            if isinstance(link, str) and len(link) <= _MAX_CHARS:
                try:
                    yield canonical_url(urljoin(page_url, link))
                except (InvalidUrlError, ValueError):
                    continue


def _as_list(value: object) -> list[Any]:
    return list(islice(value, _MOST)) if isinstance(value, list) else [value]
