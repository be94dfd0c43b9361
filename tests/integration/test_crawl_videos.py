"""Videos on a crawl: matched by the MD5 of the whole file, streamed under a limit.

What needs no setting of its own is read off one crawl of one site, and off a second one.
"""

import gzip
import json
import resource
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd

from crawler.runner import CrawlResult, run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from indexer import Indexer
from indexer.model import Hasher, ImageRecord, Match
from indexer.sync import FeedSync
from tests.fakes.signals import NOW, FakeFeed, make_record
from tests.fakes.videos import VIDEO_KIND, md5_of, video_bytes
from tests.sites import Site, Talk, hostile, serve_site
from tests.unit.test_video import PHOTOS, video

OK = b"HTTP/1.1 200 OK\r\n"
VIDEO = video_bytes("the one")
LARGE = VIDEO + bytes(300_000)
ODD = b"\0\1\2 odd" * 500
MIB = 1024 * 1024
TYPES = ("video/mp4", "application/octet-stream", "text/html", "image/jpeg", "")
"""What servers call a video; nothing at all, too."""


def crawl(data_dir: Path, *urls: str, **settings: object) -> CrawlResult:
    job = CrawlJob(urls=urls, allow_private_addresses=True)
    patience = {"timeout_s": 10, "retries": 0, **settings}
    return run_crawl(job, data_dir=data_dir, crawl_settings=CrawlSettings(**patience))  # type: ignore[arg-type]


def report(data_dir: Path, *videos: bytes) -> None:
    """Let a feed name files."""
    records = [make_record(md5_of(video), kind=VIDEO_KIND) for video in videos]
    with Indexer.open(data_dir=data_dir) as indexer:
        FeedSync(indexer.store, FakeFeed(records), overlap_s=0).run(now=NOW)


def stored(data_dir: Path, url: str) -> ImageRecord | None:
    with Indexer.open(data_dir=data_dir) as indexer:
        return indexer.find_image(url)


def md5_stored(data_dir: Path, url: str) -> str | None:
    record = stored(data_dir, url)
    return None if record is None else record.md5.hex()


def twice_gzip(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def in_two_members(data: bytes) -> bytes:
    return gzip.compress(data[:5000]) + gzip.compress(data[5000:])


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("gzip", in_two_members),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd.compress),
    ("gzip, gzip", twice_gzip),
    ("identity", bytes),
]


def chunked(connection: socket.socket, _path: str) -> None:
    """Send the video in chunks of any size, the first bytes one by one."""
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    at = 0
    for size in [1] * 30 + [977] * 100:
        if piece := VIDEO[at : at + size]:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += size
    connection.sendall(b"0\r\n\r\n")


def showing(*urls: str) -> str:
    return "".join(f"<video src='{url}'></video>" for url in urls)


@dataclass
class Tour:
    """A site full of videos, and two crawls of it.

    Attributes:
        requests: headers of each request of the second crawl, by path.
    """

    data_dir: Path
    site: Site
    chunking: str
    first: CrawlResult
    second: CrawlResult
    requests: dict[str, dict[str, str]]

    def record(self, path: str) -> ImageRecord | None:
        return stored(self.data_dir, path if "://" in path else f"{self.site.url}{path}")

    def md5(self, path: str) -> str | None:
        record = self.record(path)
        return None if record is None else record.md5.hex()

    def matches(self, path: str) -> list[Match]:
        """What a stored video matches."""
        record = self.record(path)
        assert record is not None
        with Indexer.open(data_dir=self.data_dir) as indexer, indexer.store.read() as txn:
            return list(indexer.store.images.matches(txn, record.key).values())


