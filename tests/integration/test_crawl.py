"""Whole crawls of a loopback site, each in its child process, into a real store."""

import base64
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.runner import CrawlResult, run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from indexer import Indexer
from indexer.address import is_public
from tests.sites import Site, draw_image, hostile, serve_site


def crawl(data_dir: Path, *urls: str, **job: object) -> CrawlResult:
    order = CrawlJob(urls=urls, **{"allow_private_addresses": True, **job})  # type: ignore[arg-type]
    return run_crawl(order, data_dir=data_dir, crawl_settings=CrawlSettings(timeout_s=10))


def put_images(site: Site, count: int) -> list[str]:
    return [
        site.put(f"/{n}.jpg", draw_image(n), ETag=f'"{n}"', Content_Type="image/jpeg")
        for n in range(count)
    ]


def test_images_are_hashed_once_and_then_unchanged(tmp_path: Path) -> None:
    """A second crawl asks with conditions, gets 304, hashes nothing and keeps the records."""
    with serve_site() as site:
        urls = put_images(site, 3)
        page = site.put("/", "".join(f"<img src={url}>" for url in urls))

        first = crawl(tmp_path, page)
        site.requests.clear()
        second = crawl(tmp_path, page)

        asked = [headers for path, headers in site.requests if path.endswith(".jpg")]

    assert (first.pages, first.images, first.hashed, first.unchanged) == (1, 3, 3, 0)
    assert (second.images, second.hashed, second.unchanged) == (3, 0, 3)
    assert all("If-None-Match" in headers for headers in asked)
    with Indexer.open(data_dir=tmp_path) as indexer:
        record = indexer.find_image(urls[0])
    assert record is not None
    assert record.etag == '"0"'


def test_equal_bytes_without_validators_are_unchanged(tmp_path: Path) -> None:
    """Where a server knows no ETag, the SHA-256 of the bytes decides."""
    with serve_site() as site:
        site.put("/a.jpg", draw_image(1))
        page = site.put("/", "<img src=a.jpg>")
        crawl(tmp_path, page)
        same = crawl(tmp_path, page)
        site.put("/a.jpg", draw_image(2))
        changed = crawl(tmp_path, page)

    assert (same.hashed, same.unchanged) == (0, 1)
    assert (changed.hashed, changed.unchanged) == (1, 0)


def test_an_image_on_two_pages_is_fetched_once(tmp_path: Path) -> None:
    """One fetch a crawl, whatever number of pages shows the image."""
    with serve_site() as site:
        put_images(site, 1)
        site.put("/b", "<img src=/0.jpg>")
        page = site.put("/", "<a href=/b>b</a><img src=/0.jpg><img src=/0.jpg#x>")
        result = crawl(tmp_path, page)

        assert site.paths().count("/0.jpg") == 1

    assert (result.pages, result.images, result.hashed) == (2, 1, 1)


@pytest.mark.parametrize(("depth", "pages"), [(0, 1), (1, 2), (2, 3)])
def test_depth_counts_page_links(tmp_path: Path, depth: int, pages: int) -> None:
    """Seeds are depth 0; images of the last page are fetched all the same."""
    with serve_site() as site:
        put_images(site, 3)
        first = site.put("/", "<a href=/b>b</a><img src=/0.jpg>")
        site.put("/b", "<a href=/c>c</a><img src=/1.jpg>")
        site.put("/c", "<a href=/>back</a><img src=/2.jpg>")
        result = crawl(tmp_path, first, depth=depth)

    assert (result.pages, result.images) == (pages, pages)


def test_max_pages_counts_pages_that_were_visited(tmp_path: Path) -> None:
    """A link that fails frees its place for the next one."""
    with serve_site() as site:
        for n in range(5, 9):
            site.put(f"/{n}", "page")
        page = site.put("/", "".join(f"<a href=/{n}>n</a>" for n in range(9)))
        result = crawl(tmp_path, page, max_pages=3)

    assert result.pages == 3
    assert result.refused["http_404"] == 5


def test_pages_stay_on_the_seeds_hosts_and_images_do_not(tmp_path: Path) -> None:
    """Another host's pages are not visited; its images are."""
    with serve_site() as site, serve_site() as other:
        put_images(other, 1)
        other.put("/page", "<img src=/0.jpg>")
        page = site.put("/", f"<a href={other.url}/page>x</a><img src={other.url}/0.jpg>")
        result = crawl(tmp_path, page)

        assert "/page" not in other.paths()

    assert (result.pages, result.images) == (1, 1)


def test_what_an_answer_is_its_bytes_decide(tmp_path: Path) -> None:
    """A page link that answers an image is hashed; an image URL that answers HTML is refused."""
    with serve_site() as site:
        site.put("/show", draw_image(1), Content_Type="text/html")
        site.put("/fake.jpg", "<html>no</html>", Content_Type="image/jpeg")
        page = site.put("/", "<a href=/show>x</a><img src=/fake.jpg>")
        result = crawl(tmp_path, page)

    assert (result.pages, result.images, result.hashed) == (1, 2, 1)
    assert result.refused == {"not_an_image": 1}


def test_seeds_may_be_images_sitemaps_and_wrong(tmp_path: Path) -> None:
    """Each seed is told apart by what it answers; wrong ones are named, others go on."""
    with serve_site() as site:
        urls = put_images(site, 2)
        site.put("/p", "<img src=/1.jpg>")
        sitemap = site.put("/s.xml", f"<urlset><url><loc>{site.url}/p</loc></url></urlset>")
        broken = site.put("/broken.jpg", b"\xff\xd8\xff", Content_Type="image/jpeg")
        result = crawl(
            tmp_path, urls[0], sitemap, "ftp://x/", "not a url", f"{site.url}/no", broken
        )

    assert (result.pages, result.hashed) == (1, 2)
    codes = dict(result.refused_seeds)
    assert set(codes) == {2, 3, 4, 5}
    assert (codes[2], codes[3], codes[4]) == ("invalid_url", "invalid_url", "http_404")


