"""What a client process of ``delist bench api`` does; it loads nothing but this."""

import time
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one client sends, again and again."""

    url: str
    path: str
    token: str
    body: bytes
    starts_at: float
    seconds: float


def loaded(number: int) -> int:
    """Be loaded: the first call of a process takes a second."""
    return number


def ask(load: Load) -> tuple[list[float], int]:
    """Ask for some seconds; returns how long each answer took in seconds, and how many failed."""
    parts = urlsplit(load.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"Authorization": f"Bearer {load.token}", "Content-Type": "application/json"}
    taken: list[float] = []
    failed = 0
    time.sleep(max(0.0, load.starts_at - time.time()))
    end = time.perf_counter() + load.seconds
    while (started := time.perf_counter()) < end:
        connection.request("POST", load.path, load.body, headers)
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - started)
        failed += answer.status != 200  # noqa: PLR2004 - HTTP's own
    connection.close()
    return taken, failed
