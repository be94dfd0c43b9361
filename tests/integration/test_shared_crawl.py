"""Two crawlers in processes of their own share one crawl of a loopback site, by real servers.

What they find is taken into a store, which must be that of one crawl by one crawler. The site asks
for a pause between requests; it notes when each came.
"""

import asyncio
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from crawler.errors import CrawlFailedError
from crawler.runner import CrawlResult, run_crawl
from crawler.settings import CrawlJob, CrawlSettings, FrontierSettings, SharedCrawl
from delist.cli import main
from indexer import Indexer
from indexer.queue.taking import TakenReport, Taker
from indexer.settings import QueueSettings
from tests.contract.sinks.nats import Receiver
from tests.fakes.redis_server import serve_redis
from tests.sites import Site, draw_image, serve_site

PAGES = 6
DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
DELAY_S = 0.1
CRAWL = CrawlSettings()


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with serve_redis() as url:
        yield url


@pytest.fixture(scope="module")
def nats() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Pages with a picture each, one on all that moved too, and a logo, which says of itself so."""
    with serve_site() as site:
        site.put("/robots.txt", f"User-agent: *\nCrawl-delay: {DELAY_S}\n")
        site.put("/common.jpg", draw_image(99))
        site.put("/moved.jpg", b"", status=302, Location="/common.jpg")
        site.put("/logo.jpg", draw_image(98))
        for n in range(PAGES):
            links = "".join(
                f"<a href=/{other}>x</a>" for other in (2 * n + 1, 2 * n + 2) if other < PAGES
            )
            names = [f"{n}.jpg", "common.jpg", "moved.jpg", *["logo.jpg"][n:]]
            images = "".join(f"<img src=/{name}>" for name in names)
            site.put(f"/{n}", links + images)
            site.put(f"/{n}.jpg", draw_image(n))
        yield site


@dataclass
class Crawler:
    """A crawl in a thread of the test; its process is a child of ours."""

    job: CrawlJob
    shared: SharedCrawl
    data_dir: Path
    outcome: list[CrawlResult | CrawlFailedError] = field(default_factory=list)

    def __post_init__(self) -> None:
        before = {child.pid for child in psutil.Process().children()}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        while True:
            new = [c for c in psutil.Process().children() if c.pid not in before]
            if new:
                self.process = new[0]
                return
            time.sleep(0.01)

    def _run(self) -> None:
        try:
            result = run_crawl(
                self.job, data_dir=self.data_dir, crawl_settings=CRAWL, shared=self.shared
            )
        except CrawlFailedError as error:
            self.outcome.append(error)
        else:
            self.outcome.append(result)

    def wait(self) -> CrawlResult | CrawlFailedError:
        self.thread.join(120)
        return self.outcome[0]


def shared_crawl(
    name: str, tmp_path: Path, redis_url: str, nats: Receiver, *, lease_s: float = 60.0
) -> SharedCrawl:
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    shared = SharedCrawl(
        frontier=FrontierSettings(url=redis_url, crawl=name, key_file=key, lease_s=lease_s),
        queue=QueueSettings(servers=(nats.url,), stream=name, subject=name, key_file=key),
    )
    asyncio.run(_create_streams(shared.queue))
    return shared


async def _create_streams(queue: QueueSettings) -> None:
    await (await Taker.open(queue)).close()


def take(queue: QueueSettings, data_dir: Path) -> TakenReport:
    async def run(indexer: Indexer) -> TakenReport:
        taker = await Taker.open(queue)
        try:
            return await taker.run(
                indexer.record_visits, indexer.record_page_keys, stop=asyncio.Event(), idle_s=0.2
            )
        finally:
            await taker.close()

    with Indexer.open(data_dir=data_dir) as indexer:
        return asyncio.run(run(indexer))


def stored(data_dir: Path, site: Site) -> dict[str, Any]:
    """What a store says of the site's images: bytes, hashes, pages, marks and who leads there."""
    held: dict[str, Any] = {}
    with Indexer.open(data_dir=data_dir) as indexer, indexer.store.read() as txn:
        images = indexer.store.images
        for name in [*(str(n) for n in range(PAGES)), "common", "moved", "logo"]:
            path = f"/{name}.jpg"
            record = images.find_by_url(txn, site.url + path)
            assert record is not None
            marks = images.page_marks.of_image(txn, record.key, most=100)
            held[path] = (
                record.image_url,
                record.sha256,
                record.quality,
                sorted(images.pages(txn, record.key)),
                sorted(images.aliases(txn, record.key)),
                marks,
            )
    return held


