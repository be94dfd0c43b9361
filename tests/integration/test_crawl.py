"""Whole crawls of loopback sites, each in its child process, into a real store.

Most rules are read off one crawl of a dozen sites, and off a second one of the same.
"""

import base64
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from crawler.runner import CrawlResult, run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from indexer import Indexer
from indexer.address import is_public
from indexer.model import ImageRecord
from indexer.url import inline_image_url, url_key
from tests.sites import Site, draw_image, hostile, serve_site

REPORTED = 900
"""Seed of the one picture that a feed knows."""
INLINE = 1000


def crawl(data_dir: Path, *urls: str, config: Path | None = None, **job: object) -> CrawlResult:
    order = CrawlJob(urls=urls, **{"allow_private_addresses": True, **job})  # type: ignore[arg-type]
    settings = CrawlSettings(timeout_s=10)
    return run_crawl(order, config=config, data_dir=data_dir, crawl_settings=settings)


def put_images(site: Site, count: int, *, first: int = 0) -> list[str]:
    return [
        site.put(f"/{n}.jpg", draw_image(first + n), ETag=f'"{n}"', Content_Type="image/jpeg")
        for n in range(count)
    ]


def put_chain(site: Site) -> str:
    """Three pages, each with an image and a link to the next; returns the first one's URL."""
    put_images(site, 3)
    site.put("/b", "<a href=/c>c</a><img src=/1.jpg>")
    site.put("/c", "<a href=/>back</a><img src=/2.jpg>")
    return site.put("/", "<a href=/b>b</a><img src=/0.jpg>")


@dataclass
class Tour:
    """Sites, and two crawls of all of them.

    Attributes:
        seeds: what was given, in this order.
        paths: what each site was asked by the first crawl.
        headers: of each request of the second crawl, by site and path.
    """

    data_dir: Path
    sites: dict[str, Site] = field(default_factory=dict)
    seeds: list[str] = field(default_factory=list)
    first: CrawlResult = field(default_factory=CrawlResult)
    second: CrawlResult = field(default_factory=CrawlResult)
    paths: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def stored(self, site: str) -> dict[str, ImageRecord]:
        """Which of the paths that a site has are images of the store."""
        held = self.sites[site]
        with Indexer.open(data_dir=self.data_dir) as indexer:
            found = {path: indexer.find_image(f"{held.url}{path}") for path in held.pages}
        return {path: record for path, record in found.items() if record is not None}

    def refused(self, *urls: str) -> list[str | None]:
        """Why seeds were refused."""
        codes = dict(self.first.refused_seeds)
        return [codes.get(self.seeds.index(url)) for url in urls]

    def set_up(self) -> None:
        """Fill the sites, and list the seeds."""
        sites, seeds = self.sites, self.seeds
        put_images(sites["tagged"], 3, first=100)
        seeds.append(sites["tagged"].put("/", "".join(f"<img src=/{n}.jpg>" for n in range(3))))
        for name, number in (("plain", 200), ("changing", 300)):
            sites[name].put("/a.jpg", draw_image(number))
            seeds.append(sites[name].put("/", "<img src=a.jpg>"))
        site = sites["shared image"]
        put_images(site, 1, first=400)
        site.put("/b", "<img src=/0.jpg>")
        seeds.append(site.put("/", "<a href=/b>b</a><img src=/0.jpg><img src=/0.jpg#x>"))
        seeds.append(put_chain(sites["chain"]))
        other = sites["another host"]
        put_images(other, 1, first=500)
        other.put("/page", "<img src=/0.jpg>")
        links = f"<a href={other.url}/page>x</a><img src={other.url}/0.jpg>"
        seeds.append(sites["links away"].put("/", links))
        site = sites["wrong types"]
        site.put("/show", draw_image(600), Content_Type="text/html")
        site.put("/fake.jpg", "<html>no</html>", Content_Type="image/jpeg")
        seeds.append(site.put("/", "<a href=/show>x</a><img src=/fake.jpg>"))
        site = sites["robots"]
        put_images(site, 2, first=700)
        site.put("/robots.txt", "User-agent: DelistBot\nDisallow: /b\nDisallow: /1.jpg\n")
        site.put("/b", "secret")
        seeds.append(site.put("/", "<a href=/b>b</a><img src=/0.jpg><img src=/1.jpg>"))
        site = sites["redirect"]
        put_images(site, 1, first=800)
        site.put("/old.jpg", b"", status=302, Location="/0.jpg")
        seeds.append(site.put("/", "<img src=/old.jpg>"))
        put_images(sites["reported"], 1, first=REPORTED)
        seeds.append(sites["reported"].put("/", "<img src=/0.jpg>"))
        data = base64.b64encode(draw_image(INLINE)).decode()
        tags = f'<img src="data:image/jpeg;base64,{data}"><img src="data:,junk">'
        seeds.append(sites["inline"].put("/", tags))
        site = sites["seeds"]
        put_images(site, 2, first=1100)
        site.put("/p", "<img src=/1.jpg>")
        seeds += [
            f"{site.url}/0.jpg",
            site.put("/s.xml", f"<urlset><url><loc>{site.url}/p</loc></url></urlset>"),
            site.put("/broken.jpg", b"\xff\xd8\xff", Content_Type="image/jpeg"),
            f"{site.url}/no",
            "ftp://x/",
            "not a url",
        ]


