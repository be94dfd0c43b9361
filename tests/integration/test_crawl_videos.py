"""Videos on a crawl: matched by the MD5 of the whole file, streamed under a limit."""

import gzip
import json
import resource
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from backports import zstd

from crawler.runner import CrawlResult, run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from indexer import Indexer
from indexer.model import FeedRecord, Hasher, ImageRecord
from indexer.sync import FeedSync
from tests.fakes.signals import NOW, FakeFeed, make_record
from tests.fakes.videos import VIDEO_KIND, md5_of, video_bytes
from tests.sites import Talk, hostile, serve_site

OK = b"HTTP/1.1 200 OK\r\n"
VIDEO = video_bytes("the one")
MIB = 1024 * 1024


def crawl(data_dir: Path, *urls: str, **settings: object) -> CrawlResult:
    job = CrawlJob(urls=urls, allow_private_addresses=True)
    patience = {"timeout_s": 10, "retries": 0, **settings}
    return run_crawl(job, data_dir=data_dir, crawl_settings=CrawlSettings(**patience))  # type: ignore[arg-type]


def report(data_dir: Path, *videos: bytes, **changes: object) -> None:
    """Let a feed name files."""
    records: list[FeedRecord] = [
        make_record(md5_of(video), kind=VIDEO_KIND, **changes) for video in videos
    ]
    with Indexer.open(data_dir=data_dir) as indexer:
        FeedSync(indexer.store, FakeFeed(records), overlap_s=0).run(now=NOW)


def stored(data_dir: Path, url: str) -> ImageRecord | None:
    with Indexer.open(data_dir=data_dir) as indexer:
        return indexer.find_image(url)


def md5_stored(data_dir: Path, url: str) -> str | None:
    record = stored(data_dir, url)
    return None if record is None else record.md5.hex()


def test_a_video_is_matched_at_its_visit(tmp_path: Path) -> None:
    """The MD5 of its bytes names the signal, at distance 0; another's does not."""
    report(tmp_path, VIDEO)
    with serve_site() as site:
        url = site.put("/v.mp4", VIDEO, Content_Type="video/mp4")
        site.put("/w.mp4", video_bytes("another"))
        page = site.put("/", "<video src=/v.mp4></video><a href=/w.mp4>w</a>")
        result = crawl(tmp_path, page)

    assert (result.images, result.hashed, result.videos, result.matches) == (2, 2, 2, 1)
    with Indexer.open(data_dir=tmp_path) as indexer, indexer.store.read() as txn:
        record = indexer.find_image(url)
        assert record is not None
        assert record.md5.hex() == md5_of(VIDEO)
        (match,) = indexer.store.images.matches(txn, record.key).values()
    assert (match.distance_bits, match.threshold_bits, match.hasher) == (0, 0, Hasher.MD5)
    assert (match.variant, match.quality) == ("file", None)


def test_what_is_a_video_its_bytes_say(tmp_path: Path) -> None:
    """Behind a link that shows nothing of it, as a seed, and whatever its type is called."""
    report(tmp_path, VIDEO)
    kinds = ["video/mp4", "application/octet-stream", "text/html", "image/jpeg"]
    with serve_site() as site:
        urls = [site.put(f"/get?id={kind}", VIDEO, Content_Type=kind) for kind in kinds]
        urls.append(site.put("/nothing-said", VIDEO))
        page = site.put("/", "".join(f"<a href='{url}'>file</a>" for url in urls))
        linked = crawl(tmp_path / "linked", page)
        result = crawl(tmp_path, *urls)

        for folder in (tmp_path, tmp_path / "linked"):
            assert {md5_stored(folder, url) for url in urls} == {md5_of(VIDEO)}

    assert (linked.pages, linked.videos) == (1, 5)
    assert (result.pages, result.videos, result.matches) == (0, 5, 5)


def test_a_format_that_is_not_known_is_believed_to_be_a_video(tmp_path: Path) -> None:
    """An MD5 needs no format; text is no video whatever it is called."""
    odd, text = b"\0\1\2 odd" * 500, b"<html>not found</html>" * 99
    with serve_site() as site:
        first = site.put("/odd.bin", odd, Content_Type="video/x-odd; codecs=x")
        second = site.put("/text.mp4", text, Content_Type="video/mp4")
        page = site.put("/", f"<video src={first}></video><video src={second}></video>")
        result = crawl(tmp_path, page)

        assert md5_stored(tmp_path, first) == md5_of(odd)
        assert stored(tmp_path, second) is None

    assert (result.videos, result.refused["not_an_image"]) == (1, 1)


def test_a_video_that_was_changed_does_not_match(tmp_path: Path) -> None:
    """One byte more is another file: exact means exact."""
    report(tmp_path, VIDEO)
    with serve_site() as site:
        site.put("/v.mp4", VIDEO + b"\0")
        result = crawl(tmp_path, site.put("/", "<video src=/v.mp4></video>"))

    assert (result.videos, result.matches) == (1, 0)


def test_a_video_encoded_anew_does_not_match(tmp_path: Path) -> None:
    """The same scene in another file has another MD5; its frames are hashed as ever."""
    pytest.importorskip("av")
    from tests.unit.test_video import PHOTOS, video  # noqa: PLC0415 - needs av

    one, other = video("video/mp4", PHOTOS[:2]), video("video/mp4", PHOTOS[:2], rate=6)
    report(tmp_path, one)
    with serve_site() as site:
        urls = site.put("/one.mp4", one), site.put("/other.mp4", other)
        result = crawl(tmp_path, site.put("/", "<video src=/one.mp4></video><a href=other.mp4>"))

        records = [stored(tmp_path, url) for url in urls]
    assert (result.videos, result.matches, result.refused) == (2, 1, {})
    assert all(record is not None and record.rows and record.width == 160 for record in records)