def seeds_of(site: Site, chunking: str, one: bytes, other: bytes) -> list[str]:
    """Fill a site; returns what a crawl begins with."""
    site.put("/v.mp4", VIDEO, Content_Type="video/mp4")
    site.put("/w.mp4", video_bytes("another"))
    seeds = [site.put("/matched", f"{showing('/v.mp4')}<a href=/w.mp4>w</a>")]
    for kind in TYPES:
        headers: dict[str, Any] = {"Content_Type": kind} if kind else {}
        site.put(f"/linked?as={kind}", VIDEO, **headers)
        seeds.append(site.put(f"/seed?as={kind}", VIDEO, **headers))
    links = "".join(f"<a href='/linked?as={kind}'>file</a>" for kind in TYPES)
    seeds.append(site.put("/links", links))
    site.put("/odd.bin", ODD, Content_Type="video/x-odd; codecs=x")
    site.put("/text.mp4", b"<html>not found</html>" * 99, Content_Type="video/mp4")
    seeds.append(site.put("/formats", showing("/odd.bin", "/text.mp4")))
    site.put("/one-more-byte.mp4", VIDEO + b"\0")
    site.put("/one.mp4", one)
    site.put("/other.mp4", other)
    seeds.append(site.put("/changed", showing("/one-more-byte.mp4", "/one.mp4", "/other.mp4")))
    site.put("/a.mp4", video_bytes("a"), ETag='"a"')
    site.put("/b.mp4", video_bytes("b"))
    site.put("/c.mp4", video_bytes("c"))
    seeds.append(site.put("/again", showing("/a.mp4", "/b.mp4", "/c.mp4")))
    seeds.append(site.put("/chunked", showing(f"{chunking}/v.mp4")))
    for number, (encoding, pack) in enumerate(PACKERS):
        headers = {"Content_Encoding": encoding}
        site.put(f"/{number}.mp4", pack(LARGE), **headers)
        html = pack(f"<p>{'words ' * 400}</p>{showing(f'/{number}.mp4')}".encode())
        seeds.append(site.put(f"/{number}", html, Content_Type="text/html", **headers))
    return seeds


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    """Two files are reported; one other changes between the crawls, without saying so."""
    one, other = video("video/mp4", PHOTOS[:2]), video("video/mp4", PHOTOS[:2], rate=6)
    data_dir = tmp_path_factory.mktemp("videos")
    report(data_dir, VIDEO, one)
    with hostile(chunked) as chunking, serve_site() as site:
        seeds = seeds_of(site, chunking, one, other)
        first = crawl(data_dir, *seeds)
        site.requests.clear()
        site.put("/c.mp4", video_bytes("c, changed"))
        second = crawl(data_dir, *seeds)
        yield Tour(data_dir, site, chunking, first, second, dict(site.requests))


def test_everything_is_counted_once(tour: Tour) -> None:
    """Pages, videos and matches of the whole site; a video without frames is counted too."""
    first = tour.first

    assert (first.pages, first.videos, first.hashed, first.matches) == (15, 29, 29, 13)
    assert first.refused == {
        "not_an_image": 1,
        "frames_corrupt": 26,
        "frames_unsupported_format": 1,
    }


def test_a_video_is_matched_at_its_visit(tour: Tour) -> None:
    """The MD5 of its bytes names the signal, at distance 0; another's does not."""
    assert tour.md5("/v.mp4") == md5_of(VIDEO)
    (match,) = tour.matches("/v.mp4")
    assert (match.distance_bits, match.threshold_bits, match.hasher) == (0, 0, Hasher.MD5)
    assert (match.variant, match.quality) == ("file", None)
    assert tour.md5("/w.mp4") == md5_of(video_bytes("another"))
    assert tour.matches("/w.mp4") == []


@pytest.mark.parametrize("found", ["linked", "seed"])
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_a_video_its_bytes_say(tour: Tour, found: str, kind: str) -> None:
    """Behind a link that shows nothing of it, as a seed, and whatever its type is called."""
    path = f"/{found}?as={kind}"

    assert tour.md5(path) == md5_of(VIDEO)
    assert len(tour.matches(path)) == 1


def test_a_format_that_is_not_known_is_believed_to_be_a_video(tour: Tour) -> None:
    """An MD5 needs no format; text is no video whatever it is called."""
    assert tour.md5("/odd.bin") == md5_of(ODD)
    assert tour.record("/text.mp4") is None
    assert tour.first.refused["not_an_image"] == 1


def test_a_video_that_was_changed_does_not_match(tour: Tour) -> None:
    """One byte more is another file: exact means exact."""
    assert tour.md5("/one-more-byte.mp4") == md5_of(VIDEO + b"\0")
    assert tour.matches("/one-more-byte.mp4") == []


def test_a_video_encoded_anew_does_not_match(tour: Tour) -> None:
    """The same scene in another file has another MD5; its frames are hashed as ever."""
    assert [len(tour.matches(path)) for path in ("/one.mp4", "/other.mp4")] == [1, 0]
    for path in ("/one.mp4", "/other.mp4"):
        record = tour.record(path)
        assert record is not None
        assert record.rows
        assert record.width == 160


