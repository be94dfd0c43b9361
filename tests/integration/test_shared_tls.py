"""A shared crawl whose servers speak TLS alone, and let in who has a certificate alone.

NATS speaks it itself; Redis stands behind something that ends TLS, as in many installations.
"""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crawler.errors import FrontierError
from crawler.frontier import Frontier
from crawler.runner import run_crawl
from crawler.settings import CrawlJob, FrontierSettings, SharedCrawl
from indexer import Indexer
from indexer.errors import QueueError
from indexer.queue.taking import Taker
from indexer.settings import QueueSettings
from tests.contract.sinks.nats import Receiver
from tests.fakes.certificates import Authority
from tests.fakes.redis_server import serve_redis
from tests.sites import draw_image, serve_site


@contextmanager
def end_tls(port: int, authority: Authority) -> Iterator[int]:
    """Stand before a plain server; yields the port. Strangers are not let through."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("redis"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, inner[1]), pass_on(inner[0], writer))

    with closing(asyncio.new_event_loop()) as loop:
        server = loop.run_until_complete(asyncio.start_server(meet, "127.0.0.1", 0, ssl=context))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.05))


@dataclass
class Place:
    """The servers of one shared crawl, and who vouches for them."""

    shared: SharedCrawl
    stranger: Authority


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    key, ours = folder / "key", authority.issue("crawler")
    key.write_text("5a" * 32)
    theirs = str(authority.issue("nats"))
    tls = ("--tlsverify", "--tlscert", theirs, "--tlskey", theirs)
    with (
        Receiver(*tls, "--tlscacert", str(authority.file)) as nats,
        serve_redis() as plain,
        end_tls(int(plain.rpartition(":")[2].partition("/")[0]), authority) as port,
    ):
        files = {"key_file": key, "ca_file": authority.file, "certificate_file": ours}
        yield Place(
            SharedCrawl(
                frontier=FrontierSettings(url=f"rediss://127.0.0.1:{port}/0", **files),
                queue=QueueSettings(
                    servers=(f"tls://127.0.0.1:{nats.port}",), timeout_s=3, patience_s=3, **files
                ),
            ),
            stranger,
        )


async def taken(queue: QueueSettings, data_dir: Path) -> int:
    taker = await Taker.open(queue)
    try:
        with Indexer.open(data_dir=data_dir) as indexer:
            report = await taker.run(
                indexer.record_visits, indexer.record_page_keys, stop=asyncio.Event(), idle_s=0.2
            )
    finally:
        await taker.close()
    return report.hashed


def test_a_crawl_goes_over_tls_alone(place: Place, tmp_path: Path) -> None:
    """Both servers ask for a certificate; what was found reaches the store through them."""
    asyncio.run(taken(place.shared.queue, tmp_path / "store"))  # makes the stream
    with serve_site() as site:
        site.put("/a.jpg", draw_image(1))
        page = site.put("/", "<img src=/a.jpg>")
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        found = run_crawl(job, data_dir=tmp_path / "crawler", shared=place.shared)
        images = asyncio.run(taken(place.shared.queue, tmp_path / "store"))
        with Indexer.open(data_dir=tmp_path / "store") as indexer:
            assert indexer.find_image(f"{site.url}/a.jpg") is not None

    assert (found.pages, found.images, images) == (1, 1, 1)


@pytest.mark.parametrize("changed", ["ca_file", "certificate_file"])
def test_without_the_right_certificates_nothing_is_told(
    place: Place, tmp_path: Path, changed: str
) -> None:
    """A server whom nobody we trust vouches for, or that does not know us: named, and over."""
    wrong = place.stranger.file if changed == "ca_file" else place.stranger.issue("intruder")
    frontier = replace(place.shared.frontier, patience_s=0, **{changed: wrong})
    queue = replace(place.shared.queue, **{changed: wrong})

    async def open_frontier() -> None:
        opened = Frontier.at(frontier)
        try:
            await opened.open(max_pages=0)
        finally:
            await opened.close()

    with pytest.raises(FrontierError):
        asyncio.run(open_frontier())
    with pytest.raises(QueueError) as raised:
        asyncio.run(taken(queue, tmp_path))
    assert raised.value.code == "tls_failed"
