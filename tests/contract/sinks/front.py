"""An HTTP server on loopback in front of an engine, or in the place of one, that can misbehave."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.contract.sinks.harness import BUSY_S, Failure


class Front:
    """What ``respond`` answers, unless it is told to fail.

    Attributes:
        status: of all answers from now on; 0 for those that are right.
        body: of these answers.
        requests: method and path of what was asked.
    """

    failures = frozenset(Failure)

    def __init__(self) -> None:
        self.status, self.body = 0, b"{}"
        self.requests: list[str] = []
        self._traces: list[str] = []
        self._well = threading.Event()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._port = 0

    def respond(
        self,
        method: str,
        path: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, bytes]:
        """Answer as the engine does. Path and parameters are not escaped any more."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def traces(self) -> str:
        return "\n".join(self._traces)

    def forget(self) -> None:
        """Be well and forget what was asked."""
        self.fail(None)
        self._traces.clear()
        self.requests.clear()

    def fail(self, failure: Failure | None) -> None:
        self.body = b"{}"
        self.status = {Failure.BROKEN: 500, Failure.BUSY: 429}.get(failure, 0) if failure else 0
        if failure is Failure.HANGS:
            self._well.clear()
        else:
            self._well.set()
        if failure is Failure.AWAY:
            self._hang_up()
        elif self._server is None:
            self._listen()

    def take(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        """Return a whole answer, head and body."""
        self._well.wait(30)
        parts = urlsplit(target)
        with self._lock:
            self._traces += [f"{method} {target}", json.dumps(headers), body.decode()]
            self.requests.append(f"{method} {parts.path}")
            status, answer = self.status, self.body
            if not status:
                path = [unquote(segment) for segment in parts.path.split("/")[1:]]
                params = dict(parse_qsl(parts.query, keep_blank_values=True))
                status, answer = self.respond(method, path, params, headers, body)
        asked = f"Retry-After: {BUSY_S}\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} .\r\nContent-Length: {len(answer)}\r\n{asked}\r\n"
        return head.encode() + answer

    def _listen(self) -> None:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                given = {name.lower(): value for name, value in self.headers.items()}
                self.wfile.write(front.take(self.command, self.path, given, body))

            do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the base's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # the sink has had enough
                    self.close_connection = True

        self._well.set()
        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _hang_up(self) -> None:
        self._well.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
