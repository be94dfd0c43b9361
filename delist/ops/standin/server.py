"""The HTTP side of the stand-in: keys, endpoints and faults, on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from delist.ops.standin.faults import Fault, FaultKind, Faults
from delist.ops.standin.state import BadRequestError, FeedState

ENDPOINTS = {"FetchHashes": "GET", "SubmitFeedback": "POST", "SubmitHashes": "POST"}
_BASE_PATH = "/v1/"
_DRIP_EVERY_S = 0.01
_HTML = b"<html><body>Sign in to continue</body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as the log keeps it: no key, no token, no digest.

    Attributes:
        at: when it was answered, in unix seconds of this machine's clock.
        start: ``startTimestamp``, or None if none was given.
        fault: what was done to it, or None if it was answered.
        status: of the answer; 0 when none was sent.
    """

    at: float
    endpoint: str
    start: int | None
    page_size: int | None
    with_token: bool
    fault: FaultKind | None
    status: int


class StopNciiStandIn:
    """StopNCII's API on loopback, for tests and the demo. Use it as a context manager.

    Args:
        records: entries of ``hashRecords`` to begin with.
        subscription_key: what ``Ocp-Apim-Subscription-Key`` must be.
        function_keys: what ``x-functions-key`` must be, for each endpoint.
        faults: a script, or ``Faults`` for random ones.
        now: unix seconds.
        port: 0 takes a free one.
        **state: knobs of ``FeedState``: ``source``, ``page_size_cap``, ``token_life_s``,
            ``repeats``, ``rewind_s``.
    """

    def __init__(
        self,
        records: Iterable[Any] = (),
        *,
        subscription_key: str = "subscription-key",
        function_keys: Mapping[str, str] | None = None,
        faults: Sequence[Fault | None] | Faults = (),
        now: Callable[[], int] = lambda: int(time.time()),
        port: int = 0,
        **state: Any,  # noqa: ANN401 - handed on to FeedState, which names them
    ) -> None:
        self.subscription_key = subscription_key
        self.function_keys = dict(function_keys or {name: f"{name}-key" for name in ENDPOINTS})
        self.faults = faults if isinstance(faults, Faults) else Faults(faults)
        self.state = FeedState(records, now=now, **state)
        self.requests: list[SeenRequest] = []
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def base_url(self) -> str:
        """Base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def feedback(self) -> list[dict[str, Any]]:
        """The items of every accepted ``SubmitFeedback``, in order."""
        return list(self.state.feedback)

    def put(self, record: Any) -> None:  # noqa: ANN401 - any JSON value can be served
        """Hold a record; a full snapshot that replaces the one of the same kind and value."""
        self.state.put(record)

    def expire_tokens(self) -> None:
        """Refuse every page token handed out so far."""
        self.state.expire_tokens()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], standin: StopNciiStandIn) -> None:
        super().__init__(address, _Handler)
        self.standin = standin

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the base
        """Say nothing of clients that hang up: tests make them do so."""
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as the base
        """Log nothing: request lines hold page tokens."""

    def _answer(self, method: str) -> None:
        standin = self.server.standin
        self._seen: SeenRequest | None = None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = standin.faults.take(_endpoint_of(self.path))
        self._fault = fault.kind if fault is not None else None
        try:
            if fault is not None and fault.kind is FaultKind.EXPIRE_TOKENS:
                standin.expire_tokens()
            if fault is None or fault.kind in _ON_ANSWER:
                self._serve(method, body, fault)
            else:
                self._misbehave(fault)
        finally:
            self._log()

    def _serve(self, method: str, body: bytes, fault: Fault | None) -> None:
        url = urlsplit(self.path)
        endpoint = _endpoint_of(self.path)
        if not url.path.startswith(_BASE_PATH) or ENDPOINTS.get(endpoint) != method:
            self._refuse(HTTPStatus.NOT_FOUND, "Resource not found")
        elif self._may_enter(endpoint):
            try:
                answer = self._call(endpoint, parse_qs(url.query), body)
            except (BadRequestError, ValueError) as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._send_json(answer, fault)

    def _may_enter(self, endpoint: str) -> bool:
        standin = self.server.standin
        given = self.headers.get("Ocp-Apim-Subscription-Key")
        if given != standin.subscription_key:
            what = "missing" if given is None else "invalid"
            self._refuse(
                HTTPStatus.UNAUTHORIZED,
                f"Access denied due to {what} subscription key. Make sure to include a valid"
                " subscription key when making requests to an API.",
            )
            return False
        if self.headers.get("x-functions-key") != standin.function_keys.get(endpoint):
            # The function behind the gateway says no more than that.
            self._send(HTTPStatus.UNAUTHORIZED, b"", content_type=None)
            return False
        return True

    def _call(self, endpoint: str, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        state = self.server.standin.state
        if endpoint == "SubmitFeedback":
            return state.take_feedback(json.loads(body))
        if endpoint == "SubmitHashes":
            return state.take_hashes(json.loads(body))
        return state.fetch(
            start=int(query.get("startTimestamp", ["0"])[0]),
            page_size=int(query.get("pageSize", ["800"])[0]),
            token=query.get("nextPageToken", [None])[0],
        )

    def _send_json(self, answer: object, fault: Fault | None) -> None:
        body = json.dumps(answer).encode()
        kind = fault.kind if fault is not None else None
        if kind is FaultKind.CUT_JSON:
            self._send(HTTPStatus.OK, body[: len(body) // 2])
        elif kind is FaultKind.CUT_BODY:
            self._send(HTTPStatus.OK, body[: len(body) // 2], promised_bytes=len(body))
        else:
            self._send(HTTPStatus.OK, body)

    def _misbehave(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.STATUS:
                self._refuse(fault.status, "Try again later", retry_after=_retry_after(fault))
            case FaultKind.HTML:
                self._send(HTTPStatus.OK, _HTML, content_type="text/html; charset=utf-8")
            case FaultKind.EMPTY:
                self._send(HTTPStatus.OK, b"")
            case FaultKind.BODY:
                self._send(HTTPStatus.OK, fault.text.encode())
            case FaultKind.REDIRECT:
                self._send(HTTPStatus.FOUND, b"", location="http://127.0.0.1:9/elsewhere")
            case FaultKind.STALL:
                self._log()
                self.close_connection = True
                self.server.standin.stopping.wait(self.timeout)
            case FaultKind.DRIP_BODY:
                self._send(HTTPStatus.OK, b"{", promised_bytes=1_000_000)
                self._drip(b" ")
            case FaultKind.DRIP_HEADERS:
                self._log()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                self._drip(b"x")
            case _:
                self.close_connection = True

    def _drip(self, byte: bytes) -> None:
        """Send a byte now and then until the client hangs up or the server stops."""
        while not self.server.standin.stopping.wait(_DRIP_EVERY_S):
            self.wfile.write(byte)

    def _refuse(self, status: int, message: str, *, retry_after: str | None = None) -> None:
        body = json.dumps({"statusCode": int(status), "message": message}).encode()
        self._send(status, body, retry_after=retry_after)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str | None = "application/json; charset=utf-8",
        promised_bytes: int | None = None,
        retry_after: str | None = None,
        location: str | None = None,
    ) -> None:
        self._log(int(status))
        length = len(body) if promised_bytes is None else promised_bytes
        self.close_connection = self.close_connection or length != len(body)
        self.send_response(status)
        headers = {
            "Content-Type": content_type,
            "Content-Length": str(length),
            "Retry-After": retry_after,
            "Location": location,
        }
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _log(self, status: int = 0) -> None:
        """Log the request, once: before its answer is sent, so that a client finds it there."""
        if self._seen is not None:
            return
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        start, page_size = (
            int(values[0]) if (values := query.get(name)) and values[0].isdigit() else None
            for name in ("startTimestamp", "pageSize")
        )
        self._seen = SeenRequest(
            at=time.time(),
            endpoint=_endpoint_of(self.path),
            start=start,
            page_size=page_size,
            with_token="nextPageToken" in query,
            fault=self._fault,
            status=status,
        )
        self.server.standin.requests.append(self._seen)


_ON_ANSWER = {FaultKind.CUT_BODY, FaultKind.CUT_JSON, FaultKind.EXPIRE_TOKENS}


def _endpoint_of(path: str) -> str:
    return urlsplit(path).path.removeprefix(_BASE_PATH)


def _retry_after(fault: Fault) -> str | None:
    if fault.retry_after_s is None:
        return None
    if fault.as_date:
        return formatdate(time.time() + fault.retry_after_s, usegmt=True)
    return str(fault.retry_after_s)
