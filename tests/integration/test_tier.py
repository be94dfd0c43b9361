"""The deep tier where it is used: indexing, visits again, re-scans, crawls."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings
from delist.ops.pictures import draw_photo, encode
from indexer import Indexer
from indexer.errors import Refusal, SettingsError
from indexer.model import (
    MOST_VARIANT_CHARS,
    Background,
    ImageVisit,
    MatchEventKind,
    Signal,
    VisitOutcome,
    layer_of,
)
from indexer.settings import HashingSettings, IndexerSettings, MatchingSettings
from tests.fakes.edits import cropped, digest_of
from tests.fakes.signals import match_log
from tests.sites import serve_site

URL = "https://photos.example/one.jpg"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
Open = Callable[..., Indexer]


@pytest.fixture
def open_indexer(tmp_path: Path) -> Open:
    def open_with(*, threshold_bits: float = 36.0, **hashing: object) -> Indexer:
        limits = HashingSettings(tier="deep", deep_budget_ms=10_000)
        settings = IndexerSettings(
            data_dir=tmp_path / "data",
            matching=MatchingSettings(deep_threshold_bits=threshold_bits),
            hashing=replace(limits, **hashing),  # type: ignore[arg-type]
        )
        return Indexer(settings)

    return open_with


def photo(seed: int) -> Image.Image:
    return draw_photo(seed, width=480, height=400)


def copy_of(seed: int) -> bytes:
    """Encode a photo of which every edge is cut, so that no stored hash comes near."""
    return encode(cropped(photo(seed), left=0.06, top=0.05, right=0.05, bottom=0.06), "PNG")


def add_signal(indexer: Indexer, seed: int) -> bytes:
    signals = indexer.store.signals
    digest = digest_of(photo(seed))
    key = signals.key(feed="bank", kind="ImagePDQ", value=digest)
    signal = Signal(
        key=key,
        feed="bank",
        kind="ImagePDQ",
        digest=digest,
        status="Received",
        added_at=NOW,
        changed_at=NOW,
    )
    with indexer.store.write() as txn, signals.column.writer(txn) as rows:
        signals.add(txn, rows, signal)
    return key


def held(indexer: Indexer, url: str = URL) -> set[bytes]:
    record = indexer.find_image(url)
    assert record is not None
    with indexer.store.read() as txn:
        return set(indexer.store.images.matches(txn, record.key))


def test_an_edited_copy_matches_when_it_is_indexed(open_indexer: Open) -> None:
    """The match names the guess and both distances, and is logged like any other."""
    with open_indexer() as indexer:
        key = add_signal(indexer, 1)
        (match,) = indexer.index_image(copy_of(1), image_url=URL)

        assert match.signal_key == key
        assert match.is_deep
        assert match.hasher is None
        assert (match.variant or "").startswith("deep:")
        assert len(match.variant or "") <= MOST_VARIANT_CHARS
        assert match.weighted_bits is not None
        assert match.weighted_bits <= match.threshold_bits
        (event,) = match_log(indexer.store)
        assert (event.kind, event.match) == (MatchEventKind.MATCHED, match)


def test_a_first_picture_that_shows_nothing_hides_no_edited_copy(open_indexer: Open) -> None:
    """Whoever puts a blank before an animation would keep all guesses from it."""
    copy = Image.open(io.BytesIO(copy_of(1))).convert("RGB")
    written = io.BytesIO()
    blank = Image.new("RGB", copy.size, "white")
    blank.save(written, "WEBP", save_all=True, append_images=[copy], quality=90)
    with open_indexer() as indexer:
        key = add_signal(indexer, 1)
        (match,) = indexer.index_image(written.getvalue(), image_url=URL)

        assert (match.signal_key, match.is_deep) == (key, True)
        assert layer_of(match.variant or "") == (1, Background.WHITE)
        assert len(match.variant or "") <= MOST_VARIANT_CHARS


def test_the_fast_tier_does_not_find_it(open_indexer: Open) -> None:
    """Nor is anything kept in memory to search with; the caller may ask for more."""
    with open_indexer(tier="fast") as indexer:
        add_signal(indexer, 1)
        assert indexer.hash_image(copy_of(1)).reduced is None
        assert indexer.index_image(copy_of(1), image_url=URL) == []
        assert indexer.match(indexer.hash_image(copy_of(1), tier="deep"))


def test_a_signal_that_is_near_anyway_is_no_deep_match(open_indexer: Open) -> None:
    """What a stored hash finds is named by that hash: it may act alone."""
    with open_indexer() as indexer:
        add_signal(indexer, 1)
        (match,) = indexer.index_image(encode(photo(1), "PNG"), image_url=URL)

        assert not match.is_deep
        assert match.hasher is not None


def test_unchanged_bytes_meet_new_signals_at_the_next_visit(open_indexer: Open) -> None:
    """An image that was searched before a signal came is not searched, then it is."""
    with open_indexer() as indexer:
        visit = ImageVisit(image_url=URL, hashed=indexer.hash_image(copy_of(1)))
        indexer.record_visits([visit])
        record = indexer.find_image(URL)
        assert record is not None
        assert indexer.is_searched(record)
        key = add_signal(indexer, 1)
        assert not indexer.is_searched(record)
        (result,) = indexer.record_visits([visit])

        assert result.outcome is VisitOutcome.UNCHANGED
        assert [match.signal_key for match in result.matches] == [key]
        assert held(indexer) == {key}
        (again,) = indexer.record_visits([visit])
        assert again.matches == result.matches
        assert len(match_log(indexer.store)) == 1
        record = indexer.find_image(URL)
        assert record is not None
        assert indexer.is_searched(record)


def test_what_took_too_long_is_current_only_once_looked_at_again(open_indexer: Open) -> None:
    """So the crawler fetches and hashes it at the next visit, in any tier, but not for ever."""
    with open_indexer(tier="fast") as indexer:
        data = copy_of(1)
        cut_short = replace(indexer.hash_image(data), incomplete=Refusal.TIMEOUT)
        indexer.record_visits([ImageVisit(image_url=URL, hashed=cut_short)])
        assert not indexer.is_current(URL, data)
        indexer.record_visits([ImageVisit(image_url=URL, hashed=indexer.hash_image(data))])

        assert indexer.is_current(URL, data)


def test_a_full_scan_keeps_what_it_cannot_find_again(open_indexer: Open) -> None:
    """Stored hashes know nothing of guesses; a lower threshold ends the match all the same."""
    with open_indexer() as indexer:
        key = add_signal(indexer, 1)
        (match,) = indexer.index_image(copy_of(1), image_url=URL)
        for _ in range(2):
            indexer.scanner.full(now=NOW)
        indexer.scanner.delta(now=NOW)
        assert held(indexer) == {key}
        assert len(match_log(indexer.store)) == 1
        assert match.weighted_bits is not None
    with open_indexer(threshold_bits=match.weighted_bits / 2) as indexer:
        indexer.scanner.full(now=NOW)
        assert held(indexer) == set()


def test_other_bytes_end_a_deep_match(open_indexer: Open) -> None:
    """The guess was made of pixels that are there no more."""
    with open_indexer() as indexer:
        add_signal(indexer, 1)
        indexer.index_image(copy_of(1), image_url=URL)
        indexer.index_image(copy_of(9), image_url=URL)

        assert held(indexer) == set()
        assert [event.kind for event in match_log(indexer.store)] == [
            MatchEventKind.MATCHED,
            MatchEventKind.ENDED,
        ]


def test_the_policy_tier_picks_what_comes_near_and_named_hosts(open_indexer: Open) -> None:
    """Far from every signal and on no listed host, an image is not searched deeply."""
    near = encode(cropped(photo(1), left=0.03, bottom=0.03), "PNG")
    far = encode(ImageOps.mirror(cropped(photo(1), left=0.12, top=0.1, right=0.02)), "PNG")
    for hosts, images in (((), (near,)), (("photos.example",), (near, far))):
        with open_indexer(tier="policy", deep_hosts=hosts) as indexer:
            key = add_signal(indexer, 1) if not hosts else None
            for data in (near, far):
                found = indexer.index_image(data, image_url=URL)
                assert bool(found) == (data in images)
                assert key is None or all(match.signal_key == key for match in found)


def test_an_unknown_tier_is_refused(open_indexer: Open) -> None:
    """A tier that does not exist is a mistake of the caller, in one line."""
    with open_indexer() as indexer, pytest.raises(SettingsError, match="no tier is called"):
        indexer.hash_image(b"", tier="deeper")


def test_a_crawl_searches_again_once_signals_came(tmp_path: Path, open_indexer: Open) -> None:
    """The second crawl of an unchanged site fetches without conditions and finds the copy."""
    config = tmp_path / "delist.toml"
    config.write_text(
        'data_dir = "data"\n[hashing]\ntier = "deep"\ndeep_budget_ms = 10000\n', encoding="utf-8"
    )
    with serve_site() as site:
        image = site.put("/one.png", copy_of(1), ETag='"1"', Content_Type="image/png")
        page = site.put("/", f"<img src={image}>")
        job = CrawlJob(urls=(page,), allow_private_addresses=True)
        settings = CrawlSettings(timeout_s=10)
        data_dir = tmp_path / "data"

        def crawl() -> set[bytes]:
            result = run_crawl(job, config=config, data_dir=data_dir, crawl_settings=settings)
            assert result.images == 1
            with open_indexer() as indexer:
                return held(indexer, image)

        assert crawl() == set()
        with open_indexer() as indexer:
            key = add_signal(indexer, 1)
        for found, is_conditional in (({key}, False), ({key}, True)):
            site.requests.clear()
            assert crawl() == found
            asked = [headers for path, headers in site.requests if path == "/one.png"]
            assert asked
            assert all(("If-None-Match" in headers) == is_conditional for headers in asked)
