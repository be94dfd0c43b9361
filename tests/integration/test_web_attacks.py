"""What strangers send to bring the web side down, or to be somebody else; it holds."""

import json
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from delist.errors import BusyError
from delist.people import passwords
from delist.settings import load_settings
from indexer.errors import SettingsError
from tests.fakes.people import browser, query_of, with_issuer
from tests.fakes.web import Web, opened, served

WRONG = f"Bearer delist_{'a' * 10}_{'b' * 43}"
NO_ADDRESS = "http://["
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with opened(tmp_path_factory.mktemp("attacks") / "data") as found:
        yield found


def test_methods_that_strangers_make_up_are_no_series_of_their_own(web: Web) -> None:
    """Each series is memory for ever: a route counts known methods by name, and others as one."""
    for number in range(5):
        for path in ("/login", "/healthz"):
            assert web.client.request(f"MADE{number}", path).status_code == 405

    metrics = web.client.get("/metrics", headers=web.headers("metrics")).text

    assert "MADE" not in metrics
    assert 'method="other",route="/healthz",status="405"} 5.0' in metrics


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/login", {"Origin": NO_ADDRESS}, 403),
        ("POST", "/case", {"Origin": NO_ADDRESS}, 403),
        ("POST", "/me/preferences", {"Origin": NO_ADDRESS}, 403),
        ("GET", "/me", {"HX-Request": "true", "HX-Current-URL": NO_ADDRESS}, 401),
    ],
)
def test_a_header_that_is_no_address_is_refused_and_nothing_fails(
    web: Web, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """A page of somebody else cannot pass by an origin that cannot be read, nor fill the log."""
    assert web.client.request(method, path, headers=headers).status_code == status


def test_an_unknown_charset_and_a_zero_byte_are_the_callers_fault(web: Web) -> None:
    """Neither is a failure of ours, for which somebody would be woken."""
    kind = "multipart/form-data; boundary=a; charset=undefined"
    body = b'--a\r\nContent-Disposition: form-data; name="image_url"\r\n\r\nx\r\n--a--\r\n'
    headers = {**web.headers("index"), "Content-Type": kind}
    assert web.client.post("/v1/images/index", content=body, headers=headers).status_code == 422

    reviewer = web.headers("review")
    for path in ("/v1/cases/%00", "/v1/appeals/%00", "/v1/cases/..%00"):
        assert web.client.get(path, headers=reviewer).status_code == 422, path


def test_few_wait_for_their_password_to_be_checked() -> None:
    """Of many who sign on at once some are refused at once: each that waits holds a thread."""
    number = 20
    outcomes: list[str] = []
    passwords.warm_up()
    begin = threading.Barrier(number)

    def sign_on() -> None:
        begin.wait()
        try:
            passwords.is_password(None, "a long pass phrase")
        except BusyError:
            outcomes.append("refused")
        else:
            outcomes.append("checked")

    threads = [threading.Thread(target=sign_on) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Nobody was refused after having waited: who was, was before the first check had ended.
    assert outcomes[0] == "refused"
    assert outcomes.count("checked") >= 2
    assert not passwords.is_password(None, "afterwards there is room again")


@contextmanager
def issuer(hits: Counter[str], *, works: bool) -> Iterator[str]:
    """Serve what an issuer says of itself; it takes no code."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits["metadata"] += 1
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            self._answer(200 if works else 500, {"issuer": url} | {n: f"{url}/{n}" for n in names})

        def do_POST(self) -> None:
            hits["token"] += 1
            self._answer(400, {"error": "invalid_grant"})

        def _answer(self, status: int, content: dict[str, str]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield url
        server.shutdown()


def test_strangers_cannot_make_us_hammer_at_the_issuer(tmp_path: Path) -> None:
    """One state that was given out is no ticket for as many requests to the issuer as one likes."""
    hits: Counter[str] = Counter()
    with (
        opened(tmp_path / "data", sign_ons_per_minute=3) as web,
        issuer(hits, works=True) as url,
    ):
        with_issuer(web, url)
        client = browser(web)
        state = query_of(client.get("/login/oidc").headers["location"])["state"]
        pending = client.cookies["__Host-delist-sign-on"]
        answers = []
        for _ in range(6):
            client.cookies["__Host-delist-sign-on"] = pending
            answer = client.get("/login/oidc/back", params={"state": state, "code": "x"})
            answers.append(answer.status_code)

    assert answers == [403, 403, 403, 429, 429, 429]
    assert hits == {"metadata": 1, "token": 3}


def test_an_issuer_that_fails_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """Each who asks it would hold a thread until it gives up."""
    hits: Counter[str] = Counter()
    with opened(tmp_path / "data") as web, issuer(hits, works=False) as url:
        with_issuer(web, url)
        client = browser(web)
        assert [client.get("/login/oidc").status_code for _ in range(5)] == [503] * 5

    assert hits == {"metadata": 1}


def tried(url: str, forwarded: str) -> int:
    """Come with a wrong token, and with an address that one says to have."""
    headers = {"Authorization": WRONG, "X-Forwarded-For": forwarded}
    return httpx2.get(f"{url}/v1/status", headers=headers).status_code


def test_nobody_is_believed_who_calls_but_the_proxy(tmp_path: Path) -> None:
    """A rate of an address is not passed by saying to have another one."""
    with opened(tmp_path / "one", wrong_tokens_per_minute=1) as web, served(web) as url:
        assert [tried(url, "203.0.113.1"), tried(url, "203.0.113.2")] == [401, 429]

    behind = {"wrong_tokens_per_minute": 1, "proxies": ("127.0.0.1",)}
    with opened(tmp_path / "two", **behind) as web, served(web) as url:  # type: ignore[arg-type]
        assert [tried(url, "203.0.113.1"), tried(url, "203.0.113.2")] == [401, 401]
        # What the client itself has sent stands before what the proxy adds.
        assert tried(url, "198.51.100.7, 203.0.113.1") == 429


@pytest.mark.parametrize("proxy", ["*", "0.0.0.0/0", "::/0", "proxy.internal", "10.0.0.1/8", ""])
def test_a_proxy_is_named_by_its_address(tmp_path: Path, proxy: str) -> None:
    """Who believes everybody believes nobody; a name would never fit, and silently."""
    file = tmp_path / "delist.toml"
    file.write_text(f'[web]\nproxies = ["{proxy}"]\n')
    with pytest.raises(SettingsError, match=r"web\.proxies"):
        load_settings(file)


def test_forms_of_strangers_leave_room_for_what_tokens_send(tmp_path: Path) -> None:
    """The memory for bodies is not theirs to fill: result pages get their answers all the same."""
    head = b"POST /login HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 250000\r\n\r\n"
    sent = head + form + b"name=" + b"a" * 200_000
    with opened(tmp_path / "data", memory_bytes=MIB) as web, served(web) as url:
        parts = urlsplit(url)
        where = (parts.hostname or "", parts.port or 0)
        with (
            closing(socket.create_connection(where, timeout=10)) as one,
            closing(socket.create_connection(where, timeout=10)) as other,
        ):
            one.sendall(sent)
            other.sendall(sent)
            # One of them waits for the rest of its body; the other is one too many.
            answered, _, _ = select.select([one, other], [], [], 10)
            assert [connection.recv(12) for connection in answered] == [b"HTTP/1.1 503"]
            body = json.dumps({"urls": ["https://photos.example/" + "a" * 7_000] * 130}).encode()
            headers = web.headers("serve") | {"Content-Type": "application/json"}
            answer = httpx2.post(f"{url}/v1/suppressed", content=body, headers=headers)

    assert len(body) > MIB - 200_000
    assert answer.status_code == 200
