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
    began = time.perf_counter()
    await frontier.add(
        [(task, None) for task in tasks],
        delays_ms={task.host: 0 for task in tasks},
        max_sitemaps=0,
    )
    tell("put", count, began)
    waiting = client.info("memory")["used_memory"]
    began = time.perf_counter()
    done = 0
    while drawn := (await frontier.draw(32, per_host=8)).tasks:

        async def visit(task: Task) -> None:
            await frontier.wait_ms(task.host, delay_ms=0)
            await frontier.finish(task, visited=True)

        await asyncio.gather(*map(visit, drawn))
        done += len(drawn)
    tell("draw, turn, end", done, began)
    known = client.info("memory")["used_memory"]
    print(
        f"bytes a URL: {(waiting - empty) / count:.0f} waiting, {(known - empty) / count:.0f} known"
    )


def tell(what: str, count: int, began: float) -> None:
    print(f"{what}: {count / (time.perf_counter() - began):.0f} URLs/s ({count})")


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
