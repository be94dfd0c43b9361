"""Finding cases by what a person has in hand: a case id, a host, or an address.

An address is looked up by its key; it is written nowhere. That somebody searched is on record,
and for what kind of thing, not for what.
"""

from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from delist.errors import UsageError
from delist.model import Case
from delist.review.deciding import checked_actor
from delist.sites import site_of
from delist.store import Database, audit, cases
from indexer.errors import InvalidUrlError
from indexer.store import Store
from indexer.url import canonical_url, url_key

_MOST_TEXT, _MOST = 8_000, 200


class Kind(StrEnum):
    """What was searched for."""

    CASE = "case"
    ADDRESS = "address"
    HOST = "host"


def find(
    store: Store, database: Database, text: str, *, actor: str, now: datetime
) -> tuple[Kind, list[Case]]:
    """Find cases by their id, the address of their image, or their site.

    Defanged addresses are read too. A site is the registrable domain: of a host, all its images.

    Raises:
        UsageError: nothing, or too much, to search for.
    """
    actor, text = checked_actor(actor), _refanged(text.strip())
    if not 0 < len(text) <= _MOST_TEXT or not text.isprintable():
        raise UsageError("a case id, an address or a host is needed")
    with database.write() as connection:
        case = cases.find(connection, text)
        if case is not None:
            kind, found = Kind.CASE, [case]
        elif "://" in text:
            kind = Kind.ADDRESS
            with store.read() as txn:
                address = _canonical(text)
                image = store.images.find_by_url(txn, address)
            key = image.key if image is not None else url_key(address)
            held = cases.find_by_image(connection, key.hex())
            found = [held] if held is not None else []
        else:
            kind = Kind.HOST
            site = site_of(_canonical(f"https://{text}/"))
            found = cases.on_site(connection, site, limit=_MOST)
        audit.append(
            connection,
            actor=actor,
            act="case.searched",
            subject=found[0].id if kind is Kind.CASE else "",
            now=now,
            detail={"by": kind.value, "found": len(found)},
        )
    return kind, found


def _canonical(text: str) -> str:
    try:
        return canonical_url(text)
    except InvalidUrlError:
        raise UsageError("that is no case id, no address and no host") from None


def _refanged(text: str) -> str:
    """Read an address that was written so that it does not open."""
    if text.lower().startswith("hxxp"):
        text = "http" + text[4:]
    text = text.replace("[.]", ".")
    try:
        urlsplit(text)
    except ValueError:
        raise UsageError("that is no case id, no address and no host") from None
    return text
