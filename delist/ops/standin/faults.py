"""Ways in which the stand-in misbehaves: by script, one a request, or at random by rate."""

import random
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What happens to one request instead of its answer."""

    STATUS = "status"
    """An error status, with ``Retry-After`` if one is given."""
    STALL = "stall"
    """Nothing is answered until the client gives up."""
    DROP = "drop"
    """The connection is closed before a byte is sent."""
    CUT_BODY = "cut_body"
    """Half of the body that ``Content-Length`` promised."""
    CUT_JSON = "cut_json"
    """Half of the JSON, with a ``Content-Length`` that fits it."""
    EMPTY = "empty"
    """200 with an empty body."""
    HTML = "html"
    """200 with a page, as a captive portal or a maintenance notice gives."""
    REDIRECT = "redirect"
    """302 to somewhere else."""
    DRIP_BODY = "drip_body"
    """A body that comes byte by byte and never ends."""
    DRIP_HEADERS = "drip_headers"
    """Headers that come byte by byte and never end."""
    BODY = "body"
    """200 with the given text as JSON."""
    EXPIRE_TOKENS = "expire_tokens"
    """Every page token handed out so far expires; then the request is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        status: for ``STATUS``.
        retry_after_s: for ``STATUS``: sent as seconds, or as an HTTP date when ``as_date``.
        text: for ``BODY``.
    """

    kind: FaultKind
    status: int = 503
    retry_after_s: int | None = None
    as_date: bool = False
    text: str = ""


def answer_with(status: int, *, retry_after_s: int | None = None, as_date: bool = False) -> Fault:
    """Make the fault that is an error status."""
    return Fault(kind=FaultKind.STATUS, status=status, retry_after_s=retry_after_s, as_date=as_date)


PASSING = (
    answer_with(429),
    answer_with(429, retry_after_s=0),
    answer_with(429, retry_after_s=0, as_date=True),
    *(answer_with(status) for status in (500, 502, 503, 504)),
    *(Fault(kind=kind) for kind in (FaultKind.DROP, FaultKind.CUT_BODY, FaultKind.CUT_JSON)),
)
"""Faults that a client has to get over by asking again, and that cost no time."""


class Faults:
    """Deals out faults, in a thread-safe way.

    Args:
        script: consumed first, one entry a request; None answers that request as usual.
        rate: probability, 0-1, of a fault for each request after the script.
        among: what the random faults are drawn from.
        seed: of the random faults.
        endpoints: whose requests the random faults meet; None: of all.
    """

    def __init__(
        self,
        script: Sequence[Fault | None] = (),
        *,
        rate: float = 0.0,
        among: Sequence[Fault] = PASSING,
        seed: int = 0,
        endpoints: Collection[str] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._script = list(script)
        self._rate, self._among = rate, among
        self._random = random.Random(seed)  # noqa: S311 - repeatable misbehaviour, no secret
        self._lock = threading.Lock()

    def add(self, *faults: Fault | None) -> None:
        """Add to the end of the script."""
        with self._lock:
            self._script.extend(faults)

    def take(self, endpoint: str) -> Fault | None:
        """Take the fault for the next request, or None to answer it."""
        with self._lock:
            if self._script:
                return self._script.pop(0)
            if self._endpoints is not None and endpoint not in self._endpoints:
                return None
            if self._random.random() < self._rate:
                return self._random.choice(self._among)
            return None
