"""Signals of whole files: matched at visits, by re-scans, and gone when they are withdrawn."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from indexer.exact import signals_of
from indexer.feed.file import FileFeed
from indexer.model import (
    HashedImage,
    Hasher,
    ImageRecord,
    Match,
    MatchEventKind,
    VisitOutcome,
)
from indexer.scan import DELTA, FULL
from indexer.settings import FeedSettings
from indexer.store import Store
from indexer.store.codec import RecordCodec
from indexer.sync import FeedSync, SyncReport
from indexer.url import url_key
from indexer.visits import VisitRecorder
from tests.fakes.signals import (
    NOW,
    FakeFeed,
    add_signals,
    all_matches,
    make_digest,
    make_image,
    make_lookup,
    make_record,
    make_visit,
    match_log,
    open_store,
    signals,
    sync,
)
from tests.fakes.videos import VIDEO_KIND, md5_of, video_bytes
from tests.integration.test_scan import make_scanner

LATER = NOW + timedelta(days=1)
FILES = [video_bytes(number, 100) for number in range(6)]
MD5S = [md5_of(data) for data in FILES]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        yield opened


def hashed(data: bytes) -> HashedImage:
    return HashedImage(
        rows=(),
        quality=0,
        sha256=sha256(data).digest(),
        size_bytes=len(data),
        mime="video/mp4",
        width=0,
        height=0,
        md5=bytes.fromhex(md5_of(data)),
    )


def url_of(number: int) -> str:
    return f"http://videos.example/{number}"


def visit(store: Store, *files: bytes, start: int = 0) -> list[list[Match]]:
    recorder = VisitRecorder(store, make_lookup(store))
    visits = [make_visit(url_of(n), hashed(data)) for n, data in enumerate(files, start=start)]
    return [list(result.matches) for result in recorder.record(visits, now=NOW)]


def offer(store: Store, *md5s: str, feed: str = "stopncii", **changes: object) -> SyncReport:
    records = [make_record(md5, kind=VIDEO_KIND, **changes) for md5 in md5s]
    return FeedSync(store, FakeFeed(records, name=feed), overlap_s=0).run(now=NOW)


def held(store: Store) -> dict[bytes, list[str]]:
    """Map image keys to the feeds whose signals they match."""
    found: dict[bytes, list[str]] = {}
    for (image_key, _), match in all_matches(store).items():
        assert match.hasher is Hasher.MD5
        assert (match.distance_bits, match.variant, match.quality) == (0, "file", None)
        found.setdefault(image_key, []).append(match.feed)
    return found


def keys(*numbers: int) -> set[bytes]:
    return {url_key(url_of(number)) for number in numbers}


def test_a_file_is_looked_up_at_its_visit(store: Store) -> None:
    """By its MD5 in every feed that has such signals; nothing else of it is compared."""
    offer(store, *MD5S[:2])
    offer(store, MD5S[1], feed="other")
    found = visit(store, *FILES[:3])

    assert [[match.feed for match in matches] for matches in found] == [
        ["stopncii"],
        sorted(["stopncii", "other"], key=lambda feed: _key(store, MD5S[1], feed)),
        [],
    ]
    assert held(store).keys() == keys(0, 1)


def _key(store: Store, md5: str, feed: str = "stopncii") -> bytes:
    return store.signals.key(feed=feed, kind=VIDEO_KIND, value=md5.encode())


def test_capital_letters_are_the_same_md5(store: Store) -> None:
    """However a feed writes it, and however it writes the withdrawal."""
    assert offer(store, MD5S[0].upper(), f" {MD5S[1]} ").added == 2
    visit(store, *FILES[:2])
    assert held(store).keys() == keys(0, 1)
    report = offer(store, MD5S[0], MD5S[1].upper(), status="Withdrawn", modified_at=2000)

    assert (report.withdrawn, held(store)) == (2, {})


def test_an_md5_kept_before_they_were_read_is_still_withdrawn(store: Store) -> None:
    """Older versions kept the text as it came; in capitals it had another key."""
    capitals = make_record(MD5S[0].upper(), kind="OtherKind")
    sync(store, [capitals])
    (old,) = signals(store).values()
    key = store.signals.key(feed="stopncii", kind=VIDEO_KIND, value=MD5S[0].upper().encode())
    with store.write() as txn, store.signals.column.writer(txn) as rows:
        store.signals.add(txn, rows, replace(old, key=key, kind=VIDEO_KIND))
    offer(store, MD5S[0].upper(), status="Withdrawn", modified_at=2000)

    assert [signal.kind for signal in signals(store).values()] == ["OtherKind"]


def test_what_is_no_md5_is_quarantined(store: Store) -> None:
    """Another length, other letters, and the MD5 of no bytes: named and counted, never matched."""
    report = offer(store, "xyz", MD5S[0][:31], MD5S[0] + "0", "d41d8cd98f00b204e9800998ecf8427e")

    assert (report.active, report.quarantined) == (0, 4)
    with store.read() as txn:
        quarantined = store.signals.quarantined(txn, "stopncii")
    assert quarantined == {"malformed_digest": 3, "degenerate_digest": 1}
    assert visit(store, b"") == [[]]


@pytest.mark.parametrize("pictures", [0, 30])
def test_a_new_signal_finds_stored_files(store: Store, pictures: int) -> None:
    """A delta scan matches what was visited before, at every URL of the file, and logs it once."""
    images = [make_image(number) for number in range(pictures)]
    recorder = VisitRecorder(store, make_lookup(store))
    recorder.record([make_visit(f"http://i.example/{n}", i) for n, i in enumerate(images)], now=NOW)
    visit(store, *FILES, *FILES)
    add_signals(store, [make_digest(5)] if pictures else [])
    offer(store, MD5S[0], MD5S[3])
    report = make_scanner(store).delta(now=NOW)

    assert (report.matches, report.complete) == (4, True)
    assert report.signals == (3 if pictures else 2)
    assert held(store).keys() == keys(0, 3, 6, 9)
    assert len(match_log(store)) == 4
    assert make_scanner(store).delta(now=NOW).signals == 0


def test_a_scan_gives_the_match_of_a_visit(store: Store) -> None:
    """Before or after the signal, delta or full: the same match in every field."""
    visit(store, FILES[0])
    offer(store, MD5S[0])
    make_scanner(store).delta(now=NOW)
    from_delta = all_matches(store)
    visit(store, FILES[1])
    visit(store, FILES[0])
    with store.write() as txn:
        store.images.drop_matches_of_signal(txn, _key(store, MD5S[0]))
    report = make_scanner(store).full(now=NOW)

    assert report.matches == 1
    assert all_matches(store) == from_delta != {}
    visit(store, FILES[0], start=9)
    again = all_matches(store)[url_key(url_of(9)), _key(store, MD5S[0])]
    (first,) = from_delta.values()
    assert (again.content_sha256, again.hasher) == (first.content_sha256, first.hasher)


def test_a_full_scan_leaves_what_still_holds(store: Store) -> None:
    """Matches of files survive a full scan; nothing is logged anew."""
    offer(store, *MD5S)
    visit(store, *FILES)
    before = all_matches(store)
    report = make_scanner(store).full(now=NOW)

    assert (report.matches, report.complete) == (0, True)
    assert all_matches(store) == before
    assert len(before) == len(match_log(store)) == 6


@pytest.mark.parametrize("name", [DELTA, FULL])
def test_a_scan_that_was_stopped_goes_on(store: Store, name: str) -> None:
    """Stopped before it had looked at files, it finds them the next time."""
    visit(store, *FILES)
    offer(store, *MD5S)
    scanner = make_scanner(store)
    stopped = getattr(scanner, name)(now=NOW, stopped=lambda: True)
    assert (stopped.complete, held(store)) == (False, {})
    again = scanner.full(now=NOW, resume=True) if name == FULL else scanner.delta(now=NOW)

    assert (again.complete, again.matches) == (True, 6)
    assert held(store).keys() == keys(*range(6))


def test_a_withdrawal_takes_the_match_away(store: Store) -> None:
    """The signal's value goes, and neither a visit nor a scan finds it again."""
    offer(store, *MD5S[:2])
    visit(store, *FILES[:2])
    report = offer(store, MD5S[0], status="Withdrawn", modified_at=2000)

    assert (report.withdrawn, report.active) == (1, 1)
    assert held(store).keys() == keys(1)
    visit(store, FILES[0], start=5)
    scanner = make_scanner(store)
    scanner.delta(now=NOW)
    scanner.full(now=NOW)
    assert held(store).keys() == keys(1)
    with store.read() as txn:
        assert signals_of(store, txn, bytes.fromhex(MD5S[0])) == []


