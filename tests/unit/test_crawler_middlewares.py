"""The address guard and the pauses that servers ask for, without a network."""

from datetime import UTC, datetime

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import CannotResolveHostError
from scrapy.http import Response
from scrapy.utils.test import get_crawler
from twisted.internet.error import DNSLookupError

from crawler.middlewares import (
    AddressGuardMiddleware,
    GuardedResolver,
    RequestRefusedError,
    RobotsFileMiddleware,
    retry_after_s,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def guard(*, allow: bool = False) -> AddressGuardMiddleware:
    settings = {"DELIST_ALLOW_PRIVATE_ADDRESSES": allow}
    return AddressGuardMiddleware.from_crawler(get_crawler(Spider, settings))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1/", "private_address"),
        ("http://user@10.0.0.1:80/", "private_address"),
        ("http://2130706433/", "private_address"),
        ("http://0x7f.1/", "private_address"),
        ("http://[::ffff:127.0.0.1]/", "private_address"),
        ("http://[64:ff9b::a00:1]/", "private_address"),
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("http://localhost:8080/robots.txt", "private_address"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("ftp://example.com/", "unsupported_scheme"),
        ("data:text/html,x", "unsupported_scheme"),
    ],
)
def test_guard_refuses(url: str, code: str) -> None:
    """Every request to such a URL is refused under a name, redirects included."""
    with pytest.raises(RequestRefusedError) as refused:
        guard().process_request(Request(url))

    assert refused.value.code == code


def test_guard_lets_public_hosts_pass() -> None:
    """Names and public addresses pass; private ones only when they are allowed."""
    guard().process_request(Request("http://example.com/"))
    guard().process_request(Request("http://93.184.216.34/"))
    guard(allow=True).process_request(Request("http://127.0.0.1/"))


def test_guard_refuses_other_schemes_even_when_private_addresses_are_allowed() -> None:
    """Allowing private addresses opens networks, not files."""
    with pytest.raises(RequestRefusedError):
        guard(allow=True).process_request(Request("file:///etc/passwd"))


def test_resolver_refuses_what_it_would_hand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very address that would be connected to is checked, on every look-up."""
    monkeypatch.setattr(GuardedResolver, "refused", set())
    resolver = object.__new__(GuardedResolver)

    assert resolver._check("93.184.216.34", "a.example") == "93.184.216.34"
    with pytest.raises(DNSLookupError):
        resolver._check("192.168.0.1", "a.example")

    with pytest.raises(RequestRefusedError) as refused:
        guard().process_exception(Request("http://a.example/"), CannotResolveHostError())
    assert refused.value.code == "private_address"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 500, 999999999.0),
    ],
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    """Retry-After is a number of seconds or a date; nonsense is none."""
    response = Response("http://h/", headers={"Retry-After": value})

    assert retry_after_s(response, now=NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"rules"), (404, b""), (403, b""), (500, b"User-agent: *\nDisallow: /\n")],
)
def test_robots_file_is_read_by_its_status(status: int, body: bytes) -> None:
    """RFC 9309: without a file all is allowed; a server that fails allows nothing."""
    request = Request("http://h/robots.txt", meta={"dont_obey_robotstxt": True})
    response = Response("http://h/robots.txt", status=status, body=b"rules")

    assert RobotsFileMiddleware().process_response(request, response).body == body
