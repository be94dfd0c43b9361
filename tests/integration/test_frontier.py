"""The shared frontier, on a real Redis: two crawlers as two connections of one test."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from crawler.errors import FrontierError
from crawler.frontier import Drawn, Frontier, Kind, Task
from crawler.places import Place
from crawler.settings import FrontierSettings
from indexer.errors import SettingsError
from tests.fakes.redis_server import serve_redis

HOST = "site.example"
_names = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_redis() as url:
        yield url


@pytest.fixture
def settings(server: str, tmp_path: Path) -> FrontierSettings:
    key = tmp_path / "key"
    key.write_text("5a" * 32)
    return FrontierSettings(url=server, crawl=f"crawl{next(_names)}", key_file=key)


def page(path: str, *, links_left: int = 1) -> Task:
    return Task(url=f"http://{HOST}/{path}", kind=Kind.PAGE, links_left=links_left)


def image(path: str) -> Task:
    return Task(url=f"http://{HOST}/{path}", kind=Kind.IMAGE)


async def add(
    frontier: Frontier, *tasks: Task, place: Place | None = None, delay_ms: int = 0
) -> list[str | None]:
    return await frontier.add(
        [(task, place) for task in tasks], delays_ms={HOST: delay_ms}, max_sitemaps=10
    )


async def draw(frontier: Frontier, *, most: int = 10, per_host: int = 10) -> Drawn:
    return await frontier.draw(most, per_host=per_host)


def with_two(
    settings: FrontierSettings,
    work: Callable[[Frontier, Frontier], Awaitable[None]],
    *,
    max_pages: int = 100,
) -> None:
    """Run some work with two crawlers of one crawl."""

    async def run() -> None:
        one, two = Frontier.at(settings), Frontier.at(settings)
        try:
            await one.open(max_pages=max_pages)
            await two.open(max_pages=max_pages)
            await work(one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(run())


def test_a_url_is_drawn_once_and_never_again(settings: FrontierSettings) -> None:
    """Whoever finds a URL first puts it there; it is drawn by one, also after it is done."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"), page("b"))
        await add(two, page("b"), page("a"))
        drawn = [*(await draw(one, most=1)).tasks, *(await draw(two)).tasks]
        assert sorted(task.url for task in drawn) == [page("a").url, page("b").url]
        await one.finish(drawn[0], visited=True)
        await add(two, drawn[0])
        assert (await draw(two)).tasks == []

    with_two(settings, work)


def test_a_page_that_is_named_as_an_image_is_visited_as_both(settings: FrontierSettings) -> None:
    """Else an image tag somewhere would keep a page from ever being read."""

    async def work(one: Frontier, _: Frontier) -> None:
        await add(one, image("a"), page("a"))
        assert [task.kind for task in (await draw(one)).tasks] == [Kind.IMAGE, Kind.PAGE]

    with_two(settings, work)


def test_what_a_killed_crawler_held_goes_to_another(settings: FrontierSettings) -> None:
    """A reservation ends unless it is renewed; then what its first owner says does not count."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"), page("b"))
        first, second = (await draw(one)).tasks
        await asyncio.sleep(1.2)
        await one.renew([second])
        await asyncio.sleep(0.9)
        assert (await draw(two)).tasks == [first]
        await one.finish(first)
        assert (await draw(two)).held == 2

    with_two(replace(settings, lease_s=2.0), work)


def test_what_ends_several_crawlers_is_given_up(settings: FrontierSettings) -> None:
    """A URL over which ``tries`` crawlers ended is not given to the next."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"))
        for _ in range(2):
            assert len((await draw(two)).tasks) == 1
            await asyncio.sleep(0.06)
        drawn = await draw(one)
        assert (drawn.is_over, drawn.given_up) == (True, 1)

    with_two(replace(settings, lease_s=0.05, tries=2), work)


