"""Spans: what a piece of work was, and how long it took. Nothing until somebody asks for them.

No library is imported here: ``use`` takes what opens a span, such as OpenTelemetry's tracer in
``delist.tracing``. A span can hold only what ``ATTRIBUTES`` names: counts, and words of which
there are few. So no digest, address or case can get into one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

FEED_PAGE = "feed.page"
SCAN_CHUNK = "scan.chunk"
INTAKE_BATCH = "intake.batch"
SINK_DELIVERY = "sink.delivery"
HTTP_REQUEST = "http.request"
NAMES = (FEED_PAGE, SCAN_CHUNK, INTAKE_BATCH, SINK_DELIVERY, HTTP_REQUEST)

ATTRIBUTES = frozenset({
    "feed",
    "records",
    "scan",
    "images",
    "log",
    "entries",
    "sink",
    "delivered",
    "set_aside",
    "trouble",
    "http.route",
    "http.request.method",
    "http.response.status_code",
    "error.type",
})  # fmt: skip

Value = str | int | bool


class Recording(Protocol):
    """What a library gives for an open span."""

    def set_attribute(self, key: str, value: Value) -> object:
        """Note something about it."""


class Span:
    """An open span."""

    def __init__(self, recording: Recording | None) -> None:
        self._recording = recording

    def set(self, key: str, value: Value) -> None:
        """Note something about the work; see ``ATTRIBUTES``.

        Raises:
            ValueError: there is no such attribute.
        """
        if key not in ATTRIBUTES:
            raise ValueError(f"no span has an attribute {key}")
        if self._recording is not None:
            self._recording.set_attribute(key, value)


Opener = Callable[[str], AbstractContextManager[Recording]]

_NOTHING = Span(None)
_opener: Opener | None = None


def use(opener: Opener | None) -> None:
    """Have spans opened by something from now on; None for by nothing."""
    global _opener  # noqa: PLW0603 - a process has one tracer
    _opener = opener


@contextmanager
def span(name: str, **attributes: Value) -> Iterator[Span]:
    """Time the work of a block.

    What it raises is passed on; the span holds the type of it and never the message.
    """
    if _opener is None:
        yield _NOTHING
        return
    with _opener(name) as recording:
        current = Span(recording)
        for key, value in attributes.items():
            current.set(key, value)
        try:
            yield current
        except BaseException as error:
            current.set("error.type", type(error).__name__)
            raise
