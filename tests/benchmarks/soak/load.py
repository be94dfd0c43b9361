"""What happens during a soak: crawls, changes, and questions to the API at a steady rate."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import count, cycle
from typing import Self
from urllib.parse import urlsplit

from tests.benchmarks.soak.stage import CONSUMER, GALLERIES, IMAGES_EACH, Stage, kill

_BOUNDARY = "soak-soak-soak"
FOLLOW = "/v1/suppressions"
_REQUESTS_A_CONNECTION = 7
_UPLOADED = 50
"""Addresses whose pictures the API is given."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API; status 0: none came."""

    at: float
    route: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much of everything there is.

    Attributes:
        requests_per_s: to the API.
        feed_s: seconds between two changes of the feed.
        crawl_s: seconds between the beginnings of two crawls.
        kill_every: every so many crawls one is killed in the middle.
    """

    requests_per_s: float = 4.0
    feed_s: float = 5.0
    crawl_s: float = 60.0
    kill_every: int = 6
    changed_share: float = 0.1
    random_signals: int = 4


class Load:
    """Everything that happens, on threads; use it as a context manager.

    Attributes:
        answers: of the API; whoever reads takes them away.
        crawls: how many came to their end, and how many were killed.
        trouble: what broke in the driver itself, by type.
    """

    def __init__(self, stage: Stage, pace: Pace) -> None:
        self._stage = stage
        self._pace = pace
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self.trouble: Counter[str] = Counter()
        self.crawls = {"done": 0, "failed": 0, "killed": 0}
        self._threads = [
            threading.Thread(target=act, daemon=True)
            for act in (self._ask, self._change_feed, self._crawl)
        ]

    def take_answers(self) -> list[Answer]:
        """Return what was answered since the last time."""
        with self._lock:
            taken, self._answers = self._answers, []
        return taken

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _every(self, seconds: float, act: Callable[[], None]) -> None:
        """Act at a steady rate: what takes longer does not shift what follows."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            try:
                act()
            except Exception as error:  # noqa: BLE001 - what breaks here must not end the soak unseen
                self.trouble[type(error).__name__] += 1
            due = max(due + seconds, time.monotonic() - 10 * seconds)

    def _change_feed(self) -> None:
        self._every(self._pace.feed_s, lambda: self._stage.change_feed(self._pace.random_signals))

    def _crawl(self) -> None:
        numbers = count(1)

        def once() -> None:
            self._stage.change_site(self._pace.changed_share)
            running = self._stage.crawl()
            killed = not next(numbers) % self._pace.kill_every
            # Long enough to be in the middle of it: a crawl takes some seconds to load.
            end = time.monotonic() + (self._pace.crawl_s / 8 if killed else 600)
            while running.poll() is None and time.monotonic() < end:
                if self._over.wait(0.2):
                    break
            if running.poll() is None:
                kill(running)
                self.crawls["killed"] += 1
            else:
                self.crawls["done" if running.returncode == 0 else "failed"] += 1

        self._every(self._pace.crawl_s, once)

    def _ask(self) -> None:
        parts = urlsplit(self._stage.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        requests = cycle(self._requests())
        numbers = count(1)

        def once() -> None:
            route, method, path, body, kind = next(requests)()
            if not next(numbers) % _REQUESTS_A_CONNECTION:
                connection.close()  # the next one may go to another worker
            headers = {"Authorization": f"Bearer {self._stage.token}"}
            headers |= {"Content-Type": kind} if body else {}
            began, status = time.perf_counter(), 0
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                said, status = answer.read(), answer.status
                if route == FOLLOW and status == HTTPStatus.OK:
                    self._stage.followed = int(json.loads(said)["next"])
            except (OSError, HTTPException):
                connection.close()
            taken = Answer(time.time(), route, status, time.perf_counter() - began)
            with self._lock:
                self._answers.append(taken)

        self._every(1 / self._pace.requests_per_s, once)
        connection.close()

    def _requests(self) -> list[Callable[[], tuple[str, str, str, bytes | None, str]]]:
        stage, dice = self._stage, self._stage.dice

        def suppressed() -> tuple[str, str, str, bytes | None, str]:
            urls = [
                f"{stage.site.url}/{dice.randrange(GALLERIES)}/{dice.randrange(IMAGES_EACH)}.jpg"
                for _ in range(20)
            ]
            path = "/v1/suppressed"
            return path, "POST", path, json.dumps({"urls": urls}).encode(), "application/json"

        def digests() -> tuple[str, str, str, bytes | None, str]:
            asked = {"digests": dice.sample(stage.digests, 20)}
            path = "/v1/digests/check"
            return path, "POST", path, json.dumps(asked).encode(), "application/json"

        def check() -> tuple[str, str, str, bytes | None, str]:
            path = "/v1/images/check"
            return path, "POST", path, dice.choice(stage.pictures), "image/jpeg"

        def index() -> tuple[str, str, str, bytes | None, str]:
            url = f"https://uploads.example/{dice.randrange(_UPLOADED)}.jpg"
            head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
            parts = f'{head}"image_url"\r\n\r\n{url}\r\n{head}"image"; filename="a"\r\n\r\n'
            end = f"\r\n--{_BOUNDARY}--\r\n"
            body = parts.encode() + dice.choice(stage.pictures) + end.encode()
            path = "/v1/images/index"
            return path, "POST", path, body, f"multipart/form-data; boundary={_BOUNDARY}"

        def follow() -> tuple[str, str, str, bytes | None, str]:
            return FOLLOW, "GET", f"{FOLLOW}?after={stage.followed}&limit=100", None, ""

        def acknowledge() -> tuple[str, str, str, bytes | None, str]:
            body = json.dumps({"sequence": stage.followed}).encode()
            path = f"/v1/consumers/{CONSUMER}/ack"
            return "/v1/consumers/ack", "POST", path, body, "application/json"

        def plain(path: str) -> Callable[[], tuple[str, str, str, bytes | None, str]]:
            return lambda: (path, "GET", path, None, "")

        return [
            suppressed, digests, suppressed, check, suppressed, digests, index, suppressed,
            plain("/v1/cases"), suppressed, digests, follow, check, acknowledge, plain("/readyz"),
            plain("/"),
        ]  # fmt: skip
