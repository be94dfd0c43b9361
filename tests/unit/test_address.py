"""Which addresses and hosts may be fetched from."""

import pytest

from indexer.address import check_host, is_loopback, is_public
from indexer.errors import AddressRefusedError

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - refused, not bound to
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::808:808",
    "2002:7f00:1::1",
    "2001:0:5ef5:79fd::1",
    "not an address",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address: str) -> None:
    """An address on the public internet passes, bare and as a URL's host."""
    assert is_public(address)
    check_host(address)
    check_host(f"[{address}]")


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Private, loopback, link-local, reserved, and IPv6 forms that carry one, are refused."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *PRIVATE[:-1],
        "[::1]",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "0177.0.0.1",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "%31%32%37.0.0.1",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "",
        "1.2.3.4.5",
        "256.1.1.1",
        "09.1.1.1",
        "99999999999",
        "[::1",
    ],
)
def test_odd_forms_of_private_hosts_are_refused(host: str) -> None:
    """Whatever a resolver reads as such an address is refused before anything connects."""
    with pytest.raises(AddressRefusedError):
        check_host(host)


@pytest.mark.parametrize("host", ["example.com", "example.com.", "0x7f.example", "\u4f8b\u3048.jp"])
def test_names_pass(host: str) -> None:
    """A name passes; what it resolves to is checked when it is connected to."""
    check_host(host)


def test_message_does_not_name_the_host() -> None:
    """A host is part of a page URL, so it does not show in a message."""
    with pytest.raises(AddressRefusedError) as caught:
        check_host("10.9.8.7")

    assert "10.9.8.7" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("[::ffff:127.0.0.1]", True),
        ("10.0.0.1", False),
        ("example.com", False),
        ("1.2.3.4.5", False),
    ],
)
def test_loopback_hosts_are_known(host: str, loopback: bool) -> None:
    """Loopback is told apart from other private addresses: it gets no delays."""
    assert is_loopback(host) is loopback
