"""What happens during a soak: crawls, changes, and questions to the API at a steady rate."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Self

from tests.benchmarks.soak.asking import Answer, Client
from tests.benchmarks.soak.series import BURST
from tests.benchmarks.soak.stage import Stage, end, kill


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much of everything there is.

    Attributes:
        requests_per_s: to the API.
        feed_s: seconds between two changes of the feed.
        crawl_s: seconds between the beginnings of two crawls.
        kill_every: every so many crawls one is killed, at any moment of the time that the one
            before it took.
        burst_s: seconds between two bursts, in which ``clients`` ask for everything at once. The
            rest comes one by one, so without them a worker would meet two requests at a time,
            and open what that takes, once in a while for hours.
        clients: enough for both workers to open all the connections that a pool has, 15.
        worst: how many bursts come first that are worse than all that follow: twice as many
            clients, who all ask the same at the same moment. What a process needs at its worst it
            keeps for the most part, and chance would bring that about late.
        heaped: how many changes of the feed come at once, every minute, while those last.
    """

    requests_per_s: float = 4.0
    feed_s: float = 5.0
    crawl_s: float = 60.0
    kill_every: int = 6
    burst_s: float = 120.0
    clients: int = 24
    worst: int = 4
    heaped: int = 40
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
            for act in (self._ask, self._burst, self._change_feed, self._crawl)
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
        numbers, each_minute = count(), max(1, round(60 / self._pace.feed_s))
        heaped_s = self._pace.worst * self._pace.burst_s

        def change() -> None:
            number = next(numbers)
            is_heap = not number % each_minute and number * self._pace.feed_s < heaped_s
            for _ in range(self._pace.heaped if is_heap else 1):
                self._stage.change_feed(self._pace.random_signals)

        self._every(self._pace.feed_s, change)

    def _crawl(self) -> None:
        numbers, dice = count(1), random.Random(1)
        took_s = 0.0

        def once() -> None:
            nonlocal took_s
            self._stage.change_site(self._pace.changed_share)
            began, running = time.monotonic(), self._stage.crawl()
            if not next(numbers) % self._pace.kill_every and took_s:
                over = self._over.wait(dice.uniform(0, took_s))
                if running.poll() is None and not over:
                    kill(running)
                    self.crawls["killed"] += 1
                    return
            while running.poll() is None:
                if self._over.wait(0.2):
                    end(running)
                    return
            took_s = time.monotonic() - began
            self.crawls["done" if running.returncode == 0 else "failed"] += 1

        self._every(self._pace.crawl_s, once)

    def _ask(self) -> None:
        client = Client(self._stage)
        self._every(1 / self._pace.requests_per_s, lambda: self._take(client.ask()))
        client.close()

    def _burst(self) -> None:
        """Have every client ask everything once, all at the same time."""

        def one(first: int) -> None:
            client = Client(self._stage, first=first)
            try:
                for _ in range(client.kinds):
                    self._take(replace(client.ask(), route=BURST))
                    if self._over.is_set():
                        break
            finally:
                client.close()

        numbers = count()

        def burst() -> None:
            clients, number = self._pace.clients, next(numbers)
            # Else each begins with another question, so that all are asked at once.
            firsts = [number] * 2 * clients if number < self._pace.worst else range(clients)
            list(pool.map(one, firsts))

        with ThreadPoolExecutor(2 * self._pace.clients) as pool:
            self._every(self._pace.burst_s, burst)

    def _take(self, answer: Answer) -> None:
        with self._lock:
            self._answers.append(answer)
