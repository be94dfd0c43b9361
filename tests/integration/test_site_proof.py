"""Proof of control over a site: found where only its owner writes, fetched past hostile servers."""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from delist.errors import ProofError
from delist.site_proof import (
    FILE_PATH,
    FetchLimits,
    Found,
    SiteFetch,
    find_proof,
    is_covered,
    places,
)
from tests.sites import Site, hostile, serve_site

TOKEN = "the-token"  # noqa: S105 - no secret
META = f'<meta name="delist-appeal" content="{TOKEN}">'
QUICK = FetchLimits(timeout_s=0.5, deadline_s=1.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as served:
        yield served


def prove(url: str, fetch: SiteFetch | None = None) -> Found:
    return find_proof(
        url,
        lambda text: text == TOKEN,
        fetch or SiteFetch(allow_private=True, limits=QUICK),
    )


def refusal(url: str, fetch: SiteFetch | None = None) -> str:
    """Have no proof found, in a short time; returns what is said, which names no address."""
    began = time.monotonic()
    with pytest.raises(ProofError) as refused:
        prove(url, fetch)
    assert time.monotonic() - began < 6
    message = str(refused.value)
    assert "127.0.0.1" not in message
    assert "example" not in message
    assert TOKEN not in message
    return message


def test_the_file_proves_control(site: Site) -> None:
    """A token in a line of its own, in the file, beside others."""
    site.put(FILE_PATH, f"another\r\n  {TOKEN} \nmore".encode(), Content_Type="text/plain")

    assert prove(f"{site.url}/a/b.jpg?x=1") == Found(
        method="file", authority=f"127.0.0.1:{site.port}"
    )


@pytest.mark.parametrize(
    "page",
    [
        META,
        f"<!doctype html><html lang=en><head><title>x</title>{META}</head><body>",
        f'<head><meta name="delist-appeal" content="old"><META NAME=Delist-Appeal content={TOKEN}>',
        f"<script>if (a < b) c</script>{META.replace('>', '/>')}",
    ],
)
def test_a_meta_element_in_the_head_proves_control(site: Site, page: str) -> None:
    """As a browser reads it, wherever in the head."""
    site.put("/", page)

    assert prove(f"{site.url}/a.jpg").method == "meta"


@pytest.mark.parametrize(
    "page",
    [
        f"<html><head></head><body>{META}",
        f"<p>a comment of a visitor {META}",
        f"words {META}",
        f"<head><title>{META}</title></head>",
        f"<!-- {META} -->",
        f"<script>'{META}'</script>",
        f"<noscript>{META}</noscript><template>{META}</template>",
        META.replace("<", "&lt;"),
        f'<meta name="other" content="{TOKEN}">',
        f'<meta name="delist-appeal" content="{TOKEN}x">',
        f'<meta content="{TOKEN}">',
        TOKEN,
    ],
)
def test_what_visitors_can_write_proves_nothing(site: Site, page: str) -> None:
    """In the body, in text, in a comment, as part of a word: not in the owner's place."""
    site.put("/", page)
    # A page that answers for every address is no file either.
    site.put(FILE_PATH, f"<p>\n{TOKEN}\n")

    assert "does not hold the token" in refusal(f"{site.url}/a.jpg")


@pytest.mark.parametrize("junk", ["<![foo[ x", "<![", "<![ >", "<!x [<", "<" * 1000, "&#xD800;"])
def test_broken_pages_are_read_as_far_as_they_go(site: Site, junk: str) -> None:
    """What comes before a broken declaration counts; what follows may not. Nothing crashes."""
    site.put("/", f"{META}{junk}")
    assert prove(f"{site.url}/a.jpg").method == "meta"
    site.put("/", f"{junk}><p>{META}")
    assert "does not hold the token" in refusal(f"{site.url}/a.jpg")


@given(st.text(st.sampled_from("<>!-[]/?&#;\"'= adehlmnpstx\x00"), max_size=60))
@settings(deadline=None)
def test_no_page_crashes_the_reader(text: str) -> None:
    """Whatever a stranger's page holds, it proves nothing that is not there."""
    page = f"<p>{text}".encode()

    class Fetch(SiteFetch):
        def get(self, url: str, *, max_bytes: int) -> tuple[str, bytes]:
            del url, max_bytes
            return "text/html", page

    with pytest.raises(ProofError):
        prove("https://photos.example/a.jpg", Fetch())
    page = text.encode()
    with pytest.raises(ProofError):
        prove("https://photos.example/a.jpg", Fetch())


def test_no_address_reaches_a_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The client would log every address that it asks for."""
    with caplog.at_level(logging.DEBUG):
        refusal(f"{site.url}/a.jpg")
    assert str(site.port) not in caplog.text


@pytest.mark.parametrize("status", [201, 204, 403, 404, 500])
def test_only_a_plain_success_counts(site: Site, status: int) -> None:
    """An error page holds whatever was asked for."""
    site.put(FILE_PATH, TOKEN.encode(), status=status, Content_Type="text/plain")

    assert f"answered {status}" in refusal(f"{site.url}/a.jpg")


def test_a_redirect_within_the_site_is_followed(site: Site) -> None:
    """As many as a browser would need, on the same host and port."""
    site.put(FILE_PATH, b"", status=301, Location="/one")
    site.put("/one", b"", status=302, Location=f"{site.url}/two")
    site.put("/two", TOKEN.encode(), Content_Type="text/plain")

    assert prove(f"{site.url}/a.jpg").method == "file"


def test_a_redirect_to_another_site_is_not_followed(site: Site) -> None:
    """Somebody else's file proves nothing, and is not even asked for."""
    with serve_site() as other:
        other.put("/mine", TOKEN.encode(), Content_Type="text/plain")
        targets = {
            f"http://localhost:{other.port}/mine": "another site",
            f"http://127.0.0.1:{other.port}/mine": "another port",
            f"//localhost:{other.port}/mine": "another site",
            "file:///etc/passwd": "nowhere",
            "http://[": "nowhere",
            "": "nowhere",
        }
        for target, why in targets.items():
            site.put(FILE_PATH, b"", status=302, Location=target)
            assert f"a redirect leads {'to ' if 'other' in why else ''}{why}" in refusal(
                f"{site.url}/a.jpg"
            ), target
        assert other.paths() == []


def test_redirects_end(site: Site) -> None:
    """A circle is left."""
    site.put(FILE_PATH, b"", status=302, Location=FILE_PATH)

    assert "too many redirects" in refusal(f"{site.url}/a.jpg")
    assert len(site.paths()) < 10


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a.jpg",
        "http://localhost:{port}/a.jpg",
        "http://[::ffff:127.0.0.1]:{port}/a.jpg",
        "http://2130706433:{port}/a.jpg",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/a.jpg",
    ],
)
def test_private_addresses_are_refused(site: Site, url: str) -> None:
    """Unless they are allowed, and however they are written; nothing connects."""
    site.put(FILE_PATH, TOKEN.encode(), Content_Type="text/plain")
    message = refusal(url.format(port=site.port), SiteFetch(limits=QUICK))

    assert "address" in message or "this machine" in message
    assert site.paths() == []


