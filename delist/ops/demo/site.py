"""The demo's website: pages of pictures, served from memory on loopback."""

import mimetypes
import threading
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from delist.ops.demo.album import Picture

PER_PAGE = 6


class PhotoSite:
    """A running website; use it as a context manager.

    Attributes:
        requests: how many requests it has answered or refused.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.requests = 0
        self.pages = _pages(pictures)
        self.answers = {path: ("text/html; charset=utf-8", p) for path, p in self.pages.items()}
        self.answers |= {picture.path: (_mime(picture), picture.data) for picture in pictures}
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def base_url(self) -> str:
        """Base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def url_of(self, picture: Picture) -> str:
        """Return the URL of a picture."""
        return self.base_url + picture.path

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], site: PhotoSite) -> None:
        super().__init__(address, _Handler)
        self.site = site

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base
        """Say nothing of visitors that hang up."""
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        self.server.site.requests += 1
        missing = ("text/plain; charset=utf-8", b"no such page\n")
        kind, body = self.server.site.answers.get(self.path, missing)
        found = self.path in self.server.site.answers
        self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as the base
        """Log nothing."""


def _mime(picture: Picture) -> str:
    return mimetypes.types_map.get("." + picture.path.rpartition(".")[2], "image/webp")


def _pages(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """Lay the pictures out: a front page that links to all others, and a few on each."""
    groups = [pictures[at : at + PER_PAGE] for at in range(0, len(pictures), PER_PAGE)]
    albums = {f"/album/{number}.html": group for number, group in enumerate(groups, 1)}
    links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in albums)
    pages = {"/": _page("A site of drawn photos", f"<ul>{links}</ul>")}
    for path, group in albums.items():
        shown = "".join(f'<p><img src="{photo.path}" alt=""></p>' for photo in group)
        pages[path] = _page(path, shown + '<p><a href="/">back</a></p>')
    return pages


def _page(title: str, body: str) -> bytes:
    head = f'<!doctype html><html lang="en"><title>{escape(title)}</title>'
    return f"{head}<h1>{escape(title)}</h1>{body}</html>".encode()
