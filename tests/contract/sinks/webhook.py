"""A receiver of webhooks on loopback, which checks what is signed and can misbehave."""

import json
import threading
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from standardwebhooks import Webhook

from delist.consumers import ConsumerKey
from tests.contract.sinks.harness import (
    BUSY_S,
    POISON_ID,
    TIMEOUT_S,
    Capability,
    Document,
    Failure,
)
from tests.contract.sinks.instructions import hidden_after

SECRETS = tuple(f"whsec_{b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))


class Receiver:
    """Takes every batch whose signature holds.

    Attributes:
        answer: status and headers of the next answers; None for those that are right.
        batches: webhook-id and records of each batch that was taken.
    """

    kind = "webhook"
    capabilities = frozenset({Capability.RECEIVES, Capability.REFUSES, Capability.KEYED})
    failures = frozenset(Failure)

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, str]] | None = None
        self.body: bytes | None = b"{}"
        self.batches: list[tuple[str, list[dict[str, Any]]]] = []
        self.secret = SECRETS[0]
        self._well = threading.Event()
        self._lock = threading.Lock()
        self._poison = False
        self.port = 0
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def reset(self, folder: Path, key: ConsumerKey, documents: Sequence[Document]) -> None:
        self.fail(None)
        self.refuse(poison=False)
        self._key, self._documents = key, documents
        self.secret, self.body = SECRETS[0], b"{}"
        self.batches.clear()
        self._traces: list[str] = []
        self.secret_file = folder / "secret"
        self.secret_file.write_text(self.secret + "\n")

    def settings(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "url": f"http://127.0.0.1:{self.port}/delist",
            "secret_file": str(self.secret_file),
            "timeout_s": TIMEOUT_S,
        }

    def hidden(self) -> set[str]:
        return hidden_after(self.received(), self._documents, self._key)

    def received(self) -> list[dict[str, Any]]:
        return [record for _, records in self.batches for record in records]

    def traces(self) -> str:
        return "\n".join(self._traces)

    def fail(self, failure: Failure | None) -> None:
        self.answer = None
        if failure is Failure.BROKEN:
            self.answer = 500, {}
        elif failure is Failure.BUSY:
            self.answer = 429, {"Retry-After": str(BUSY_S)}
        if failure is Failure.HANGS:
            self._well.clear()
        else:
            self._well.set()
        if failure is Failure.AWAY:
            self._hang_up()
        elif self._server is None:
            self._listen()

    def refuse(self, *, poison: bool) -> None:
        self._poison = poison

    # -- what it is ------------------------------------------------------------------------------

    def _listen(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = receiver.take(dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if receiver.body is None:  # without end
                    self.end_headers()
                    while receiver.body is None:
                        self.wfile.write(bytes(4096))
                    return
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # the sink has had enough
                    self.close_connection = True

        self._well.set()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _hang_up(self) -> None:
        self._well.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        """Answer one batch, and keep it if it is taken."""
        self._well.wait(30)
        given = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            self._traces += [json.dumps(given), body.decode()]
            if self.answer is not None:
                return self.answer
            if not self._is_signed(given, body):
                return 401, {}
            records = json.loads(body)["data"]["records"]
            if self._poison and any(record["document_id"] == POISON_ID for record in records):
                return 422, {}
            self.batches.append((given["webhook-id"], records))
            return 200, {}

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        # The tests' clock stands elsewhere, so the package's verify would find it too old.
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
        expected = Webhook(self.secret).sign(headers["webhook-id"], at, body.decode())
        return expected in headers["webhook-signature"].split(" ")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