@pytest.mark.parametrize(
    "answers", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["fe80::1%1"], ["nonsense"]]
)
def test_a_name_that_leads_to_a_private_address_is_refused(site: Site, answers: list[str]) -> None:
    """One such address among others is enough; nothing connects."""
    site.put(FILE_PATH, TOKEN.encode(), Content_Type="text/plain")
    fetch = SiteFetch(resolve=lambda _host, _port: answers, limits=QUICK)

    assert "not a public address" in refusal(f"http://photos.example:{site.port}/a.jpg", fetch)
    assert site.paths() == []


def test_the_address_that_was_checked_is_connected_to(site: Site) -> None:
    """A name is looked up once a request, so that its second answer cannot be another."""
    site.put(FILE_PATH, TOKEN.encode(), Content_Type="text/plain")
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    # The name exists nowhere but here: whoever looked it up again would find nothing.
    url = f"http://photos.example:{site.port}/a.jpg"
    found = prove(url, SiteFetch(allow_private=True, resolve=resolve, limits=QUICK))

    assert found.authority == f"photos.example:{site.port}"
    assert asked == [("photos.example", site.port)]
    assert site.requests[0][1]["Host"] == f"photos.example:{site.port}"


def test_a_name_without_address_is_said(site: Site) -> None:
    """Not found, not a crash; a label that is too long neither."""

    def nowhere(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    fetch = SiteFetch(resolve=nowhere, limits=QUICK)
    assert "no address" in refusal(f"http://photos.example:{site.port}/a.jpg", fetch)
    fetch = SiteFetch(limits=QUICK)
    assert "no address" in refusal(f"http://{'a' * 70}.example:1/a.jpg", fetch)


def test_an_endless_body_is_cut() -> None:
    """What is read is bounded, and what was read may hold the token."""

    def talk(connection: socket.socket, path: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        connection.sendall(f"{TOKEN}\n".encode() if path == "/proved" else b"x\n")
        while True:
            connection.sendall(b"padding\n" * 1000)

    with hostile(talk) as url:
        assert "does not hold the token" in refusal(f"{url}/a.jpg")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_slow_drip_is_cut(head: bytes) -> None:
    """A byte now and then, in the body or in the headers, is no answer in time."""

    def talk(connection: socket.socket, _path: str) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"a")
            time.sleep(0.1)

    with hostile(talk) as url:
        assert "no whole answer" in refusal(f"{url}/a.jpg")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + TOKEN.encode(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    ],
)
def test_broken_answers_prove_nothing(answer: bytes) -> None:
    """A cut, garbled or oversized answer is named, and is no traceback."""
    with hostile(lambda connection, _path: connection.sendall(answer)) as url:
        assert refusal(f"{url}/a.jpg").startswith("no proof of control was found: file (http): ")


