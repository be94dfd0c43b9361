"""Rows through several processes, in their order, with a bound on what is under way.

Each process ends when this one does, however it does. One that dies costs nothing but time: its
rows are tried again one by one, and one that kills a process by itself is refused.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self

from crawler.settings import CrawlSettings
from delist.errors import DelistError
from delist.ingest.rows import Row
from delist.ingest.work import Done, Worker
from delist.logs import configure_logs
from indexer.settings import IndexerSettings

WORKER_DIED = "worker_died"

_ROWS_AHEAD, _BYTES_AHEAD = 16, 4 * 1024 * 1024
"""Of one task, about: the most rows and bytes that go to a process at once."""
_TASKS_EACH = 3
"""Tasks for each process that are under way."""


class Pool:
    """Processes that make visits of rows; none of its own where one is enough."""

    def __init__(
        self, processes: int, settings: IndexerSettings, crawl_settings: CrawlSettings
    ) -> None:
        self._processes = processes
        self._given = (settings, crawl_settings)
        self._here: Worker | None = None
        self._executor: ProcessPoolExecutor | None = None

    def done(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Done]]:
        """Yield rows with what became of each, in their order.

        Raises:
            StoreError: the store failed.
            DelistError: no process can be started.
        """
        if self._processes == 1:
            self._here = self._here or Worker(*self._given)
            for row in rows:
                yield row, self._here.do(row)
            return
        waiting: deque[tuple[Sequence[Row], Future[list[Done]]]] = deque()
        for task in _tasks(rows):
            waiting.append((task, self._submit(task)))
            if len(waiting) > _TASKS_EACH * self._processes:
                yield from self._first(waiting)
        while waiting:
            yield from self._first(waiting)

    def _first(
        self, waiting: deque[tuple[Sequence[Row], "Future[list[Done]]"]]
    ) -> Iterator[tuple[Row, Done]]:
        task, future = waiting.popleft()
        try:
            done = future.result()
        except BrokenProcessPool:
            self._end()
            done = [self._alone(row) for row in task]
            again = [(later, self._submit(later)) for later, _ in waiting]
            waiting.clear()
            waiting.extend(again)
        yield from zip(task, done, strict=True)

    def _alone(self, row: Row) -> Done:
        try:
            return self._submit([row]).result()[0]
        except BrokenProcessPool:
            self._end()
        try:
            self._submit([]).result()
        except BrokenProcessPool:
            raise DelistError("the processes that hash do not start") from None
        return Done(refusals=((WORKER_DIED, row.url),))

    def _submit(self, task: Sequence[Row]) -> "Future[list[Done]]":
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._processes,
                # The store must not be open across a fork.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=self._given,
            )
        try:
            return self._executor.submit(_do_all, task)
        except BrokenProcessPool as error:  # it died while nobody asked
            failed: Future[list[Done]] = Future()
            failed.set_exception(error)
            return failed

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def close(self) -> None:
        """End the processes."""
        self._end()
        if self._here is not None:
            self._here.close()
            self._here = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tasks(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    task: list[Row] = []
    size = 0
    for row in rows:
        task.append(row)
        size += row.size_bytes
        if len(task) >= _ROWS_AHEAD or size >= _BYTES_AHEAD:
            yield task
            task, size = [], 0
    if task:
        yield task


_worker: Worker | None = None


def _begin(settings: IndexerSettings, crawl_settings: CrawlSettings) -> None:
    """Begin a process of the pool."""
    global _worker  # noqa: PLW0603 - a process of a pool has no other place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_logs(30)
    _worker = Worker(settings, crawl_settings)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - a child of a pool
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _do_all(rows: Sequence[Row]) -> list[Done]:
    assert _worker is not None  # noqa: S101 - see _begin
    return _worker.do_all(rows)
