"""Recording visits in batches: one durable transaction for many images.

A transaction that is synced to disk costs about as much for sixty images as for
one. Whoever records a visit waits until its batch is on disk, so nothing is
reported before it would survive a kill.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from indexer.errors import StoreError
from indexer.model import ImageVisit, VisitResult

MAX_BATCH = 64
MAX_WAIT_S = 0.2

RecordVisits = Callable[[Sequence[ImageVisit]], list[VisitResult]]
_Waiting = tuple[ImageVisit, "asyncio.Future[VisitResult]"]


class VisitWriter:
    """Collects visits and records them, one batch at a time, in order.

    Attributes:
        error: the store's error that ended the writer; every later visit fails with it.
    """

    def __init__(self, record_visits: RecordVisits, executor: Executor) -> None:
        self._record_visits = record_visits
        self._executor = executor
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._run())
        self.error: Exception | None = None

    async def record(self, visit: ImageVisit) -> VisitResult:
        """Record one visit; returns when it is durable.

        Raises:
            Exception: whatever ``record_visits`` raised for its batch.
        """
        if self.error is not None:
            raise self.error
        result: asyncio.Future[VisitResult] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((visit, result))
        return await result

    async def close(self) -> None:
        """Record what is waiting, then end."""
        self._queue.put_nowait(None)
        await self._task

    async def _run(self) -> None:
        ended = False
        while not ended:
            first = await self._queue.get()
            if first is None:
                return
            batch, ended = await self._collect(first)
            await self._commit(batch)

    async def _collect(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        batch = [first]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_WAIT_S
        while len(batch) < MAX_BATCH:
            try:
                entry = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                try:
                    entry = await asyncio.wait_for(self._queue.get(), deadline - loop.time())
                except TimeoutError:
                    break
            if entry is None:
                return batch, True
            batch.append(entry)
        return batch, False

    async def _commit(self, batch: list[_Waiting]) -> None:
        visits = [visit for visit, _ in batch]
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._record_visits, visits)
        except StoreError as error:
            self.error = error
            _fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            if len(batch) == 1:
                _fail(batch, error)
                return
            for entry in batch:  # one visit that cannot be recorded costs no other
                await self._commit([entry])
            return
        for (_, waiting), result in zip(batch, results, strict=True):
            if not waiting.done():
                waiting.set_result(result)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for _, waiting in batch:
        if not waiting.done():
            waiting.set_exception(error)
