"""An end to one HTTP request, however busily the server drips bytes.

Read time-outs alone allow a byte a minute, for ever. Knows nothing of the HTTP client but the
names of its trace events.
"""

import contextlib
import socket
import threading
from typing import Any, Self

_OPENED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Deadline:
    """Cuts a connection when its time is up.

    Attributes:
        passed: whether it is.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Take note of the connection, from httpx2's trace of the request."""
        if event in _OPENED:
            self._socket = info["return_value"].get_extra_info("socket")
            if self.passed:
                self._cut()

    def _pass(self) -> None:
        self.passed = True
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            # The plain socket's method: that of a TLS socket would first forget its state,
            # which the reading thread is using. It may be closed already.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
