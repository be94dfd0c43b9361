"""Hashing off the event loop: a few threads, a queue with an end, and a deadline for each."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from delist.web.problems import busy

P = ParamSpec("P")
R = TypeVar("R")


class HashingPool:
    """A bounded pool. To be used from one event loop.

    Work that has begun cannot be cut off (the indexer's own limits end it), so it keeps its
    place until it has ended, also when nobody waits for it any more.
    """

    def __init__(
        self,
        *,
        threads: int,
        queue: int,
        timeout_s: float,
        on_end: Callable[[BaseException | None], None] = lambda _error: None,
    ) -> None:
        """Take how much there may be at once.

        Args:
            on_end: told of each piece of work that has ended, with what it raised.
        """
        self._threads = threads
        self._on_end = on_end
        self._pool: ThreadPoolExecutor | None = None
        self._places = threads + queue
        self._timeout_s = timeout_s
        self.taken = 0

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do something in a thread.

        Raises:
            Problem: 503, the queue is full, or the deadline is over.
        """
        if self.taken >= self._places:
            raise busy("queue_full", "too many images are being hashed; try again later", retry_s=1)
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="hashing")
        self.taken += 1
        future = self._pool.submit(work, *args, **kwargs)
        future.add_done_callback(lambda done: self._release(loop, done))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise busy(
                "deadline", f"it was not done within {self._timeout_s:g} s; try again later"
            ) from None

    def close(self) -> None:
        """Drop what waits; what has begun goes on. The next that comes starts anew."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _release(self, loop: asyncio.AbstractEventLoop, done: "Future[R]") -> None:
        if not done.cancelled():
            self._on_end(done.exception())
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free)

    def _free(self) -> None:
        self.taken -= 1
