"""The process around the app: ``uvicorn`` on one socket, in one process or several workers.

What uvicorn leaves out is here: a client that sends its headers slowly is not waited for, what it
cannot read at all is answered with our headers, and what waits for news is ended on SIGTERM.
"""

import asyncio
import logging
import multiprocessing.connection
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import h11
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from delist import memory, tracing
from delist.build import Delist
from delist.errors import UsageError
from delist.logs import configure_logs
from delist.settings import WebSettings
from delist.web.headers import set_headers
from delist.web.problems import Problem, busy, response

_KEEP_ALIVE_S = 5
_LOADING_S = 60
"""A worker that says nothing for so long is replaced; loading compiled code takes seconds."""
_GRACE_S = 5
_BACKLOG = 1024
_SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class AppFactory:
    """Makes the app in a worker: a process that was not forked, and opens its stores itself."""

    config: Path | None
    data_dir: Path | None

    def __call__(self) -> FastAPI:
        """Open everything and put the app together."""
        from delist.web.app import create_app  # noqa: PLC0415 - the parent of workers needs none

        configure_logs(logging.WARNING)
        memory.keep_together(large_bytes=memory.PIXELS_BYTES)
        _end_with_parent()
        delist = Delist.open(self.config, data_dir=self.data_dir)
        tracing.start(delist.settings.tracing, part="serve")
        return create_app(delist)


class _Config(Config):
    """uvicorn's, and the most connections: its own limit answers without our headers."""

    connections = 1


class Http(H11Protocol):
    """One connection.

    Attributes:
        headers_s: longest that the headers of a request may take, from connecting or from the
            answer before.
    """

    headers_s = 10.0
    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as the base
        """Wait for the first request, and not for long; one connection too many is not kept."""
        super().connection_made(transport)
        if len(self.connections) > getattr(self.config, "connections", len(self.connections)):
            self._refuse(busy("too_many_connections", "try again later"))
            return
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Look at what has come in; a request whose headers are there has time for its body."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.conn.their_state is h11.IDLE:
            self._wait_for_headers()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; it is not repeated."""
        del msg
        self._refuse(Problem(HTTPStatus.BAD_REQUEST, "invalid_http"))

    def shutdown(self) -> None:
        """End what waits for news."""
        stopping = self.app_state.get("stopping")
        if isinstance(stopping, threading.Event):
            stopping.set()
        super().shutdown()

    def _refuse(self, problem: Problem) -> None:
        """Answer without asking the app, and close."""
        answer = response(problem)
        set_headers(MutableHeaders(raw=answer.raw_headers), tls=False)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        reason = HTTPStatus(problem.status_code).phrase.encode()
        head = h11.Response(status_code=problem.status_code, headers=headers, reason=reason)
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait_for_headers(self) -> None:
        self._stop_waiting()
        self._slow = self.loop.call_later(self.headers_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None


def _end_with_parent() -> None:
    """Have a worker end when the process that started it has ended, killed or not.

    It holds the socket: left behind, it would go on answering, with the program of before, and
    take requests away from whoever is started next.
    """
    parent = multiprocessing.parent_process()
    if parent is None:  # the only process
        return

    def wait(sentinel: int = parent.sentinel) -> None:
        multiprocessing.connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def listen(host: str, port: int) -> socket.socket:
    """Bind the socket; port 0 for any that is free.

    Raises:
        UsageError: it cannot be bound.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not an address"
        raise UsageError(f"cannot listen on {host}, port {port}: {reason}") from None
    bound.set_inheritable(True)
    return bound


def address_of(bound: socket.socket) -> str:
    """Write where a socket listens, as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def end_on_signals() -> None:
    """End with exit code 0 on SIGTERM and SIGINT, also before uvicorn listens to them.

    It ends itself by the signal that it got, after all is done: that would be no exit 0.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def serve(bound: socket.socket, app: AppFactory, settings: WebSettings, *, workers: int) -> None:
    """Answer requests until SIGTERM or SIGINT; what is under way has ``_GRACE_S`` to end."""
    if workers == 1:
        Server(configure(app, settings)).run(sockets=[bound])
        return
    with tempfile.TemporaryDirectory(prefix="delist-metrics-") as folder:
        os.environ[_SHARED_METRICS] = folder  # the library looks at it when it is loaded
        Multiprocess(configure(app, settings, workers=workers), sockets=[bound]).run()


def configure(
    app: Callable[[], FastAPI], settings: WebSettings, *, workers: int = 1, http: type[Http] = Http
) -> Config:
    """Say how uvicorn is to run the app that a function makes."""
    config = _Config(
        app,
        factory=True,
        http=http,
        ws="none",
        workers=workers,
        lifespan="on",
        log_config=None,  # its messages hold addresses; ours replace them (delist.logs)
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_worker_healthcheck=_LOADING_S,
        backlog=_BACKLOG,
    )
    config.connections = settings.connections
    return config
