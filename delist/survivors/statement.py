"""A report as somebody wrote it: what the law asks for, and what is to be looked at.

The parts of a valid request (TAKE IT DOWN Act, 47 USC 223a): a signature, what identifies the
depiction and where it is, a statement of good faith that it was published without consent,
and contact information.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from delist.direct import ReportedHash, parse_hash
from delist.errors import FormError, UsageError
from indexer.errors import InvalidDigestError, InvalidUrlError
from indexer.hashing.corroboration import parse_corroborating
from indexer.match import FEED_KIND_PDQ
from indexer.url import canonical_url, host_of

MOST_PICTURES, MOST_ADDRESSES = 10, 10
MOST_NAME, MOST_CONTACT, MOST_DETAILS, MOST_URL = 200, 300, 4_000, 2_000

_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+\.?|\[[0-9a-f:.]+\]|[0-9a-f:]+", re.ASCII)
_TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


class Role(StrEnum):
    """Who reports."""

    SELF = "self"
    BEHALF = "behalf"
    """Somebody whom the person shown has asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The fields of the form, as they came.

    Attributes:
        pictures: ``PDQ:second`` in hexadecimal digits, one for each picture.
        addresses: one a line.
    """

    role: str = ""
    pictures: Sequence[str] = field(default=(), repr=False)
    addresses: str = field(default="", repr=False)
    details: str = field(default="", repr=False)
    good_faith: bool = False
    contact: str = field(default="", repr=False)
    name: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A report that has everything it needs.

    Attributes:
        addresses: canonical.
        name: the signature, as it was typed.
    """

    role: Role
    pictures: tuple[ReportedHash, ...] = field(repr=False)
    addresses: tuple[str, ...] = field(repr=False)
    details: str = field(repr=False)
    contact: str = field(repr=False)
    name: str = field(repr=False)


def check(written: Written) -> Statement:
    """Read a form.

    Raises:
        FormError: names every field that is not as it should be.
    """
    wrong: dict[str, str] = {}
    pictures, addresses = _pictures(written, wrong), _addresses(written, wrong)
    if not pictures and not addresses and not wrong:
        wrong["what"] = "nothing_to_look_at"
    if written.role not in set(Role):
        wrong["role"] = "choose"
    if not written.good_faith:
        wrong["good_faith"] = "needed"
    contact = _text(written.contact, "contact", MOST_CONTACT, wrong)
    name = _text(written.name, "name", MOST_NAME, wrong)
    details = _text(written.details, "details", MOST_DETAILS, wrong, lines=True)
    if wrong:
        raise FormError(wrong)
    return Statement(
        role=Role(written.role),
        pictures=pictures,
        addresses=addresses,
        details=details,
        contact=contact,
        name=name,
    )


def read_picture(text: str) -> ReportedHash:
    """Read ``PDQ:second``, the hashes that a browser made of one picture.

    Raises:
        UsageError: they are not that, or say too little; what was given is not repeated.
    """
    digest, _, second = text.strip().partition(":")
    try:
        found = parse_hash(digest)
        corroborating = parse_corroborating(second) if second else None
    except InvalidDigestError:
        raise UsageError("not the hashes of a picture") from None
    if found.kind != FEED_KIND_PDQ:
        raise UsageError("not the hash of a picture")
    return replace(found, second=corroborating)


def read_address(text: str) -> str:
    """Read an address as people copy it: many browsers leave ``https://`` away.

    Raises:
        InvalidUrlError: it is none of a public website.
    """
    text = text.strip()
    url = canonical_url(text if "://" in text else f"https://{text}")
    if not _HOST.fullmatch(host_of(url)):
        raise InvalidUrlError("not the name of a host")
    return url


def _pictures(written: Written, wrong: dict[str, str]) -> tuple[ReportedHash, ...]:
    given = [text for text in written.pictures if text.strip()]
    if len(given) > MOST_PICTURES:
        wrong["pictures"] = "too_many"
        return ()
    try:
        return tuple(dict.fromkeys(map(read_picture, given)))
    except UsageError:
        wrong["pictures"] = "not_a_picture"
        return ()


def _addresses(written: Written, wrong: dict[str, str]) -> tuple[str, ...]:
    lines = [line.strip() for line in written.addresses.splitlines() if line.strip()]
    if len(lines) > MOST_ADDRESSES:
        wrong["addresses"] = "too_many"
        return ()
    if any(len(line) > MOST_URL for line in lines):
        wrong["addresses"] = "too_long"
        return ()
    try:
        return tuple(dict.fromkeys(map(read_address, lines)))
    except InvalidUrlError:
        wrong["addresses"] = "not_an_address"
        return ()


def _text(
    given: str, name: str, longest: int, wrong: dict[str, str], *, lines: bool = False
) -> str:
    """Trim what somebody wrote. Signs that turn the direction of a text could mislead a reader."""
    text = given.replace("\r\n", "\n").translate(_TURNING).strip()
    if not text and not lines:
        wrong[name] = "needed"
    elif len(text) > longest:
        wrong[name] = "too_long"
    elif any(_is_odd(sign) and not (lines and sign in "\n\t") for sign in text):
        wrong[name] = "not_plain"
    return text


def _is_odd(sign: str) -> bool:
    """Find control characters and halves of pairs; joiners, which Urdu needs, are text."""
    return unicodedata.category(sign) in {"Cc", "Cs"}


def as_document(statement: Statement) -> Mapping[str, object]:
    """Turn a statement into JSON values, without its pictures."""
    return {
        "role": statement.role.value,
        "addresses": list(statement.addresses),
        "details": statement.details,
        "contact": statement.contact,
        "name": statement.name,
    }