SITES = (
    "tagged", "plain", "changing", "shared image", "chain", "links away", "another host",
    "wrong types", "robots", "redirect", "reported", "inline", "seeds",
)  # fmt: skip


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """All sites, crawled twice; one image changes in between, without saying so."""
    folder = tmp_path_factory.mktemp("tour")
    config = folder / "delist.toml"
    config.write_text('[feeds.bank]\ntype = "file"\npath = "bank.txt"\n')
    tour = Tour(folder / "data")
    with Indexer.open(config, data_dir=tour.data_dir) as indexer:
        digest = indexer.hash_image(draw_image(REPORTED)).hashes[0].digest.hex()
        (folder / "bank.txt").write_text(f"{digest}\n")
        indexer.feed_sync("bank").run(now=datetime.now(UTC))
    with ExitStack() as servers:
        tour.sites = {name: servers.enter_context(serve_site()) for name in SITES}
        tour.set_up()
        tour.first = crawl(tour.data_dir, *tour.seeds, config=config)
        for name, site in tour.sites.items():
            tour.paths[name] = site.paths()
            site.requests.clear()
        tour.sites["changing"].put("/a.jpg", draw_image(301))
        tour.second = crawl(tour.data_dir, *tour.seeds, config=config)
        tour.headers = {name: dict(site.requests) for name, site in tour.sites.items()}
        yield tour


def test_everything_is_counted_once(tour: Tour) -> None:
    """Pages visited, images looked at, and what was refused and why, over all sites."""
    first = tour.first

    assert first.pages == 14
    assert (first.images, first.hashed, first.unchanged) == (20, 16, 0)
    assert first.refused == {
        "not_an_image": 2, "forbidden_by_robots": 2, "http_404": 1, "invalid_url": 2,
        "corrupt": 1,
    }  # fmt: skip


def test_images_are_hashed_once_and_then_unchanged(tour: Tour) -> None:
    """A second crawl asks with conditions, gets 304, hashes nothing and keeps the records."""
    asked = [headers for path, headers in tour.headers["tagged"].items() if path != "/"]

    assert (tour.second.images, tour.second.unchanged) == (20, 15)
    assert len([headers for headers in asked if "If-None-Match" in headers]) == 3
    records = tour.stored("tagged")
    assert {path: record.etag for path, record in records.items()} == {
        "/0.jpg": '"0"', "/1.jpg": '"1"', "/2.jpg": '"2"',
    }  # fmt: skip


