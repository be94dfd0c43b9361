"""How many URLs a second the shared frontier puts, draws, paces and ends, and what one takes.

``python -m tests.benchmarks.frontier_rates [URLS]``: one crawler, a real Redis on loopback.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import redis

from crawler.frontier import Frontier, Kind, Task
from crawler.settings import FrontierSettings
from tests.fakes.redis_server import serve_redis

HOSTS = 1000


async def measure(frontier: Frontier, client: "redis.Redis", count: int) -> None:
    await frontier.open(max_pages=count)
    empty = client.info("memory")["used_memory"]
    tasks = [
        Task(url=f"https://host{n % HOSTS}.example/some/path/page-{n}.html", kind=Kind.PAGE)
        for n in range(count)
    ]
    watch = Watch(client)
    await frontier.add(
        [(task, None) for task in tasks],
        delays_ms={task.host: 0 for task in tasks},
        max_sitemaps=0,
    )
    watch.tell("put", count)
    waiting = client.info("memory")["used_memory"]
    watch = Watch(client)
    done = 0
    while drawn := (await frontier.draw(32, per_host=8)).tasks:

        async def visit(task: Task) -> None:
            await frontier.wait_ms(task.host, delay_ms=0)
            await frontier.finish(task, visited=True)

        await asyncio.gather(*map(visit, drawn))
        done += len(drawn)
    watch.tell("draw, turn, end", done)
    known = client.info("memory")["used_memory"]
    a_waiting, a_known = (waiting - empty) / count, (known - empty) / count
    sys.stdout.write(f"bytes a URL: {a_waiting:.0f} waiting, {a_known:.0f} known\n")


class Watch:
    """Times a step, and the processors' time that it takes, which other work slows less."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._began = time.perf_counter(), time.process_time(), self._of_redis()

    def tell(self, what: str, count: int) -> None:
        began, own, server = self._began
        taken = time.perf_counter() - began
        own, server = time.process_time() - own, self._of_redis() - server
        sys.stdout.write(
            f"{what}: {count / taken:.0f} URLs/s; processor: {1e6 * own / count:.0f} us a URL here,"
            f" {1e6 * server / count:.0f} in Redis ({count} URLs)\n"
        )

    def _of_redis(self) -> float:
        told = self._client.info("cpu")
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000

    async def run(url: str, key: Path) -> None:
        frontier = Frontier.at(FrontierSettings(url=url, key_file=key))
        await measure(frontier, redis.Redis.from_url(url), count)
        await frontier.close()

    with serve_redis() as url, tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key"
        key.write_text("5a" * 32)
        asyncio.run(run(url, key))


if __name__ == "__main__":
    main()