@pytest.fixture(scope="module")
def undisturbed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one crawler by itself finds."""
    data_dir = tmp_path_factory.mktemp("alone")
    job = CrawlJob(urls=(f"{site.url}/0",), depth=9, allow_private_addresses=True)
    run_crawl(job, data_dir=data_dir, crawl_settings=CRAWL)
    site.requests.clear()
    site.times.clear()
    return stored(data_dir, site)


def test_two_crawlers_fetch_each_url_once_at_the_pace_of_one(
    site: Site,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    redis_url: str,
    nats: Receiver,
) -> None:
    """No URL is fetched twice, the pause is kept between both, and the store is that of one."""
    shared = shared_crawl("pair", tmp_path, redis_url, nats)
    job = CrawlJob(urls=(f"{site.url}/0",), depth=9, allow_private_addresses=True)
    site.requests.clear()
    site.times.clear()

    crawlers = [Crawler(job, shared, tmp_path / f"crawler{n}") for n in range(2)]
    results = [crawler.wait() for crawler in crawlers]
    report = take(shared.queue, tmp_path / "store")

    found = [result for result in results if isinstance(result, CrawlResult)]
    assert len(found) == 2
    assert sum(result.pages for result in found) == PAGES
    # The picture that moved leads to one that is named by itself as well.
    twice = {path: count for path, count in Counter(site.paths()).items() if count > 1}
    assert twice.keys() <= {"/common.jpg"}
    # Single gaps say when this machine let somebody run; two paces would take half the time.
    assert max(site.times) - min(site.times) >= 0.95 * DELAY_S * (len(site.times) - 1)
    assert not (tmp_path / "crawler0").exists()
    assert not report.parked
    assert stored(tmp_path / "store", site) == undisturbed


def test_a_crawler_that_is_killed_changes_nothing(
    site: Site,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    redis_url: str,
    nats: Receiver,
) -> None:
    """Killed in the middle: another crawler does what was in hand, and the store is the same."""
    shared = shared_crawl("killed", tmp_path, redis_url, nats, lease_s=5.0)
    job = CrawlJob(urls=(f"{site.url}/0",), depth=9, allow_private_addresses=True)
    site.requests.clear()
    killed = Crawler(job, shared, tmp_path / "killed")
    while len(site.requests) < PAGES:  # robots.txt, and some pages and pictures
        time.sleep(0.01)
    asked_before = len(site.requests)
    killed.process.send_signal(signal.SIGKILL)
    heir = Crawler(replace(job, urls=()), shared, tmp_path / "heir")

    assert isinstance(killed.wait(), CrawlFailedError)
    result = heir.wait()
    take(shared.queue, tmp_path / "store")

    assert isinstance(result, CrawlResult)
    assert 0 < result.pages <= PAGES
    again = sum(count - 1 for count in Counter(site.paths()).values())
    assert again < asked_before  # what was done before was not done again
    assert stored(tmp_path / "store", site) == undisturbed


def test_the_commands_of_the_docs_crawl_without_a_store(
    site: Site,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    redis_url: str,
    nats: Receiver,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As docs/cluster.md shows them: keys, a crawler, one that joins it, then the store."""
    monkeypatch.chdir(tmp_path)
    Path("delist.toml").write_text(
        '[frontier]\nkey_file = "frontier-key"\n[queue]\nkey_file = "queue-key"\n'
    )
    known = {
        "https://photos.example/": f"{site.url}/0",
        "rediss://redis.internal:6379/0": redis_url,
        "tls://nats.internal:4222": nats.url,
    }
    shown = []
    for line in commands_of(DOCS):
        words = [known.get(word, word) for word in line.split()[1:]]
        if words[0] == "crawl":
            words.append("--allow-private-addresses")
        if "--depth" in words:
            queue = QueueSettings(servers=(nats.url,), key_file=Path("queue-key"))
            asyncio.run(_create_streams(queue))
            assert main([*words[:-5], "--frontier", redis_url]) == 2
        if words[0] == "index-from":
            assert not Path("delist-data").exists()
        capsys.readouterr()
        assert main([*words, "--json"]) == 0, line
        shown.append(capsys.readouterr().out)

    found, joined, taken = map(json.loads, shown[2:])
    assert (found["pages"], joined["pages"]) == (PAGES, 0)
    assert taken["hashed"] == PAGES + 2
    assert stored(tmp_path / "delist-data", site) == undisturbed


def commands_of(path: Path) -> list[str]:
    """Read the commands of a document: lines that begin with ``$`` in console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