def test_nobody_there() -> None:
    """A closed port is no connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "no connection" in refusal(f"http://127.0.0.1:{port}/a.jpg")


def certify(folder: Path, name: str) -> Path:
    """Write a certificate that a name has given itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("name", "trusted", "proves"),
    [
        ("photos.example", True, True),
        ("other.example", True, False),
        ("photos.example", False, False),
    ],
)
def test_the_certificate_has_to_be_the_names(
    tmp_path: Path, name: str, *, trusted: bool, proves: bool
) -> None:
    """Whatever address the name has: who holds another name's certificate proves nothing."""
    path = certify(tmp_path, name)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    client = ssl.create_default_context(cafile=path if trusted else None)
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + TOKEN.encode()
    )
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), plain, serving.wrap_socket(plain, server_side=True) as tls:
                tls.recv(65536)
                tls.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    fetch = SiteFetch(
        allow_private=True, resolve=lambda _host, _port: ["127.0.0.1"], limits=QUICK, tls=client
    )
    url = f"https://photos.example:{listener.getsockname()[1]}/a.jpg"
    try:
        if proves:
            assert prove(url, fetch).method == "file"
        else:
            assert "no connection" in refusal(url, fetch)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    ("url", "origins"),
    [
        ("https://a.example.com/x.jpg", ["https://a.example.com", "https://example.com"]),
        (
            "http://a.example.com/x.jpg",
            ["https://a.example.com", "http://a.example.com", "https://example.com"],
        ),
        ("https://example.com:8443/x.jpg", ["https://example.com:8443"]),
        ("https://me.blogspot.com/x.jpg", ["https://me.blogspot.com"]),
        ("https://u:p@example.com/x.jpg", ["https://example.com"]),
    ],
)
def test_places_are_the_host_and_its_site(url: str, origins: list[str]) -> None:
    """What somebody else can register, or another port, is no place; https comes first."""
    assert places(url) == [o + p for o in origins for p in (FILE_PATH, "/")]


@pytest.mark.parametrize(
    ("url", "authority", "covered"),
    [
        ("https://a.example.com/x", "a.example.com", True),
        ("https://a.example.com/x", "example.com", True),
        ("https://example.com/x", "a.example.com", False),
        ("https://b.example.com/x", "a.example.com", False),
        ("https://example.com:8443/x", "example.com:8443", True),
        ("https://example.com/x", "example.com:8443", False),
        ("https://you.blogspot.com/x", "blogspot.com", False),
        ("https://other.org/x", "", False),
    ],
)
def test_what_a_proof_covers(url: str, authority: str, *, covered: bool) -> None:
    """A host covers itself, and a site's own domain all that is below it."""
    assert is_covered(url, authority) is covered