def test_what_is_given_back_is_drawn_at_once(settings: FrontierSettings) -> None:
    """A crawler that is stopped leaves what it held to the others."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"))
        await one.release((await draw(one)).tasks)
        assert (await draw(two)).tasks == [page("a")]

    with_two(settings, work)


def test_pages_that_name_an_image_meanwhile_are_told_to_its_owner(
    settings: FrontierSettings,
) -> None:
    """An image is done when every page that joined it is; later ones learn where it led."""
    first, second = Place("http://p/1"), Place("http://p/2", frozenset())

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, image("a"), place=first)
        task = (await draw(one)).tasks[0]
        assert await one.places(task) == [first]
        assert await add(two, image("a"), place=second) == [None]
        assert await one.finish(task, seen=1, led_to="http://cdn/a") == [second]
        assert await one.finish(task, seen=2, led_to="http://cdn/a") == []
        assert await add(two, image("a"), place=second) == ["http://cdn/a"]

    with_two(settings, work)


def test_a_host_has_one_pace_for_all(settings: FrontierSettings) -> None:
    """Turns of two crawlers are a delay apart; a longer one or a pause holds for both."""

    async def work(one: Frontier, two: Frontier) -> None:
        waits = [await crawler.wait_ms(HOST, delay_ms=60_000) for crawler in (one, two, one)]
        assert waits[0] == 0
        assert 40_000 < waits[1] <= 60_000
        assert 100_000 < waits[2] <= 120_000
        await one.slow_down(HOST, delay_ms=500_000)
        assert await two.wait_ms(HOST, delay_ms=60_000) > 500_000
        await two.slow_down("other.example", pause_ms=90_000)
        assert await one.wait_ms("other.example", delay_ms=0) > 70_000

    with_two(settings, work)


def test_one_url_of_a_host_with_a_delay_is_out_at_once(settings: FrontierSettings) -> None:
    """Where there is a delay, a crawler does not hold what it may not send yet."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"), page("b"), delay_ms=60_000)
        assert [len((await draw(crawler)).tasks) for crawler in (one, two)] == [1, 0]

    with_two(settings, work)


def test_transfers_of_a_host_are_limited_for_all(settings: FrontierSettings) -> None:
    """``per_host`` counts what all crawlers hold."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, *(page(str(number)) for number in range(9)))
        counts = [len((await draw(crawler, per_host=4)).tasks) for crawler in (one, two)]
        assert counts == [4, 0]

    with_two(settings, work)


def test_crawlers_visit_so_many_pages_together(settings: FrontierSettings) -> None:
    """The limit of pages is the crawl's; one that fails frees its place; images go on."""

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, page("a"), page("b"), page("c"), image("x"))
        drawn = [*(await draw(one)).tasks, *(await draw(two)).tasks]
        assert [task.kind.value for task in drawn] == ["i", "p"]
        await one.finish(drawn[1], visited=False)
        await asyncio.sleep(0.25)
        [second] = (await draw(two)).tasks
        await two.finish(second, visited=True)
        await one.finish(drawn[0])
        await asyncio.sleep(0.25)
        assert (await draw(one)).is_over

    with_two(settings, work, max_pages=1)


def test_redis_holds_no_address_and_nothing_after_the_end(
    settings: FrontierSettings, server: str
) -> None:
    """All that is written is sealed or keyed and has an expiry; when nothing is left it goes."""
    client = redis.Redis.from_url(server)

    def ours() -> list[bytes]:
        return [key for key in client.keys("*") if settings.crawl.encode() in key]

    async def work(one: Frontier, two: Frontier) -> None:
        await add(one, image("secret-path"), page("b"), place=Place("http://page.example/"))
        await one.add_sites([HOST])
        await one.wait_ms(HOST, delay_ms=0)
        await one.remember(b"k" * 16, b"User-agent: secret-path")
        held = (await draw(one)).tasks
        for key in ours():
            dumped = client.dump(key)
            assert all(word not in dumped for word in (b"secret-path", b"site.ex", b"page.ex"))
            assert client.pttl(key) > 0
        for task in held:
            while await one.finish(task, seen=1):
                pass
        assert await two.end()
        assert {key.rpartition(b":")[2] for key in ours() if b"robots" not in key} == {b"ended"}
        assert (await draw(one)).is_over

    with_two(settings, work)


def test_a_crawl_that_redis_lost_is_named(settings: FrontierSettings, server: str) -> None:
    """A server that was emptied must not look like a crawl that came to its end."""

    async def work(one: Frontier, _: Frontier) -> None:
        await add(one, page("a"))
        redis.Redis.from_url(server).flushdb()
        with pytest.raises(FrontierError, match="gone"):
            await draw(one)

    with_two(settings, work)


def test_another_key_and_another_servers_manners_are_named(
    settings: FrontierSettings, server: str, tmp_path: Path
) -> None:
    """Nobody joins with a key that opens nothing, or where a full server drops URLs."""
    other = tmp_path / "other"
    other.write_text("77" * 32)
    client = redis.Redis.from_url(server)

    async def join() -> None:
        frontier = Frontier.at(replace(settings, key_file=other))
        try:
            await frontier.open(max_pages=1)
        finally:
            await frontier.close()

    async def work(_: Frontier, __: Frontier) -> None:
        with pytest.raises(FrontierError, match="another key"):
            await join()
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(FrontierError, match="noeviction"):
                await join()
        finally:
            client.config_set("maxmemory", "0")

    with_two(settings, work)


@pytest.mark.parametrize(
    "url", ["redis://far.example/0", "rediss://user:word@far.example/0", "http://far.example"]
)
def test_addresses_that_would_tell_secrets_are_refused(url: str) -> None:
    """TLS beyond loopback, and no password in an address."""
    with pytest.raises(SettingsError, match="frontier"):
        FrontierSettings(url=url)
