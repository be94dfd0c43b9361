"""A website on loopback that serves what a test gives it, and servers that misbehave.

``Site`` answers from a dictionary of paths; ``hostile`` answers with whatever a
function writes to the raw socket.
"""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

Talk = Callable[[socket.socket, str], None]
"""Answers one request on a raw socket, given its path; the connection is closed after it."""


def draw_image(seed: int = 0, *, size: tuple[int, int] = (320, 240), kind: str = "JPEG") -> bytes:
    """Draw a smooth, seeded picture that PDQ can tell from others; returns encoded bytes."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


@dataclass(kw_only=True)
class Answer:
    """One answer; ``body`` of pages may be given as text."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Site:
    """A running site: what it serves, and what it was asked."""

    port: int
    pages: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each of ``requests`` came in, by ``time.monotonic``."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, path: str, body: bytes | str, *, status: int = 200, **headers: str) -> str:
        """Serve something; header names are written with underscores. Returns its URL."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, str):
            named.setdefault("Content-Type", "text/html; charset=utf-8")
        self.pages[path] = Answer(body=data, status=status, headers=named)
        return f"{self.url}{path}"

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def serve_site(pages: dict[str, Answer] | None = None) -> Iterator[Site]:
    """Serve a site on a free loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            site.times.append(time.monotonic())
            site.requests.append((self.path, dict(self.headers.items())))
            answer = site.pages.get(self.path, Answer(status=404, body=b"no such page"))
            etag = answer.headers.get("ETag")
            if etag and self.headers.get("If-None-Match") == etag:
                answer = Answer(status=304, headers={"ETag": etag})
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # the crawler may hang up

    server = Server(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1], dict(pages or {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hostile(talk: Talk) -> Iterator[str]:
    """Run a raw server on loopback; every request but robots.txt is handed to ``talk``.

    Yields the base URL. A ``talk`` that runs on is cut off when the block ends.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    open_sockets: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(60)
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(65536)
                if not received:
                    return
                request += received
            path = request.split(b" ", 2)[1].decode("latin-1")
            if path == "/robots.txt":
                connection.sendall(
                    b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            talk(connection, path)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_sockets.append(connection)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                connection.close()
        thread.join(5)