def test_an_unchanged_video_is_neither_fetched_nor_hashed_again(tour: Tour) -> None:
    """A 304 leaves it as it is; where the server knows no ETag, its SHA-256 does."""
    assert tour.requests["/a.mp4"]["If-None-Match"] == '"a"'
    assert "If-None-Match" not in tour.requests["/b.mp4"]
    assert (tour.second.hashed, tour.second.unchanged, tour.second.videos) == (1, 28, 29)
    assert tour.md5("/c.mp4") == md5_of(video_bytes("c, changed"))


def test_a_chunked_video_is_whole_at_its_last_chunk(tour: Tour) -> None:
    """Chunks of any size, the first bytes one by one."""
    assert tour.md5(f"{tour.chunking}/v.mp4") == md5_of(VIDEO)


@pytest.mark.parametrize("number", range(len(PACKERS)), ids=[name for name, _ in PACKERS])
def test_the_md5_is_of_the_file_not_of_its_encoding(tour: Tour, number: int) -> None:
    """A Content-Encoding is undone first; for pages that are packed nothing changes."""
    assert tour.md5(f"/{number}.mp4") == md5_of(LARGE)


def test_videos_over_the_limits_are_refused_and_counted(tmp_path: Path) -> None:
    """The limit of bytes is inclusive, said or not; so is that of videos of one page."""
    sent: Counter[str] = Counter()

    def talk(connection: socket.socket, path: str) -> None:
        length = b"Content-Length: %d\r\n" % (100 * MIB) if path == "/said" else b""
        connection.sendall(OK + b"Content-Type: video/mp4\r\n" + length + b"\r\n")
        while sent[path] < 100 * MIB:
            connection.sendall(VIDEO)
            sent[path] += len(VIDEO)

    with hostile(talk) as server, serve_site() as site:
        at_limit = site.put("/v.mp4", VIDEO)
        over = site.put("/w.mp4", VIDEO + b"1")
        large = [over, f"{server}/said", f"{server}/unsaid"]
        few = [site.put(f"/{number}.mp4", video_bytes(number)) for number in range(4)]
        pages = [
            site.put("/sizes", showing(at_limit, over)),
            site.put("/sizes-elsewhere", showing(*large[1:])),
            site.put("/many", showing(*few)),
        ]
        result = crawl(tmp_path, *pages, max_video_bytes=len(VIDEO), max_videos_per_page=3)

        assert [stored(tmp_path, url) for url in large] == [None] * 3
        assert md5_stored(tmp_path, at_limit) == md5_of(VIDEO)
        assert [stored(tmp_path, url) is not None for url in few].count(True) == 3

    assert result.videos == 4
    assert result.refused == {"video_too_large": 3, "too_many_videos": 1, "frames_corrupt": 4}
    assert max(sent.values()) < 20 * MIB


def test_no_videos_at_all_is_no_refusal(tmp_path: Path) -> None:
    """A limit of 0 leaves all of them alone."""
    with serve_site() as site:
        page = site.put("/", showing(site.put("/v.mp4", VIDEO)))
        result = crawl(tmp_path, page, max_videos_per_page=0)

        assert site.paths() == ["/robots.txt", "/"]

    assert (result.images, result.refused) == (0, {})


