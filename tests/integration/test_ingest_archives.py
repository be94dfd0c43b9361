"""WARC archives: what comes out of them is what a crawl of the same site leaves."""

import base64
import gzip
import io
import json
import multiprocessing
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from delist.ingest.reports import IngestOptions, IngestProgress, IngestReport
from indexer.hashing import hash_image
from indexer.model import ImageRecord, PageMark
from indexer.url import url_key
from tests.fakes.archives import answer, archive_of, packed, record
from tests.fakes.delisting import World, flipped
from tests.fakes.signals import dump
from tests.sites import Site, draw_image, serve_site

HERE = IngestOptions(processes=1)
PAGE, ONE, TWO = "https://a.example/", "https://a.example/1.jpg", "https://a.example/2.jpg"
JPEG = {"Content_Type": "image/jpeg"}
HTML = {"Content_Type": "text/html"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "data") as world:
        yield world


def take(world: World, *records: bytes, name: str = "a.warc", again: bool = False) -> IngestReport:
    """Write an archive and take it in."""
    path = world.delist.settings.indexer.data_dir.parent / name
    path.write_bytes(packed(records) if name.endswith(".gz") else b"".join(records))
    options = IngestOptions(processes=1, again=again)
    return world.delist.ingestion.run([path], options)


def picture(url: str, seed: int, **more: Any) -> bytes:  # noqa: ANN401 - as record
    return record(url, answer(draw_image(seed), **JPEG), **more)


def digest_of_picture(seed: int) -> bytes:
    return hash_image(draw_image(seed), max_bytes=10**8, max_pixels=10**8).hashes[0].digest


def rejects_of(report: IngestReport) -> list[dict[str, str]]:
    """Read what was named as refused."""
    paths = [Path(source.rejects) for source in report.sources if source.rejects]
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def pages_of(world: World, url: str) -> list[str]:
    with world.delist.indexer.store.read() as txn:
        return world.delist.indexer.store.images.pages(txn, url_key(url))


def marks_of(world: World, url: str, page_url: str) -> frozenset[PageMark]:
    images = world.delist.indexer.store.images
    with world.delist.indexer.store.read() as txn:
        found = images.page_marks.of_image(txn, url_key(url), most=10)
    return found.get(url_key(page_url), frozenset())


def without_times(world: World) -> dict[str, Any]:
    """Everything that is stored, but times, places of rows, and how far sources have come."""
    store = world.delist.indexer.store
    found: dict[str, Any] = dict(dump(store))
    for name in ("image_hashes", "image_hashes.free", "images", "ingest_cursors", "match_log"):
        found.pop(name, None)
    with store.read() as txn:
        records = store.images.after(txn, b"", most=1000)
        rows = [store.images.rows(txn, entry) for entry in records]
    kept = [name for name in ImageRecord.__dataclass_fields__ if not name.endswith("_at")]
    kept.remove("rows")
    found["images"] = [[getattr(entry, name) for name in kept] for entry in records]
    found["rows"] = rows
    return found


def put_pages(site: Site) -> list[str]:
    """Fill a site; returns what an archiver would fetch, in the order in which it would."""
    for number in range(4):
        site.put(f"/{number}.jpg", draw_image(number), ETag=f'"{number}"', **JPEG)
    site.put("/moved.jpg", b"", status=302, Location="/step.jpg")
    site.put("/step.jpg", b"", status=301, Location="/3.jpg")
    png = gzip.compress(draw_image(9, kind="PNG"))
    site.put("/packed.png", png, Content_Type="image/png", Content_Encoding="gzip")
    site.put("/bad.jpg", b"\xff\xd8\xff cut", Content_Type="image/jpeg")
    site.put("/drawing.svg", b"<svg/>", Content_Type="image/svg+xml")
    site.put("/robots.txt", "")
    inline = base64.b64encode(draw_image(20, kind="PNG")).decode()
    images = "".join(
        f"<img src={name}>"
        for name in ("1.jpg", "moved.jpg", "packed.png", "bad.jpg", "drawing.svg", "gone.jpg")
    )
    site.put(
        "/",
        '<title>leaked nudes</title><a href="two">more</a><img src=0.jpg alt="revenge porn">'
        f'<img src="data:image/png;base64,{inline}">{images}',
        Rating="RTA-5042-1996-1400-1577-RTA",
    )
    site.put("/two", "<img src=1.jpg><img src=2.jpg class=logo>")
    pictures = "2.jpg packed.png bad.jpg drawing.svg gone.jpg 3.jpg"
    names = f"- 0.jpg 1.jpg two moved.jpg step.jpg {pictures}"
    return [f"{site.url}/{name.strip('-')}" for name in names.split()]


