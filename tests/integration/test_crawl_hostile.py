"""Servers that misbehave cost bounded time and memory, and are counted under a name."""

import gzip
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from tests.sites import Talk, draw_image, hostile, serve_site

OK = b"HTTP/1.1 200 OK\r\n"
PATIENCE_S = 60
"""A generous bound; the timeout of an answer is 3 s here."""


def endless_body(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff")
    while True:
        connection.sendall(b"x" * 65536)


def slow_drip(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)


def slow_headers(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK)
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.1)


def truncated(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n\xff\xd8\xff")


def gzip_bomb(connection: socket.socket, _path: str) -> None:
    body = gzip.compress(bytes(100_000_000))
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(OK + head + body)


def bad_gzip(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd")


def header_flood(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK)
    while True:
        connection.sendall(b"X-Flood: %s\r\n" % (b"y" * 1000) * 50)


def endless_header(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"X: ")
    while True:
        connection.sendall(b"y" * 65536)


def redirect_loop(connection: socket.socket, path: str) -> None:
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s?x\r\n\r\n"
    connection.sendall(head % path.encode())


def hang_up(connection: socket.socket, _path: str) -> None:
    del connection


def asks_to_wait(connection: socket.socket, _path: str) -> None:
    connection.sendall(b"HTTP/1.1 429 x\r\nRetry-After: 9999\r\nContent-Length: 0\r\n\r\n")


SERVERS: tuple[tuple[Talk, str], ...] = (
    (endless_body, "too_many_bytes"),
    (slow_drip, "timeout"),
    (slow_headers, "timeout"),
    (truncated, "truncated"),
    (gzip_bomb, "too_many_bytes"),
    (bad_gzip, "bad_encoding"),
    (header_flood, "connection_failed"),
    (endless_header, "connection_failed"),
    (redirect_loop, "too_many_redirects"),
    (hang_up, "connection_failed"),
    (asks_to_wait, "http_429"),
)


def test_hostile_servers_are_bounded_and_named(tmp_path: Path) -> None:
    """As a seed and as an image: each refused under its name, in bounded time; others go on."""
    settings = CrawlSettings(timeout_s=3, retry_after_cap_s=1, retries=1)
    with ExitStack() as stack:
        servers = [stack.enter_context(hostile(talk)) for talk, _ in SERVERS]
        site = stack.enter_context(serve_site())
        site.put("/good.jpg", draw_image(1))
        images = "".join(f"<img src={server}/image.jpg>" for server in servers)
        page = site.put("/", f"{images}<img src=/good.jpg>")
        seeds = (page, *(f"{server}/page" for server in servers))
        job = CrawlJob(urls=seeds, allow_private_addresses=True)
        started_at = time.monotonic()
        result = run_crawl(job, data_dir=tmp_path, crawl_settings=settings)
        seconds = time.monotonic() - started_at

    codes = [code for _, code in SERVERS]
    assert sorted(result.refused_seeds) == list(enumerate(codes, start=1))
    assert result.refused == {code: 2 * codes.count(code) for code in codes}
    assert (result.images, result.hashed) == (len(SERVERS) + 1, 1)
    assert seconds < PATIENCE_S


def test_a_host_that_only_costs_time_is_given_up(tmp_path: Path) -> None:
    """After some timeouts in a row the rest of a host's images is not waited for."""
    settings = CrawlSettings(timeout_s=1, host_failure_limit=8)
    with hostile(slow_drip) as server, serve_site() as site:
        page = site.put("/", "".join(f"<img src={server}/{n}.jpg>" for n in range(200)))
        site_host = page.replace("127.0.0.1", "localhost")  # the drip is another host
        job = CrawlJob(urls=(site_host,), allow_private_addresses=True)
        result = run_crawl(job, data_dir=tmp_path, crawl_settings=settings)

    assert result.images == 200
    assert result.refused["host_given_up"] > 100
    assert result.refused["timeout"] + result.refused["host_given_up"] == 200


def test_retry_after_is_kept_to(tmp_path: Path) -> None:
    """After a 503 with Retry-After the host is asked again, no sooner, and the page is read."""
    times: list[float] = []

    def busy_once(connection: socket.socket, _path: str) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            head = b"HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n"
            connection.sendall(head + b"\r\n")
        else:
            connection.sendall(OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi")

    with hostile(busy_once) as server:
        job = CrawlJob(urls=(server,), allow_private_addresses=True)
        result = run_crawl(job, data_dir=tmp_path, crawl_settings=CrawlSettings(timeout_s=5))

    assert len(times) == 2
    assert times[1] - times[0] >= 1.9
    assert result.refused in ({}, {"not_a_page": 1})


def test_crawl_delay_is_kept_to(tmp_path: Path) -> None:
    """A site's own Crawl-delay spaces requests, on loopback too."""
    with serve_site() as site:
        site.put("/robots.txt", "User-agent: *\nCrawl-delay: 1\n")
        page = site.put("/", "<a href=/b>b</a><a href=/c>c</a>")
        site.put("/b", "b")
        site.put("/c", "c")
        started_at = time.monotonic()
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        result = run_crawl(job, data_dir=tmp_path)
        seconds = time.monotonic() - started_at

    assert result.pages == 3
    assert seconds >= 1  # three requests, one second apart less half for jitter


BROKEN = (
    "<div>" * 100_000,
    "<img src='" * 10_000,
    "\x00<p>\ufffe<img src=//[>",
    "<base href='http://['><a href=x>",
    "<img srcset='" + ",(" * 5_000 + "'>",
    "<meta http-equiv=refresh content='0;url=/'>",
    "<?xml version='1.0' encoding='nonsense'?><urlset><url>",
)


def test_broken_pages_are_read(tmp_path: Path) -> None:
    """No markup ends a crawl or counts as an internal error; the page behind them is read."""
    with serve_site() as site:
        kind = {"Content_Type": "text/html; charset=nonsense"}
        pages = [site.put(f"/{n}", html, **kind) for n, html in enumerate(BROKEN)]
        site.put("/good.jpg", draw_image(1))
        good = site.put("/good", "<img src=/good.jpg>")
        job = CrawlJob(urls=(*pages, good), allow_private_addresses=True)
        result = run_crawl(job, data_dir=tmp_path, crawl_settings=CrawlSettings(timeout_s=5))

    # The refresh leads to nothing, and a sitemap is no page.
    assert (result.pages, result.refused_seeds) == (len(BROKEN) - 1, ((5, "http_404"),))
    assert result.hashed == 1
    assert "internal_error" not in result.refused


def test_images_beyond_the_limit_of_a_page_are_counted(tmp_path: Path) -> None:
    """A page with ten thousand images has the first ones fetched, the rest counted."""
    with serve_site() as site:
        page = site.put("/", "".join(f"<img src=/{n}>" for n in range(10_000)))
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        settings = CrawlSettings(max_images_per_page=20)
        result = run_crawl(job, data_dir=tmp_path, crawl_settings=settings)

    assert result.images == 10_000
    assert result.refused == {"http_404": 20, "too_many_images": 9_980}


def test_links_that_wait_are_bounded(tmp_path: Path) -> None:
    """A site, or a sitemap, may name pages without end; seeds are visited whatever waits."""
    with serve_site() as site:
        page = site.put("/", "".join(f"<a href=/{n}>page</a>" for n in range(300)))
        other = site.put("/other", "")
        job = CrawlJob(urls=(page, other), depth=2, allow_private_addresses=True)
        result = run_crawl(
            job, data_dir=tmp_path, crawl_settings=CrawlSettings(waiting_bytes=10_000)
        )

    assert result.pages == 2
    assert result.refused.keys() == {"http_404", "too_many_links"}
    assert sum(result.refused.values()) == 300
    assert result.refused["http_404"] < 50