def cut(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n" + VIDEO)


def cut_chunk(connection: socket.socket, _path: str) -> None:
    head = b"Transfer-Encoding: chunked\r\n\r\n"
    connection.sendall(OK + head + b"%x\r\n" % len(VIDEO) + VIDEO + b"\r\n")


def cut_gzip(connection: socket.socket, _path: str) -> None:
    body = gzip.compress(VIDEO)[:-30]
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(OK + head + body)


def gzip_bomb(connection: socket.socket, _path: str) -> None:
    body = gzip.compress(VIDEO + bytes(100 * MIB))
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(OK + head + body)


def a_part(connection: socket.socket, _path: str) -> None:
    head = b"Content-Range: bytes 0-%d/99999\r\nContent-Length: %d\r\n\r\n"
    head %= (len(VIDEO) - 1, len(VIDEO))
    connection.sendall(b"HTTP/1.1 206 Partial Content\r\n" + head + VIDEO)


def drip(connection: socket.socket, _path: str) -> None:
    connection.sendall(OK + b"Content-Length: 10000000\r\n\r\n" + VIDEO)
    while True:
        connection.sendall(b"x" * 100)
        time.sleep(0.05)


PARTS: dict[str, tuple[Talk, str]] = {
    "/cut": (cut, "truncated"),
    "/cut-chunk": (cut_chunk, "truncated"),
    "/cut-gzip": (cut_gzip, "bad_encoding"),
    "/bomb": (gzip_bomb, "video_too_large"),
    "/part": (a_part, "http_206"),
    "/drip": (drip, "timeout"),
}


def test_what_is_not_the_whole_file_has_no_md5(tmp_path: Path) -> None:
    """A part of a video is refused under its name, in bounded time, and nothing is stored."""

    def talk(connection: socket.socket, path: str) -> None:
        PARTS[path][0](connection, path)

    with hostile(talk) as server, serve_site() as site:
        page = site.put("/", "".join(f"<video src={server}{path}></video>" for path in PARTS))
        started_at = time.monotonic()
        result = crawl(tmp_path, page, timeout_s=2, max_video_bytes=10 * MIB)

        assert [stored(tmp_path, f"{server}{path}") for path in PARTS] == [None] * len(PARTS)

    assert result.refused == Counter(code for _, code in PARTS.values())
    assert result.videos == 0
    assert time.monotonic() - started_at < 60


def test_a_slow_video_that_keeps_coming_may_take_longer(tmp_path: Path) -> None:
    """Beyond the time-out of an answer, as long as its bytes pay for it."""

    def talk(connection: socket.socket, _path: str) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(VIDEO))
        for at in range(0, len(VIDEO), 500):
            connection.sendall(VIDEO[at : at + 500])
            time.sleep(0.1)

    with hostile(talk) as server, serve_site() as site:
        page = site.put("/", f"<video src={server}/v.mp4></video>")
        result = crawl(tmp_path, page, timeout_s=2, min_video_bytes_per_s=2048)

        assert md5_stored(tmp_path, f"{server}/v.mp4") == md5_of(VIDEO)

    assert result.videos == 1


def test_a_limit_of_images_does_not_hold_for_videos_nor_the_other_way(tmp_path: Path) -> None:
    """A video larger than any image is streamed; what is no video keeps the limit of images."""
    config = tmp_path / "delist.toml"
    config.write_text("[hashing]\nmax_bytes = 100000\n")
    large = video_bytes("large", 300_000)
    with serve_site() as site:
        url = site.put("/v.mp4", large)
        site.put("/i.jpg", b"\xff\xd8\xff" + bytes(300_000))
        page = site.put("/", "<video src=/v.mp4></video><img src=/i.jpg>")
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        result = run_crawl(job, config=config, data_dir=tmp_path / "data")

        assert md5_stored(tmp_path / "data", url) == md5_of(large)

    assert result.refused == {"too_many_bytes": 1, "frames_too_many_bytes": 1}


MEASURE = """
import json, resource, sys
from pathlib import Path
from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings

job = CrawlJob(urls=(sys.argv[1],), allow_private_addresses=True)
result = run_crawl(job, config=Path(sys.argv[2]), crawl_settings=CrawlSettings(timeout_s=60))
most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"videos": result.videos, "most_kib": most}))
"""


def test_no_video_is_held_in_memory(tmp_path: Path) -> None:
    """Three videos of 80 MB at once cost the crawl process little more than a small one."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # this system measures it
    block = video_bytes("block", MIB)

    def talk(connection: socket.socket, path: str) -> None:
        blocks = int(path.rpartition("/")[2])
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % (blocks * MIB))
        for _ in range(blocks):
            connection.sendall(block)

    config = tmp_path / "delist.toml"
    most = {}
    with hostile(talk) as server, serve_site() as site:
        for name, blocks in (("small", 1), ("large", 80)):
            config.write_text(f'data_dir = "{name}"\n[hashing]\nmax_bytes = 2000000\n')
            tags = [f"<video src={server}/{n}/{blocks}></video>" for n in range(3)]
            page = site.put(f"/{name}", "".join(tags))
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, page, str(config)],
                capture_output=True,
                check=True,
                text=True,
                timeout=200,
            )
            measured = json.loads(done.stdout)
            assert measured["videos"] == 3
            most[name] = measured["most_kib"]

    assert most["large"] - most["small"] < 60 * 1024