def test_an_archive_of_a_site_ends_as_a_crawl_of_it(tmp_path: Path) -> None:
    """Same images, hashes, pages, marks, other addresses, matches, cases and refusals."""
    near = flipped(digest_of_picture(0), 6)
    with serve_site() as site, World(tmp_path / "c") as crawled, World(tmp_path / "a") as archived:
        urls = put_pages(site)
        for world in (crawled, archived):
            world.offer(near)
        result = run_crawl(
            CrawlJob(urls=(urls[0],), depth=2, allow_private_addresses=True),
            data_dir=tmp_path / "c",
            crawl_settings=CrawlSettings(delay_s=0),
        )
        report = take(archived, *archive_of(urls), name="site.warc.gz")
        for world in (crawled, archived):
            world.take_in()

        names = ("pages", "images", "hashed", "refused", "matches")
        assert {n: getattr(report, n) for n in names} == {n: getattr(result, n) for n in names}
        expected = without_times(crawled)
        # The signal's key is under a secret of each store.
        for name in ("matches", "matches_by_signal", "signals", "signal_log", "signals_by_digest"):
            expected.pop(name, None)
        found = without_times(archived)
        assert {name: found[name] for name in expected if name in found} == expected
        assert archived.state_of(f"{site.url}/0.jpg") is crawled.state_of(f"{site.url}/0.jpg")
        assert [r.image_url for r in archived.ledger()] == [r.image_url for r in crawled.ledger()]
        assert len(archived.ledger()) == 1
        assert marks_of(archived, f"{site.url}/0.jpg", f"{site.url}/") >= {
            PageMark.ADULT, PageMark.ABUSE_WORDS, PageMark.IMAGE_WORDS,
        }  # fmt: skip


@pytest.mark.parametrize("order", ["page first", "image first", "page in an earlier archive"])
def test_an_image_finds_its_page_in_any_order(world: World, tmp_path: Path, order: str) -> None:
    """A page gives its place to images that come before it, behind it, or in another archive."""
    page = record(PAGE, answer(b'<img src="1.jpg" alt="revenge porn">', **HTML))
    image = picture(ONE, 1)
    parts = {
        "page first": [[page, image]],
        "image first": [[image, page]],
        "page in an earlier archive": [[page], [image]],
    }[order]
    paths = [tmp_path / f"{number}.warc.gz" for number in range(len(parts))]
    for path, records in zip(paths, parts, strict=True):
        path.write_bytes(packed(records))

    report = world.delist.ingestion.run(paths, HERE)

    assert (report.hashed, report.pages) == (1, 1)
    assert pages_of(world, ONE) == [PAGE]
    assert PageMark.IMAGE_WORDS in marks_of(world, ONE, PAGE)


