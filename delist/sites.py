"""Which site an address belongs to: what somebody can register, after the public suffix list.

``a.blog.example.co.uk`` and ``www.example.co.uk`` are one site; two blogs under
``blogspot.com`` are two, since the list's private part counts. The list is the one that comes
with tldextract; nothing is fetched.
"""

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from indexer.url import host_of

if TYPE_CHECKING:
    from tldextract import TLDExtract

_LONGEST = 255


@cache
def _extract() -> "TLDExtract":
    from tldextract import TLDExtract  # noqa: PLC0415 - brings an HTTP client, which we never use

    return TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


def site_of(url: str) -> str:
    """Return the site of a canonical http(s) URL: its registrable domain, or its host."""
    host = host_of(url)
    return (_extract()(host).top_domain_under_public_suffix or host)[:_LONGEST]


def place_of(url: str) -> str:
    """Return the folder of a canonical URL on its site: the first part of its path.

    A repeat offender on a site of many users is one of them, not the site.
    """
    parts = urlsplit(url)
    first = parts.path.removeprefix("/").partition("/")
    folder = first[0] if first[1] else ""
    return f"{host_of(url)}/{folder}"