def test_sitemaps_of_a_host_are_found(tmp_path: Path) -> None:
    """With ``sitemap``: /sitemap.xml, the lines of robots.txt, indexes, and image sitemaps."""
    with serve_site() as site:
        put_images(site, 3)
        site.put("/robots.txt", f"Sitemap: {site.url}/index.xml")
        site.put(
            "/index.xml",
            f"<sitemapindex><sitemap><loc>{site.url}/a.xml</loc></sitemap></sitemapindex>",
        )
        site.put(
            "/a.xml",
            f"<urlset><url><loc>{site.url}/a</loc><image><loc>{site.url}/2.jpg</loc></image></url></urlset>",
        )
        site.put("/sitemap.xml", f"<urlset><url><loc>{site.url}/b</loc></url></urlset>")
        site.put("/a", "<img src=/0.jpg>")
        site.put("/b", "<img src=/1.jpg>")
        page = site.put("/", "nothing here")
        result = crawl(tmp_path, page, sitemap=True)

    assert (result.pages, result.images) == (3, 3)


def test_robots_is_obeyed_for_pages_and_images(tmp_path: Path) -> None:
    """What robots.txt forbids is not fetched, and is counted."""
    with serve_site() as site:
        put_images(site, 2)
        site.put("/robots.txt", "User-agent: DelistBot\nDisallow: /b\nDisallow: /1.jpg\n")
        site.put("/b", "secret")
        page = site.put("/", "<a href=/b>b</a><img src=/0.jpg><img src=/1.jpg>")
        result = crawl(tmp_path, page)

        assert not {"/b", "/1.jpg"} & set(site.paths())

    assert result.refused == {"forbidden_by_robots": 2}
    assert result.hashed == 1


def test_redirects_lead_to_one_record(tmp_path: Path) -> None:
    """The record is kept under the URL that answered."""
    with serve_site() as site:
        put_images(site, 1)
        site.put("/old.jpg", b"", status=302, Location="/0.jpg")
        page = site.put("/", "<img src=/old.jpg>")
        result = crawl(tmp_path, page)
        with Indexer.open(data_dir=tmp_path) as indexer:
            record = indexer.find_image(f"{site.url}/0.jpg")

    assert result.hashed == 1
    assert record is not None


def test_inline_images_are_keyed_by_their_page(tmp_path: Path) -> None:
    """A ``data:`` image is hashed, and unchanged at the next visit."""
    data = base64.b64encode(draw_image(1)).decode()
    with serve_site() as site:
        page = site.put("/", f'<img src="data:image/jpeg;base64,{data}"><img src="data:,junk">')
        first, second = crawl(tmp_path, page), crawl(tmp_path, page)

    assert (first.images, first.hashed) == (2, 1)
    assert (second.hashed, second.unchanged) == (0, 1)


def test_matches_of_hashed_images_are_counted(tmp_path: Path) -> None:
    """What an image matches is counted when it is hashed, not again while it is unchanged."""
    config = tmp_path / "delist.toml"
    config.write_text('data_dir = "data"\n[feeds.bank]\ntype = "file"\npath = "bank.txt"\n')
    with Indexer.open(data_dir=tmp_path / "scratch") as indexer:
        digest = indexer.hash_image(draw_image(1)).hashes[0].digest.hex()
    (tmp_path / "bank.txt").write_text(f"{digest}\n")
    with Indexer.open(config) as indexer:
        indexer.feed_sync("bank").run(now=datetime.now(UTC))
    with serve_site() as site:
        put_images(site, 3)
        page = site.put("/", "<img src=/0.jpg><img src=/1.jpg><img src=/2.jpg>")
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        first, second = run_crawl(job, config=config), run_crawl(job, config=config)

    assert (first.hashed, first.matches) == (3, 1)
    assert (second.unchanged, second.matches) == (3, 0)


def test_private_addresses_are_refused_unless_allowed(tmp_path: Path) -> None:
    """Without the switch nothing on this machine is asked, robots.txt included."""
    with serve_site() as site:
        page = site.put("/", "x")
        names = page.replace("127.0.0.1", "localhost"), page.replace("127.0.0.1", "2130706433")
        result = crawl(tmp_path, page, *names, allow_private_addresses=False)

        assert site.requests == []

    assert result.refused == {"private_address": 3}
    assert len(result.refused_seeds) == 3


def test_names_of_private_addresses_are_refused(tmp_path: Path) -> None:
    """A name that resolves to a private address is refused when it is looked up."""
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("this machine's name does not resolve")
    if is_public(address) or name == "localhost":
        pytest.skip("this machine's name is no private one")
    with serve_site() as site:
        page = site.put("/", "x").replace("127.0.0.1", name)
        result = crawl(tmp_path, page, allow_private_addresses=False)

        assert site.requests == []

    assert result.refused_seeds == ((0, "private_address"),)


def test_no_url_reaches_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever goes wrong, logs name no URL, page or digest."""
    with serve_site() as site, hostile(lambda _socket, _path: None) as reset:
        site.put("/secret.jpg", b"junk")
        page = site.put(
            "/secret", f"<img src=secret.jpg><img src={reset}/secret><a href=/sec>s</a>"
        )
        result = crawl(tmp_path, page, "http://127.0.0.1:1/secret")

    assert result.refused["connection_failed"] == 2
    errors = capfd.readouterr().err
    assert "crawler.library_message" in errors
    assert "sec" not in errors.replace("seconds", "")
    assert "127.0.0.1" not in errors