def test_an_unchanged_video_is_neither_fetched_nor_hashed_again(tmp_path: Path) -> None:
    """A 304 leaves it as it is; where the server knows no ETag, its SHA-256 does."""
    with serve_site() as site:
        site.put("/a.mp4", VIDEO, ETag='"a"')
        site.put("/b.mp4", video_bytes("b"))
        page = site.put("/", "<video src=/a.mp4></video><video src=/b.mp4></video>")
        crawl(tmp_path, page)
        again = crawl(tmp_path, page)
        site.put("/b.mp4", video_bytes("c"))
        changed = crawl(tmp_path, page)

    assert (again.hashed, again.unchanged, again.videos) == (0, 2, 2)
    assert (changed.hashed, changed.unchanged, changed.videos) == (1, 1, 2)


def test_what_could_not_be_decoded_is_counted(tmp_path: Path) -> None:
    """A video without frames has its MD5; why there are no frames stands in the result."""
    with serve_site() as site:
        site.put("/v.mp4", VIDEO)
        result = crawl(tmp_path, site.put("/", "<video src=/v.mp4></video>"))

    assert (result.hashed, list(result.refused)) == (1, ["frames_corrupt"])


@pytest.mark.parametrize("headers", [b"Content-Length: %d\r\n\r\n", b"\r\n"])
def test_a_video_over_the_limit_is_refused(tmp_path: Path, headers: bytes) -> None:
    """Whether it says how long it is or not: refused under a name, nothing stored."""
    sent = []

    def talk(connection: socket.socket, _path: str) -> None:
        head = headers % (100 * MIB) if b"%" in headers else headers
        connection.sendall(OK + b"Content-Type: video/mp4\r\n" + head)
        block = VIDEO
        while len(sent) * len(block) < 100 * MIB:
            connection.sendall(block)
            sent.append(1)

    with hostile(talk) as server, serve_site() as site:
        page = site.put("/", f"<video src={server}/v.mp4></video>")
        result = crawl(tmp_path, page, max_video_bytes=MIB)

        assert stored(tmp_path, f"{server}/v.mp4") is None

    assert result.refused == {"video_too_large": 1}
    assert len(sent) * len(VIDEO) < 20 * MIB


def test_a_video_at_the_limit_is_taken(tmp_path: Path) -> None:
    """The limit is inclusive."""
    with serve_site() as site:
        url = site.put("/v.mp4", VIDEO)
        site.put("/w.mp4", VIDEO + b"1")
        page = site.put("/", "<video src=/v.mp4></video><video src=/w.mp4></video>")
        result = crawl(tmp_path, page, max_video_bytes=len(VIDEO))

        assert md5_stored(tmp_path, url) == md5_of(VIDEO)

    assert (result.videos, result.refused["video_too_large"]) == (1, 1)


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


def test_the_md5_is_of_the_file_not_of_its_encoding(tmp_path: Path) -> None:
    """A Content-Encoding is undone first; for pages that are packed nothing changes."""
    large = VIDEO + bytes(300_000)
    with serve_site() as site:
        pages, urls = [], []
        for number, (encoding, pack) in enumerate(PACKERS):
            headers = {"Content_Encoding": encoding}
            urls.append(site.put(f"/{number}.mp4", pack(large), **headers))
            html = pack(f"<p>{'words ' * 400}</p><video src={urls[-1]}></video>".encode())
            pages.append(site.put(f"/{number}", html, Content_Type="text/html", **headers))
        result = crawl(tmp_path, *pages)

        assert [md5_stored(tmp_path, url) for url in urls] == [md5_of(large)] * len(urls)

    assert (result.pages, result.videos) == (len(pages), len(urls))


def test_a_chunked_video_is_whole_at_its_last_chunk(tmp_path: Path) -> None:
    """Chunks of any size, the first bytes one by one."""

    def talk(connection: socket.socket, _path: str) -> None:
        connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        sizes = [1] * 30 + [977] * 100
        at = 0
        for size in sizes:
            piece = VIDEO[at : at + size]
            at += size
            if piece:
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    with hostile(talk) as server, serve_site() as site:
        page = site.put("/", f"<video src={server}/v.mp4></video>")
        result = crawl(tmp_path, page)

        assert md5_stored(tmp_path, f"{server}/v.mp4") == md5_of(VIDEO)

    assert result.videos == 1


def test_videos_beyond_the_limit_of_a_page_are_counted(tmp_path: Path) -> None:
    """0 leaves all of them alone, and is no refusal."""
    with serve_site() as site:
        for number in range(4):
            site.put(f"/{number}.mp4", video_bytes(number))
        links = "".join(f"<video src=/{number}.mp4></video>" for number in range(4))
        page = site.put("/", links)
        some = crawl(tmp_path / "some", page, max_videos_per_page=3)
        none = crawl(tmp_path / "none", page, max_videos_per_page=0)

    assert (some.videos, some.refused["too_many_videos"]) == (3, 1)
    assert (none.images, none.refused) == (0, {})


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
    """Three videos of 150 MB at once cost the crawl process little more than a small one."""
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
        for name, blocks in (("small", 1), ("large", 150)):
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
