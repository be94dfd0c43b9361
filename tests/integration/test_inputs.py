"""Animations, cut files and hostile images on their whole way: store, re-scans, crawl, policy."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler.runner import run_crawl
from crawler.settings import CrawlJob
from delist.cli import main
from delist.model import CaseState
from delist.ops.pictures import draw_photo, encode
from indexer import Indexer
from indexer.model import Match
from tests.fakes.delisting import World
from tests.integration.test_decoders import scan_bomb
from tests.sites import serve_site

URL = "https://host.example/a.gif"
PHOTOS = [draw_photo(seed, width=160, height=120) for seed in range(60, 66)]
MOVING = encode(PHOTOS[0], "WEBP", save_all=True, append_images=PHOTOS[1:], quality=90)
CUT = encode(draw_photo(70), "JPEG", quality=90, progressive=True)[:-2000]


def digest_of_frame(indexer: Indexer, frame: int) -> bytes:
    """Take the upright *cpp* digest of a frame from the animation itself."""
    hashed = indexer.hash_image(MOVING)
    (row,) = [row for row in range(len(hashed.rows)) if hashed.label(row).frame == frame]
    return hashed.rows[row][1][:32]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "delist.toml"
    path.write_text(
        'data_dir = "data"\n[hashing]\ntimeout_s = 2.0\n[feeds.bank]\ntype = "file"\n'
        'path = "bank.txt"\n'
    )
    return path


@pytest.fixture
def indexer(config: Path) -> Iterator[Indexer]:
    with Indexer.open(config) as opened:
        yield opened


def sync(indexer: Indexer, *digests: bytes) -> None:
    bank = indexer.settings.data_dir.parent / "bank.txt"
    bank.write_text("# signals\n" + "".join(f"{digest.hex()}\n" for digest in digests))
    indexer.feed_sync("bank").run(now=datetime.now(UTC))


def held(indexer: Indexer) -> list[Match]:
    record = indexer.find_image(URL)
    assert record is not None
    with indexer.store.read() as txn:
        return list(indexer.store.images.matches(txn, record.key).values())


def test_a_frame_matches_alike_at_index_time_delta_and_full(indexer: Indexer) -> None:
    """Whichever finds it, the match names the frame and has its quality."""
    sync(indexer)
    indexer.index_image(MOVING, image_url=URL)
    sync(indexer, digest_of_frame(indexer, 3))
    indexer.scanner.delta(now=datetime.now(UTC))
    (by_delta,) = held(indexer)
    indexer.scanner.full(now=datetime.now(UTC))
    (by_full,) = held(indexer)
    (by_visit,) = indexer.index_image(MOVING, image_url=URL + "?2")
    (by_check,) = indexer.match(indexer.hash_image(MOVING))

    assert by_delta == by_full
    for match in (by_delta, by_visit, by_check):
        assert (match.variant, match.distance_bits) == ("upright+frame3", 0)
        assert match.quality == by_delta.quality
        assert match.quality is not None
        assert match.quality > 50


def test_another_frame_of_the_same_image_is_another_match(indexer: Indexer) -> None:
    """Each signal has its nearest frame; the first is named as ever."""
    sync(indexer, digest_of_frame(indexer, 0), digest_of_frame(indexer, 5))
    matches = indexer.index_image(MOVING, image_url=URL)

    assert sorted(match.variant or "" for match in matches) == ["upright", "upright+frame5"]


def test_an_animation_in_place_of_a_still_image(indexer: Indexer) -> None:
    """Rows and labels follow the bytes, in both directions."""
    sync(indexer, digest_of_frame(indexer, 2))
    still = encode(PHOTOS[0])
    for data, names in ((still, []), (MOVING, ["upright+frame2"]), (still, [])):
        indexer.index_image(data, image_url=URL)
        indexer.scanner.full(now=datetime.now(UTC))
        assert [match.variant for match in held(indexer)] == names


def test_a_cut_image_goes_to_a_person(tmp_path: Path) -> None:
    """However near the match, the machine does not act where a part is missing."""
    with World(tmp_path / "data") as world:
        hashed = world.delist.indexer.hash_image(CUT)
        world.offer(hashed.rows[0][1][:32])
        world.visit(URL, hashed)
        world.take_in()

        assert hashed.is_partial
        assert world.state_of(URL) is CaseState.OPEN
        assert world.ledger() == []
        (match,) = world.case_of(URL).matches
        assert (match.distance_bits, match.variant) == (0, "upright+partial")


def test_a_frame_is_suppressed_like_an_image(tmp_path: Path) -> None:
    """A frame with a hash of quality is as good a reason as a still image."""
    with World(tmp_path / "data") as world:
        hashed = world.delist.indexer.hash_image(MOVING)
        world.offer(digest_of_frame(world.delist.indexer, 4))
        world.visit(URL, hashed)
        world.take_in()

        assert world.state_of(URL) is CaseState.SUPPRESSED
        assert world.ledger()[-1].basis.variant == "upright+frame4"


def test_hostile_images_do_not_end_a_crawl(config: Path) -> None:
    """In the crawl's own process: hangs and damage are counted, the rest is hashed."""
    broken = bytearray(encode(PHOTOS[1], "TIFF", compression="tiff_lzw"))
    broken[8:400] = bytes(range(196)) * 2
    files = {
        "/moving": MOVING,
        "/cut": CUT,
        "/bomb": scan_bomb(2000),
        "/broken": bytes(broken),
        "/svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "/avif": encode(PHOTOS[2], "AVIF", speed=10),
        "/jpeg": encode(PHOTOS[3], "JPEG"),
    }
    with serve_site() as site:
        for path, data in files.items():
            site.put(path, data, Content_Type="image/jpeg")
        page = site.put("/", "".join(f"<img src={path}>" for path in files))
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        result = run_crawl(job, config=config)

    assert (result.images, result.hashed) == (7, 4)
    assert result.refused == {"timeout": 1, "corrupt": 1, "vector_image": 1}


def test_hash_and_check_say_what_is_missing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``incomplete`` names the reason, ``partial`` says that a picture is cut; else neither."""
    for name, data in (("cut.jpg", CUT), ("whole.webp", MOVING)):
        (tmp_path / name).write_bytes(data)

    def run(command: str, name: str) -> dict[str, object]:
        words = ["--config", str(config), "--json", command, str(tmp_path / name)]
        assert main(words) == 0
        document: dict[str, object] = json.loads(capsys.readouterr().out)
        return document

    for command in ("hash", "check"):
        cut = run(command, "cut.jpg")
        assert (cut["incomplete"], cut["partial"]) == ("truncated", True)
        assert "incomplete" not in run(command, "whole.webp")
    hashes = run("hash", "whole.webp")["hashes"]
    assert isinstance(hashes, list)
    assert "mirror+frame4" in {entry["variant"] for entry in hashes}