def test_equal_bytes_without_validators_are_unchanged(tour: Tour) -> None:
    """Where a server knows no ETag, the SHA-256 of the bytes decides: one image has changed."""
    assert "If-None-Match" not in tour.headers["plain"]["/a.jpg"]
    assert tour.second.hashed == 1
    assert tour.stored("changing")["/a.jpg"].sha256 == sha256(draw_image(301)).digest()


def test_an_image_on_two_pages_is_fetched_once(tour: Tour) -> None:
    """One fetch a crawl, whatever number of pages shows the image."""
    assert sorted(tour.paths["shared image"]) == ["/", "/0.jpg", "/b", "/robots.txt"]


def test_depth_is_one_unless_said_otherwise(tour: Tour) -> None:
    """Pages that seeds link to are visited, and no further ones."""
    assert set(tour.stored("chain")) == {"/0.jpg", "/1.jpg"}
    assert "/c" not in tour.paths["chain"]


@pytest.mark.parametrize(("depth", "pages"), [(0, 1), (2, 3)])
def test_depth_counts_page_links(tmp_path: Path, depth: int, pages: int) -> None:
    """Seeds are depth 0; images of the last page are fetched all the same."""
    with serve_site() as site:
        result = crawl(tmp_path, put_chain(site), depth=depth)

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


def test_pages_stay_on_the_seeds_hosts_and_images_do_not(tour: Tour) -> None:
    """Another host's pages are not visited; its images are."""
    assert "/page" not in tour.paths["another host"]
    assert set(tour.stored("another host")) == {"/0.jpg"}


def test_what_an_answer_is_its_bytes_decide(tour: Tour) -> None:
    """A page link that answers an image is hashed; an image URL that answers HTML is refused."""
    assert set(tour.stored("wrong types")) == {"/show"}
    assert "/fake.jpg" in tour.paths["wrong types"]
    assert tour.first.refused["not_an_image"] == 2  # the other one stands in a page


def test_seeds_may_be_images_sitemaps_and_wrong(tour: Tour) -> None:
    """Each seed is told apart by what it answers; wrong ones are named, others go on."""
    url = tour.sites["seeds"].url

    assert set(tour.stored("seeds")) == {"/0.jpg", "/1.jpg"}
    assert len(tour.first.refused_seeds) == 4
    assert tour.refused("ftp://x/", "not a url", f"{url}/no", f"{url}/broken.jpg") == [
        "invalid_url", "invalid_url", "http_404", "corrupt",
    ]  # fmt: skip


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


def test_robots_is_obeyed_for_pages_and_images(tour: Tour) -> None:
    """What robots.txt forbids is not fetched, and is counted."""
    assert sorted(tour.paths["robots"]) == ["/", "/0.jpg", "/robots.txt"]
    assert tour.first.refused["forbidden_by_robots"] == 2
    assert set(tour.stored("robots")) == {"/0.jpg"}


def test_redirects_lead_to_one_record(tour: Tour) -> None:
    """The record is kept under the URL that answered."""
    key = url_key(f"{tour.sites['redirect'].url}/0.jpg")

    assert {path: record.key for path, record in tour.stored("redirect").items()} == {
        "/0.jpg": key, "/old.jpg": key,
    }  # fmt: skip


def test_inline_images_are_keyed_by_their_page(tour: Tour) -> None:
    """A ``data:`` image is hashed, and unchanged at the next visit."""
    page, digest = f"{tour.sites['inline'].url}/", sha256(draw_image(INLINE)).digest()
    with Indexer.open(data_dir=tour.data_dir) as indexer:
        record = indexer.find_image(inline_image_url(page, digest))

    assert record is not None
    assert record.sha256 == digest
    assert tour.second.unchanged == tour.first.hashed - 1  # the one that changed on another site


def test_matches_of_hashed_images_are_counted(tour: Tour) -> None:
    """What an image matches is counted when it is hashed, not again while it is unchanged."""
    assert (tour.first.matches, tour.second.matches) == (1, 0)


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
