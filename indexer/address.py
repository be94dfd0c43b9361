"""The guard against addresses that are not on the public internet.

A page may name any host, and so may a redirect or a DNS answer. Fetching from
this machine, its network or its cloud's metadata service because a page asked
for it would let the page reach what only we can reach (SSRF). Pure: nothing is
resolved here. Whoever connects checks the host as it is written
(``check_host``) and the very address it then connects to (``is_public``), so
that a name cannot change its meaning between check and use.
"""

import re
import unicodedata
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from urllib.parse import unquote

from indexer.errors import AddressRefusedError

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_DOCUMENTATION = IPv6Network("3fff::/20")  # RFC 9637; unknown to Python 3.11
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4_PARTS = 4
_LAST_LABEL_IS_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)\Z")


def is_public(address: str) -> bool:
    """Say whether a literal IP address is reachable on the public internet.

    IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4) are as public as
    the address they carry. Text that is no address is not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return _is_public(parsed)


def check_host(host: str) -> None:
    """Refuse a host, as written in a URL, that names an address which is not public.

    Reads what resolvers read: ``2130706433``, ``0x7f.1``, ``127.1``, full-width
    digits, brackets, a trailing dot. A name passes, except ``localhost`` and
    those below it; what it resolves to is for ``is_public``.

    Raises:
        AddressRefusedError: empty, unreadable, or not public.
    """
    name = _plain(host)
    if not name:
        raise AddressRefusedError("the URL names no host")
    if _is_localhost(name):
        raise AddressRefusedError("the host is this machine")
    address = _parse(name)
    if address is not None and not _is_public(address):
        raise AddressRefusedError("the host is not a public address")


def is_loopback(host: str) -> bool:
    """Say whether a host, as written in a URL, is this machine."""
    name = _plain(host)
    if _is_localhost(name):
        return True
    try:
        address = _parse(name)
    except AddressRefusedError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address.scope_id is not None:
        return False
    carried = _carried(address)
    if carried is not None:
        return _is_public(carried)
    return (
        address in _GLOBAL_UNICAST
        and address not in _DOCUMENTATION
        and address.is_global
        and not address.is_multicast
    )


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _plain(host: str) -> str:
    # NFKC turns full-width digits and the ideographic full stop's half-width form
    # into ASCII, as IDNA does before a resolver sees the name.
    text = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".")
    return text.strip().removeprefix("[").removesuffix("]").rstrip(".").lower()


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith((".localhost", ".localdomain"))


def _parse(name: str) -> IPv4Address | IPv6Address | None:
    """Read a literal address; None for a name.

    Raises:
        AddressRefusedError: written as an address, but not a readable one.
    """
    if ":" in name or "%" in name:
        try:
            return IPv6Address(name)
        except AddressValueError:
            raise AddressRefusedError("the host is not a valid IPv6 address") from None
    labels = name.split(".")
    # A name never ends in a number (WHATWG URL, "ends in a number checker").
    if not _LAST_LABEL_IS_NUMBER.match(labels[-1]):
        return None
    return _parse_ipv4(labels)


def _parse_ipv4(labels: list[str]) -> IPv4Address:
    """Read one to four numbers as inet_aton does: the last one fills the rest."""
    unreadable = AddressRefusedError("the host is not a valid IPv4 address")
    if len(labels) > _IPV4_PARTS:
        raise unreadable
    try:
        *leading, last = (_number(label) for label in labels)
    except ValueError:
        raise unreadable from None
    value = 0
    for number in leading:
        if number > 0xFF:  # noqa: PLR2004 - one byte
            raise unreadable
        value = value << 8 | number
    rest_bits = 8 * (_IPV4_PARTS - len(leading))
    if last >= 1 << rest_bits:
        raise unreadable
    return IPv4Address(value << rest_bits | last)


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    if label.startswith("0") and len(label) > 1:
        return int(label, 8)
    if not label.isascii() or not label.isdigit():
        raise ValueError(label)
    return int(label)
