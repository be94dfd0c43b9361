"""What a request may send: how much, how slowly, and how much of all at once.

Nothing is read before somebody asks for the body, so whoever is refused earlier sent it in vain.
A connection on which a body was left unread is closed: nobody swallows the rest of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from delist.web.problems import Problem, busy

JSON_BYTES = 1024 * 1024
"""Largest body of a route that names no limit."""
_SHARE_OF_STRANGERS = 4


@dataclass
class InMemory:
    """Bytes of bodies that are held by this process."""

    most: int
    held: int = 0


class Bodies:
    """Holds every request to its limits.

    Args:
        limits: largest body in bytes, by path; ``JSON_BYTES`` for others.
        timeout_s: longest that receiving one body may take in all.
        memory_bytes: most bytes of bodies held at once; more get a 503.
        private: whether a path needs a token. What strangers send is held apart, in a quarter as
            much: their forms never are the reason that a result page gets no answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Mapping[str, int],
        timeout_s: float,
        memory_bytes: int,
        private: Callable[[str], bool] = lambda _path: True,
    ) -> None:
        self._app = app
        self._limits = limits
        self._timeout_s = timeout_s
        self._private = private
        self._memory = InMemory(memory_bytes)
        self._of_strangers = InMemory(memory_bytes // _SHARE_OF_STRANGERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_private = self._private(scope["path"])
        memory = self._memory if is_private else self._of_strangers
        body = _Body(
            receive,
            _announced(scope),
            most=self._limits.get(scope["path"], JSON_BYTES),
            timeout_s=self._timeout_s,
            memory=memory,
        )

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.done:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, body.receive, closing)
        finally:
            memory.held -= body.size


class _Body:
    """One body as it comes in."""

    def __init__(
        self,
        receive: Receive,
        announced: int | None,
        *,
        most: int,
        timeout_s: float,
        memory: InMemory,
    ) -> None:
        self._receive = receive
        self._announced = announced
        self._most = most
        self._timeout_s = timeout_s
        self._memory = memory
        self._until: float | None = None
        self.size = 0
        self.done = announced == 0

    async def receive(self) -> Message:
        """Receive the next part.

        Raises:
            Problem: it is too much, too slow, or there is no room for it now.
        """
        if self.done:
            return await self._receive()
        if (self._announced or 0) > self._most:
            raise self._too_large()
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                408, "too_slow", f"the body did not come within {self._timeout_s:g} s"
            ) from None
        if message["type"] != "http.request":
            return message
        self._take(len(message.get("body", b"")))
        self.done = not message.get("more_body", False)
        return message

    def _take(self, size: int) -> None:
        self.size += size
        self._memory.held += size
        if self.size > self._most:
            raise self._too_large()
        if self._memory.held > self._memory.most:
            raise busy("no_room", "too many bodies are being received; try again later")

    def _too_large(self) -> Problem:
        return Problem(
            413, "too_large", f"at most {self._most} bytes are taken here", most_bytes=self._most
        )


def _announced(scope: Scope) -> int | None:
    """Say how large a body is announced to be; None where it comes in chunks."""
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0
