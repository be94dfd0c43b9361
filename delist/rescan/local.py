"""The engine of one machine: the unit of work under plain processes."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from delist.rescan.job import Job
from delist.rescan.work import FileOutcome, scan_file

_TRIES_ALONE = 2
_AHEAD = 2


class LocalEngine:
    """Runs files over some processes; a process that dies costs what it was at. To be closed."""

    def __init__(self, *, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def has_others(self, avoid: frozenset[str]) -> bool:  # noqa: ARG002 - the port
        """Say whether other processes would do better: all are the same."""
        return False

    def run(
        self,
        job: Job,
        files: Sequence[str],
        *,
        avoid: frozenset[str] = frozenset(),  # noqa: ARG002 - the port
    ) -> Generator[FileOutcome, None, None]:
        """Compare files; outcomes in the order in which they come about.

        What was under way when a process died is done again at the end, each file alone: one at
        which processes die is refused, ``worker_died``, and costs no other.
        """
        waiting, suspects, died = deque(files), deque[str](), Counter[str]()
        while waiting:
            suspects += yield from self._together(job, waiting, _AHEAD * self._workers)
        while suspects:
            for file in (yield from self._together(job, suspects, 1)):
                died[file] += 1
                if died[file] < _TRIES_ALONE:
                    suspects.append(file)
                else:
                    yield FileOutcome(file=file, refused="worker_died", by_worker=True)

    def close(self) -> None:
        """End the processes, once what they have in hand is done."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _together(
        self, job: Job, waiting: deque[str], most: int
    ) -> Generator[FileOutcome, None, list[str]]:
        """Take files from ``waiting`` until none is left, or a process died; returns what it cost.

        Args:
            job: the run.
            waiting: files.
            most: files that are given out at once.
        """
        held: dict[Future[FileOutcome], str] = {}
        pool = self._opened()
        try:
            while waiting or held:
                while waiting and len(held) < most:
                    future = pool.submit(scan_file, job, waiting[0])
                    held[future] = waiting.popleft()
                for future in wait(held, return_when=FIRST_COMPLETED).done:
                    outcome = future.result()
                    del held[future]
                    yield outcome
        except BrokenProcessPool:
            self.close()
            return list(held.values())
        finally:
            if held:  # nobody wants to know the rest
                self.close()
        return []

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                # A fork would share locks and maps with a process that has threads.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
            )
        return self._pool


def _begin() -> None:
    """Begin a process, which ends with the driver, however that ends: it holds the signals."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver ends us
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None  # noqa: S101 - a process of a pool
    multiprocessing.connection.wait([driver.sentinel])
    os._exit(1)