def test_a_signal_that_was_withdrawn_before_the_scan_finds_nothing(store: Store) -> None:
    """Added and withdrawn between two scans, it leaves no match."""
    visit(store, *FILES)
    offer(store, *MD5S)
    offer(store, *MD5S[1:], status="Deleted", modified_at=2000)
    make_scanner(store).delta(now=NOW)

    assert held(store).keys() == keys(0)


def test_other_bytes_end_the_match(store: Store) -> None:
    """A URL that shows another file is found under that one's MD5 alone, by scans too."""
    offer(store, MD5S[0])
    visit(store, FILES[0])
    visit(store, FILES[1])
    assert held(store) == {}
    assert [event.kind for event in match_log(store)] == [
        MatchEventKind.MATCHED,
        MatchEventKind.ENDED,
    ]
    offer(store, MD5S[1], modified_at=3000)
    make_scanner(store).delta(now=NOW)
    make_scanner(store).full(now=NOW)

    assert [match.signal_key for match in all_matches(store).values()] == [_key(store, MD5S[1])]
    with store.read() as txn:
        assert store.images.files.images(txn, bytes.fromhex(MD5S[0])) == []


def test_a_picture_at_the_url_forgets_the_file(store: Store) -> None:
    """The MD5 of a video goes when a picture takes its place."""
    offer(store, MD5S[0])
    visit(store, FILES[0])
    recorder = VisitRecorder(store, make_lookup(store))
    recorder.record([make_visit(url_of(0), make_image(1))], now=LATER)

    assert held(store) == {}
    with store.read() as txn:
        assert store.images.files.after(txn, b"", most=9) == []


