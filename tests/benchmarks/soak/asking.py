"""Questions to the API as a soak asks them: all kinds in turn, one client or several at once."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from urllib.parse import urlsplit

from tests.benchmarks.soak.stage import CONSUMER, GALLERIES, IMAGES_EACH, Stage

_BOUNDARY = "soak-soak-soak"
_FOLLOW = "/v1/suppressions"
_REQUESTS_A_CONNECTION = 7
_UPLOADED = 50
"""Addresses whose pictures the API is given."""

Question = tuple[str, str, str, bytes | None, str]
"""Route, method, path with query, body and its type."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API; status 0: none came."""

    at: float
    route: str
    status: int
    seconds: float


class Client:
    """Asks one question after the other; not thread-safe.

    Args:
        first: the number of the question to begin with, so that several ask different ones.
    """

    def __init__(self, stage: Stage, *, first: int = 0) -> None:
        self._stage = stage
        parts = urlsplit(stage.url)
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        made = questions(stage)
        self.kinds = len(made)
        self._next = islice(cycle(made), first, None)
        self._asked = 0

    def ask(self) -> Answer:
        """Ask the next question."""
        route, method, path, body, kind = next(self._next)()
        self._asked += 1
        if not self._asked % _REQUESTS_A_CONNECTION:
            self._connection.close()  # the next one may go to another worker
        headers = {"Authorization": f"Bearer {self._stage.token}"}
        headers |= {"Content-Type": kind} if body else {}
        began, status = time.perf_counter(), 0
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            said, status = answer.read(), answer.status
            if route == _FOLLOW and status == HTTPStatus.OK:
                self._stage.followed = int(json.loads(said)["next"])
        except (OSError, HTTPException):
            self._connection.close()
        return Answer(time.time(), route, status, time.perf_counter() - began)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def questions(stage: Stage) -> list[Callable[[], Question]]:
    """Make what makes questions, as often as each is asked in a round."""
    dice = stage.dice

    def suppressed() -> Question:
        urls = [
            f"{stage.site.url}/{dice.randrange(GALLERIES)}/{dice.randrange(IMAGES_EACH)}.jpg"
            for _ in range(20)
        ]
        path = "/v1/suppressed"
        return path, "POST", path, json.dumps({"urls": urls}).encode(), "application/json"

    def digests() -> Question:
        asked = {"digests": dice.sample(stage.digests, 20)}
        path = "/v1/digests/check"
        return path, "POST", path, json.dumps(asked).encode(), "application/json"

    def check() -> Question:
        path = "/v1/images/check"
        return path, "POST", path, dice.choice(stage.pictures), "image/jpeg"

    def index() -> Question:
        url = f"https://uploads.example/{dice.randrange(_UPLOADED)}.jpg"
        head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
        parts = f'{head}"image_url"\r\n\r\n{url}\r\n{head}"image"; filename="a"\r\n\r\n'
        end = f"\r\n--{_BOUNDARY}--\r\n"
        body = parts.encode() + dice.choice(stage.pictures) + end.encode()
        path = "/v1/images/index"
        return path, "POST", path, body, f"multipart/form-data; boundary={_BOUNDARY}"

    def follow() -> Question:
        return _FOLLOW, "GET", f"{_FOLLOW}?after={stage.followed}&limit=100", None, ""

    def acknowledge() -> Question:
        body = json.dumps({"sequence": stage.followed}).encode()
        path = f"/v1/consumers/{CONSUMER}/ack"
        return "/v1/consumers/ack", "POST", path, body, "application/json"

    def plain(path: str) -> Callable[[], Question]:
        return lambda: (path, "GET", path, None, "")

    return [
        suppressed, digests, suppressed, check, suppressed, digests, index, suppressed,
        plain("/v1/cases"), suppressed, digests, follow, check, acknowledge, plain("/readyz"),
        plain("/"),
    ]  # fmt: skip