def damaged(kind: str) -> tuple[bytes, str]:
    """Make an archive of three pictures, of which something in the middle is wrong."""
    one, two, three = (gzip.compress(picture(f"{PAGE}{n}.jpg", n), 1) for n in (1, 2, 3))
    if kind == "a byte":
        broken = bytearray(two)
        broken[len(two) // 2] ^= 0xFF
        return one + bytes(broken) + three, "damaged"
    if kind == "no record":
        return one + b"something else" * 20 + three, "damaged"
    wrong: dict[str, tuple[bytes, str]] = {
        # What is said to come is what counts: it is not unpacked to find out.
        "a bomb": (_with_length(picture(TWO, 2), 10 * 1024**4), "inflates_too_much"),
        "too large": (
            record(TWO, answer(b"\xff\xd8\xff" + bytes(33 * 1024**2), **JPEG)),
            "too_many_bytes",
        ),
        "bad chunks": (
            record(TWO, answer(b"ffff\r\nabc", Transfer_Encoding="chunked", **JPEG)),
            "truncated",
        ),
        "a body that is elsewhere": (record(TWO, answer(b"", **JPEG), kind="revisit"), "revisit"),
    }
    if kind in wrong:
        return one + gzip.compress(wrong[kind][0], 1) + three, wrong[kind][1]
    assert kind == "its end is missing"
    return one + three + two[: len(two) // 2], "truncated"


def _with_length(made: bytes, length: int) -> bytes:
    """Have a record say that its block is longer than it is."""
    return re.sub(rb"(?<=\nContent-Length: )[0-9]+", str(length).encode(), made, count=1)


@pytest.mark.parametrize(
    "kind",
    [
        "a byte", "no record", "a bomb", "too large", "bad chunks", "a body that is elsewhere",
        "its end is missing",
    ],
)  # fmt: skip
def test_damage_is_named_and_the_rest_goes_on(world: World, tmp_path: Path, kind: str) -> None:
    """What cannot be read is refused by name with its place; pictures around it are stored."""
    data, code = damaged(kind)
    path = tmp_path / "damaged.warc.gz"
    path.write_bytes(data)

    report = world.delist.ingestion.run([path], HERE)

    assert report.refused == {code: 1}
    assert [entry["code"] for entry in rejects_of(report)] == [code]
    assert rejects_of(report)[0]["at"].startswith("byte ")
    assert report.hashed == 2
    assert world.delist.indexer.find_image(f"{PAGE}1.jpg")
    assert world.delist.indexer.find_image(f"{PAGE}3.jpg")


def test_an_old_archive_takes_nothing_from_what_was_seen_later(world: World) -> None:
    """Bytes that an archive saw before those that are stored do not end what rests on these."""
    world.offer(flipped(digest_of_picture(1), 4))
    take(world, picture(ONE, 1, date="2026-02-20T00:00:00Z"), name="new.warc")
    world.take_in()
    before = world.state_of(ONE)

    report = take(world, picture(ONE, 2, date="2019-01-01T00:00:00Z"), name="old.warc")
    world.take_in()

    assert (report.outdated, report.hashed) == (1, 0)
    assert world.state_of(ONE) is before
    later = take(world, picture(ONE, 2, date="2026-02-21T00:00:00Z"), name="newer.warc")
    assert later.hashed == 1


def test_the_last_of_two_captures_counts(world: World) -> None:
    """One address with other bytes, and then the first again, is stored as it was last."""
    dates = [f"2026-01-0{day}T00:00:00Z" for day in (1, 2, 3)]
    report = take(world, *(picture(ONE, s, date=d) for s, d in zip((1, 2, 1), dates, strict=True)))

    found = world.delist.indexer.find_image(ONE)
    assert report.hashed == 3
    assert found is not None
    assert found.seen_at == datetime(2026, 1, 3, tzinfo=UTC)
    hashed = hash_image(draw_image(1), max_bytes=10**8, max_pixels=10**8)
    assert found.sha256 == hashed.sha256


def test_a_finished_archive_is_not_read_again(world: World) -> None:
    """It is known by its path, size and time; ``again`` reads it anew, and hashes nothing twice."""
    first = take(world, picture(ONE, 1))
    path = Path(first.sources[0].source)
    second = world.delist.ingestion.run([path], HERE)
    third = world.delist.ingestion.run([path], IngestOptions(processes=1, again=True))

    assert (first.hashed, second.rows, second.sources[0].was_done) == (1, 0, True)
    assert (third.rows, third.hashed, third.unchanged) == (1, 0, 1)
    changed = take(world, picture(ONE, 1), picture(TWO, 2))
    assert (changed.rows, changed.hashed, changed.unchanged) == (2, 1, 1)


def test_processes_that_die_cost_nothing(world: World, tmp_path: Path) -> None:
    """Two processes store what one does, in the same order, and a killed one is replaced.

    Among the images is one that is larger than the memory of a task, and one that is packed.
    """
    records = [picture(f"{PAGE}{n}.jpg", n % 7) for n in range(138)]
    large = io.BytesIO()
    Image.effect_noise((2100, 2100), 80).save(large, "BMP")
    squeezed = answer(gzip.compress(draw_image(8)), Content_Encoding="gzip", **JPEG)
    records[9:9] = [record(f"{PAGE}large", answer(large.getvalue(), Content_Type="image/bmp"))]
    records[70:70] = [record(f"{PAGE}squeezed", squeezed)]
    path = tmp_path / "many.warc.gz"
    path.write_bytes(packed([*records, record(PAGE, answer(b"<img src=5.jpg>", **HTML))]))
    table = tmp_path / "table.jsonl"
    kinds = {"pdq": "f0" * 32, "quality": 80}, {"path": "photo.jpg"}, {"pdq": "short"}
    lines = [{"url": f"{PAGE}table/{n}"} | kinds[n % 3] for n in range(30)]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "photo.jpg").write_bytes(draw_image(9))
    killed: list[bool] = []

    def kill_one(_: IngestProgress) -> None:
        children = multiprocessing.active_children()
        if not killed and children:
            children[0].kill()
            killed.append(True)

    options = IngestOptions(processes=2)
    report = world.delist.ingestion.run([path, table], options, on_progress=kill_one)

    with World(tmp_path / "alone") as alone:
        expected = alone.delist.ingestion.run([path, table], HERE)
        assert killed == [True]
        assert report.refused == expected.refused == {"invalid_digest": 10}
        assert (report.hashed, report.pages) == (expected.hashed, expected.pages) == (160, 1)
        assert without_times(world) == without_times(alone)
    assert not multiprocessing.active_children()