def test_a_video_stored_before_there_were_md5s_is_hashed_again(store: Store) -> None:
    """The same bytes, and its record lacks the MD5: not unchanged."""
    offer(store, MD5S[0])
    recorder = VisitRecorder(store, make_lookup(store))
    old = replace(hashed(FILES[0]), md5=b"")
    recorder.record([make_visit(url_of(0), old)], now=NOW)
    with store.read() as txn:
        record = store.images.find(txn, url_key(url_of(0)))
    assert record is not None
    assert record.lacks_md5
    (result,) = recorder.record([make_visit(url_of(0), hashed(FILES[0]))], now=LATER)

    assert (result.outcome, len(result.matches)) == (VisitOutcome.HASHED, 1)
    (result,) = recorder.record([make_visit(url_of(0), hashed(FILES[0]))], now=LATER)
    assert result.outcome is VisitOutcome.UNCHANGED


def test_records_of_the_version_before_are_read(store: Store) -> None:
    """A store from before there were MD5s opens: its images have none, and lack none."""
    recorder = VisitRecorder(store, make_lookup(store))
    recorder.record([make_visit(url_of(0), make_image(1))], now=NOW)
    with store.read() as txn:
        record = store.images.find(txn, url_key(url_of(0)))
    assert record is not None
    codec = RecordCodec(ImageRecord)
    values = msgspec.msgpack.decode(codec.encode(record)[1:])
    # Version 7 added whether it is finished, 6 the marks of origin, 5 the MD5.
    assert (values.pop(), values.pop(), values.pop()) == (False, [], b"")
    before = codec.decode(b"\x04" + msgspec.msgpack.encode(values))

    assert before == record
    assert not before.lacks_md5


def test_a_file_of_records_names_videos(store: Store, tmp_path: Path) -> None:
    """Records as StopNCII writes them, in a feed of type file; absent is withdrawn."""
    path = tmp_path / "bank.jsonl"
    lines = [
        json.dumps({"signalType": VIDEO_KIND, "hashValue": md5, "hashStatus": "Active"})
        for md5 in MD5S[:2]
    ]
    path.write_text("\n".join(lines))
    settings = FeedSettings(name="bank", type="file", path=path)
    report = FeedSync(store, FileFeed(settings), overlap_s=0).run(now=NOW)
    visit(store, *FILES[:3])
    assert (report.active, held(store)) == (2, {key: ["bank"] for key in keys(0, 1)})
    path.write_text(lines[1])
    FeedSync(store, FileFeed(settings), overlap_s=0).run(now=LATER)

    assert held(store).keys() == keys(1)


def test_many_urls_of_one_file_are_all_found(store: Store) -> None:
    """More than fit into one transaction."""
    visit(store, *[FILES[0]] * 300)
    offer(store, MD5S[0])

    assert make_scanner(store).delta(now=NOW).matches == 300
    assert make_scanner(store).full(now=NOW).matches == 0
