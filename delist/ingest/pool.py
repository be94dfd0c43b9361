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
from dataclasses import dataclass
from typing import Self

from crawler.settings import CrawlSettings
from delist.errors import DelistError
from delist.ingest.done import Done
from delist.ingest.rows import Row
from delist.ingest.sending import (
    SharedMemory,
    Task,
    pack_done,
    pack_rows,
    unpack_done,
    unpack_rows,
)
from delist.ingest.work import Worker
from delist.logs import configure_logs
from indexer.settings import IndexerSettings

WORKER_DIED = "worker_died"

_ROWS_FIRST, _DOUBLINGS, _BYTES_AHEAD = 4, 4, 4 * 1024 * 1024
"""Rows that go to a process at once, at first; how often they are doubled; the most bytes, about.
Each change from one process to another costs what lay in the processor's caches, so tasks are
large; the first are small, so that a few images are shared by all."""
_TASKS_EACH = 3
"""Tasks for each process that are under way."""

_Waiting = deque["_UnderWay"]


@dataclass(slots=True)
class _UnderWay:
    """A task that was given to a process, and the slot of shared memory that it has."""

    rows: Sequence[Row]
    slot: int
    future: "Future[bytes]"


class Pool:
    """Processes that make visits of rows; none of its own where one is enough."""

    def __init__(
        self, processes: int, settings: IndexerSettings, crawl_settings: CrawlSettings
    ) -> None:
        self._processes = processes
        self._given = (settings, crawl_settings)
        self._here: Worker | None = None
        self._executor: ProcessPoolExecutor | None = None
        self._memory: SharedMemory | None = None

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
        waiting = _Waiting()
        slots = deque(range(_TASKS_EACH * self._processes))
        for task in _tasks(rows, self._processes):
            if not slots:
                slots.append(waiting[0].slot)
                yield from self._first(waiting)
            slot = slots.popleft()
            waiting.append(_UnderWay(task, slot, self._submit(task, slot)))
        while waiting:
            yield from self._first(waiting)

    def _first(self, waiting: _Waiting) -> Iterator[tuple[Row, Done]]:
        task = waiting.popleft()
        try:
            done = unpack_done(task.future.result())
        except BrokenProcessPool:
            self._end()
            done = [self._alone(row, task.slot) for row in task.rows]
            for later in waiting:
                later.future = self._submit(later.rows, later.slot)
        yield from zip(task.rows, done, strict=True)

    def _alone(self, row: Row, slot: int) -> Done:
        try:
            return unpack_done(self._submit([row], slot).result())[0]
        except BrokenProcessPool:
            self._end()
        try:
            self._submit([], slot).result()
        except BrokenProcessPool:
            raise DelistError("the processes that hash do not start") from None
        return Done(refusals=((WORKER_DIED, row.url),))

    def _submit(self, rows: Sequence[Row], slot: int) -> "Future[bytes]":
        if self._memory is None:
            try:
                self._memory = SharedMemory(_TASKS_EACH * self._processes, _BYTES_AHEAD)
            except OSError:
                raise DelistError("there is no memory for the processes that hash") from None
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self._processes,
                # The store must not be open across a fork.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(*self._given, self._memory),
            )
        try:
            return self._executor.submit(_do_all, pack_rows(rows, self._memory, slot))
        except BrokenProcessPool as error:  # it died while nobody asked
            failed: Future[bytes] = Future()
            failed.set_exception(error)
            return failed

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def close(self) -> None:
        """End the processes."""
        self._end()
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._here is not None:
            self._here.close()
            self._here = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tasks(rows: Iterable[Row], processes: int) -> Iterator[Sequence[Row]]:
    """Put rows together for processes, more and more of them as the source goes on."""
    task: list[Row] = []
    size, number = 0, 0
    for row in rows:
        most = _ROWS_FIRST << min(number // processes, _DOUBLINGS)
        if task and (len(task) == most or size + row.size_bytes > _BYTES_AHEAD):
            yield task
            task, size, number = [], 0, number + 1
        task.append(row)
        size += row.size_bytes
    if task:
        yield task


_worker: Worker | None = None
_memory: SharedMemory | None = None


def _begin(settings: IndexerSettings, crawl_settings: CrawlSettings, memory: SharedMemory) -> None:
    """Begin a process of the pool."""
    global _worker, _memory  # noqa: PLW0603 - a process of a pool has no other place
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_logs(30)
    _memory = memory
    _worker = Worker(settings, crawl_settings)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - a child of a pool
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _do_all(task: Task) -> bytes:
    assert _worker is not None  # noqa: S101 - see _begin
    assert _memory is not None  # noqa: S101 - the same
    return pack_done(_worker.do_all(unpack_rows(task, _memory)))
