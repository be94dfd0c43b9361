"""The server on loopback: what clients send that no client of ours would, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from delist.ops.bench.asking import Load, ask
from delist.tokens import TokenScope
from tests.fakes.delisting import World
from tests.fakes.web import Web, opened, served

TWO_GB = 2_000_000_000
PIECE = b"\0" * 65_536


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with opened(tmp_path_factory.mktemp("server") / "data", timeout_s=1.0) as found:
        yield found


@pytest.fixture(scope="module")
def url(web: Web) -> Iterator[str]:
    with served(web, headers_s=0.5) as address:
        yield address


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)


def head(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *(f"{n}: {v}" for n, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("chunked", [False, True])
def test_two_gigabytes_are_refused_without_being_read(web: Web, url: str, chunked: bool) -> None:
    """An announced length is refused at once, chunks at the limit; the connection is closed."""
    length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(TWO_GB)}
    headers = {**web.headers("serve"), "Content-Type": "application/json", **length}
    sent = 0
    with closing(connect(url)) as connection:
        connection.sendall(head("/v1/suppressed", headers))
        try:
            while sent < TWO_GB:
                framed = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
                connection.sendall(framed)
                sent += len(PIECE)
        except OSError:
            pass
        answer = read_all(connection)

    assert sent < 32_000_000
    # What was on its way when the connection was closed may have cost the answer.
    assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_who_sends_no_more_than_the_head_gets_the_answer(web: Web, url: str) -> None:
    """The same without the body: 413, and the connection is closed."""
    headers = {**web.headers("index"), "Content-Length": str(TWO_GB)}
    with closing(connect(url)) as connection:
        connection.sendall(head("/v1/images/hash", headers))
        answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTT", b""),
        (b"\x16\x03\x01 not HTTP at all\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /" + b"a" * 100_000, b"HTTP/1.1 400"),
    ],
)
def test_headers_that_do_not_end_are_not_waited_for(url: str, sent: bytes, status: bytes) -> None:
    """A slow client loses its connection; what is no HTTP is answered with our headers."""
    with closing(connect(url)) as connection:
        connection.sendall(sent)
        answer = read_all(connection)

    assert answer.startswith(status)
    assert (b"content-security-policy" in answer) is bool(status)


def test_a_body_that_comes_too_slowly_is_ended(web: Web, url: str) -> None:
    """408 after the time that a body has, and others are answered meanwhile."""
    headers = {**web.headers("index"), "Content-Length": "1000"}
    with closing(connect(url)) as connection:
        connection.sendall(head("/v1/images/hash", headers) + b"begun")
        assert httpx2.get(f"{url}/healthz").status_code == 200
        answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 408")


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    """It gets 503 and our headers, and takes nothing away from those that are there."""
    with (
        opened(tmp_path / "data", connections=2) as web,
        served(web) as url,
        httpx2.Client() as first,
        httpx2.Client() as second,
    ):
        before = [client.get(f"{url}/healthz").status_code for client in (first, second)]
        with closing(connect(url)) as third:
            answer = read_all(third)
        after = [client.get(f"{url}/healthz").status_code for client in (first, second)]

    assert (before, after) == ([200, 200], [200, 200])

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"content-security-policy" in answer


def test_serve_answers_until_sigterm_and_ends_with_exit_code_0(
    tmp_path: Path,
) -> None:
    """Within seconds, also while a consumer waits for news."""
    with World(tmp_path / "data") as world:
        world.delist.sinks.followers.add("engine", actor="operator")
        _, token = world.delist.tokens.add("engine", {TokenScope.FOLLOW}, actor="operator")
        config = world.write_configuration()
    command = [sys.executable, "-m", "delist", "--config", str(config), "--json", "serve"]
    running = subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert running.stdout is not None
        url = json.loads(running.stdout.readline())["url"]
        with closing(connect(url)) as waiting:
            # The socket listens before a worker does, so this is answered when one is there.
            assert httpx2.get(f"{url}/healthz", timeout=30).status_code == 200
            asked = head("/v1/suppressions?wait_s=30", {"Authorization": f"Bearer {token}"})
            waiting.sendall(asked.replace(b"POST", b"GET"))
            asked_at = time.monotonic()
            running.send_signal(signal.SIGTERM)
            _, errors = running.communicate(timeout=15)
            took_s = time.monotonic() - asked_at
    finally:
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL)

    assert running.returncode == 0, errors
    assert took_s < 10
    assert b"Traceback" not in errors
    assert token.encode() not in errors


def test_workers_do_not_outlive_the_process_that_started_them(tmp_path: Path) -> None:
    """Where it was killed they end by themselves, and the port is free again."""
    with World(tmp_path / "data") as world:
        config = world.write_configuration()
    command = [sys.executable, "-m", "delist", "--config", str(config), "--json", "serve"]
    running = subprocess.Popen([*command, "--port", "0", "--workers", "2"], stdout=subprocess.PIPE)
    assert running.stdout is not None
    url = json.loads(running.stdout.readline())["url"]
    try:
        assert httpx2.get(f"{url}/healthz", timeout=60).status_code == 200
        workers = psutil.Process(running.pid).children(recursive=True)
    finally:
        running.kill()
        running.wait()
        running.stdout.close()

    _, left = psutil.wait_procs(workers, timeout=30)
    for worker in left:
        worker.kill()

    assert len(workers) > 2
    assert not left
    with pytest.raises(ConnectionRefusedError):
        connect(url)


@pytest.mark.parametrize("right", [True, False])
def test_a_client_of_the_bench_counts_answers_and_failures(web: Web, url: str, right: bool) -> None:
    """What is no 200 is a failure: refusals are fast, and would pass for speed."""
    authorization = web.headers("serve" if right else "index")["Authorization"]
    load = Load(
        url=url,
        path="/v1/suppressed",
        token=authorization.removeprefix("Bearer "),
        body=b'{"urls": ["https://site.example/"]}',
        starts_at=0.0,
        seconds=0.1,
    )
    taken, failed = ask(load)

    assert len(taken) > 0
    assert failed == (0 if right else len(taken))
