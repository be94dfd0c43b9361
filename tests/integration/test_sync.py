"""Feed to store on a real LMDB: the rules of docs/adr/0003 and of the cursor, one by one."""

import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from delist.ops.standin import (
    Faults,
    StopNciiStandIn,
    make_records,
    name_odd_records,
)
from delist.ops.standin import (
    make_record as make_entry,
)
from delist.ops.standin.state import FeedState
from indexer.errors import (
    FeedProtocolError,
    FeedSettingsError,
    FeedUnavailableError,
    PageTokenExpiredError,
)
from indexer.feed import FileFeed, StopNciiFeed
from indexer.feed.records import read_record
from indexer.match import is_degenerate, parse_digest
from indexer.model import (
    FeedPage,
    FeedRecord,
    PartnerFeedback,
    RefusedRecord,
    SignalEventKind,
    has_ended,
)
from indexer.settings import FeedSettings
from indexer.store import FeedCursor, Store
from indexer.sync import FeedSync, SyncReport
from indexer.visits import VisitRecorder
from tests.fakes.signals import (
    NOW,
    NOW_S,
    FakeFeed,
    SnapshotFeed,
    add_signals,
    all_matches,
    column_bytes,
    dump,
    flip,
    key_of,
    make_cases,
    make_digest,
    make_image,
    make_lookup,
    make_record,
    make_visit,
    matching,
    open_store,
    signal_words,
    signals,
    sync,
    withdraw,
)

A, B, C = make_digest(1), make_digest(2), make_digest(3)
ADDED, CHANGED, WITHDRAWN = (
    SignalEventKind.ADDED,
    SignalEventKind.CHANGED,
    SignalEventKind.WITHDRAWN,
)
DEGENERATE = bytes(32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "data") as opened:
        yield opened


def cursor_of(store: Store, name: str = "stopncii") -> FeedCursor:
    with store.read() as txn:
        return store.feed_cursors.load(txn, name)


def quarantined(store: Store, name: str = "stopncii") -> dict[str, int]:
    with store.read() as txn:
        return store.signals.quarantined(txn, name)


def live(store: Store) -> set[bytes]:
    return {digest for _, _, digest in signals(store)}


def digests_in_store(store: Store) -> bytes:
    """Join every value that the store holds, in every database."""
    return b"".join(value for entries in dump(store).values() for _, value in entries)


# Withdrawals


@pytest.mark.parametrize("word", ["Withdrawn", "Deleted", "withdrawn"])
def test_a_withdrawal_removes_the_signal(store: Store, word: str) -> None:
    """Withdrawn and Deleted: no match any more, no digest in the store, a tombstone without it."""
    sync(store, [make_record(A, modified_at=1), make_record(B)])
    key = key_of(store, A)
    report = sync(store, [make_record(A, status=word, modified_at=2)])

    assert (report.withdrawn, report.active) == (1, 1)
    assert matching(store, A) == {}
    assert key not in column_bytes(store)
    everything = digests_in_store(store)
    assert A not in everything
    assert A.hex().encode() not in everything
    with store.read() as txn:
        stone = store.signals.find_tombstone(txn, key)
    assert stone is not None
    assert (stone.feed, stone.modified_at, stone.withdrawn_at) == ("stopncii", 2, NOW)
    assert matching(store, B) == {key_of(store, B): 0}


def test_a_withdrawal_ends_what_matched_it(store: Store) -> None:
    """What matched a withdrawn signal is forgotten with it; what matched another stays."""
    sync(store, [make_record(A), make_record(B)])
    image = make_image(1, {0: A, 3: flip(B, 4)})
    VisitRecorder(store, make_lookup(store)).record([make_visit("http://x/1", image)], now=NOW)
    withdraw(store, A)

    assert [signal_key for _, signal_key in all_matches(store)] == [key_of(store, B)]


def test_several_cases_live_until_all_have_ended(store: Store) -> None:
    """One person's withdrawal does not end another's protection, whatever the aggregate says."""
    words = [("Received", "Received"), ("Withdrawn", "Received"), ("Withdrawn", "Deleted")]
    states = []
    for step, (one, other) in enumerate(words):
        cases = make_cases(one=one, other=other)
        sync(store, [make_record(A, status="Withdrawn", cases=cases, modified_at=step)])
        states.append(A in live(store))

    assert states == [True, True, False]
    assert signal_words(store) == [ADDED, CHANGED, WITHDRAWN]


def test_without_cases_the_aggregate_decides(store: Store) -> None:
    """The aggregate alone ends a hash behind which no case stands."""
    sync(store, [make_record(A), make_record(B)])
    sync(store, [make_record(A, status="Deleted", modified_at=1001)])

    assert live(store) == {B}


def test_cases_are_found_by_a_keyed_hash(store: Store) -> None:
    """A case finds its signals, live and ended; its reference is stored under no plain key."""
    cases = make_cases(ref_one="Received", ref_two="Withdrawn")
    sync(store, [make_record(A, cases=cases), make_record(B, cases=make_cases(ref_one="Active"))])

    with store.read() as txn:
        assert store.signals.signals_of_case(txn, " ref_one ") == {
            key_of(store, A): True,
            key_of(store, B): True,
        }
        assert store.signals.signals_of_case(txn, "ref_two") == {key_of(store, A): False}
    sync(store, [make_record(A, cases=make_cases(ref_two="Received"), modified_at=1001)])
    withdraw(store, B)
    with store.read() as txn:
        assert set(store.signals.signals_of_case(txn, "ref_one").values()) == {False}
        assert store.signals.signals_of_case(txn, "ref_two") == {key_of(store, A): True}
    assert not any(b"ref_" in key for entries in dump(store).values() for key, _ in entries)


@pytest.mark.parametrize("same_set", [False, True])
@pytest.mark.parametrize(
    ("modified_at", "revived"), [(4999, False), (5000, False), (None, False), (5001, True)]
)
def test_only_a_newer_word_revives(
    store: Store, modified_at: int | None, same_set: bool, revived: bool
) -> None:
    """An older, equal or undated live word does not revive a withdrawn signal; a newer does."""
    add_signals(store, [A])
    ended = make_record(A, status="Withdrawn", modified_at=5000)
    again = make_record(A, modified_at=modified_at)
    pages = [[[ended], [again]]] if same_set else [[[ended]], [[again]]]
    reports = [sync(store, *part) for part in pages]

    assert (A in live(store)) is revived
    assert (key_of(store, A) in matching(store, A)) is revived
    assert reports[-1].stale == (not revived)
    with store.read() as txn:
        assert (store.signals.find_tombstone(txn, key_of(store, A)) is None) is revived


def test_a_withdrawal_of_what_was_never_held_is_remembered(store: Store) -> None:
    """Pages can come out of order: the withdrawal first, the older live word after it."""
    sync(store, [make_record(A, status="Withdrawn", modified_at=5000)])
    report = sync(store, [make_record(A, modified_at=4000)])

    assert (report.stale, report.active) == (1, 0)
    assert signal_words(store) == []


def test_the_latest_withdrawal_counts(store: Store) -> None:
    """Of several withdrawals the latest is remembered, in whatever order they come."""
    for modified_at in (5000, 7000, 6000, None):
        sync(store, [make_record(A, status="Withdrawn", modified_at=modified_at)])

    assert sync(store, [make_record(A, modified_at=6500)]).stale == 1
    assert sync(store, [make_record(A, modified_at=7001)]).added == 1


def test_a_dated_withdrawal_replaces_an_undated_one(store: Store) -> None:
    """Once a withdrawal tells its time, older live words do not revive what it ended."""
    sync(store, [make_record(A, status="Withdrawn", modified_at=None)])
    sync(store, [make_record(A, status="Withdrawn", modified_at=5000)])

    assert sync(store, [make_record(A, modified_at=4000)]).stale == 1


def test_an_older_withdrawal_ends_and_no_repeat_revives(store: Store) -> None:
    """Withdrawn beats active whatever its time; the live word that was held does not return."""
    pages = [[make_record(A, modified_at=5000)], [make_record(A, status="Deleted", modified_at=1)]]
    sync(store, *pages)
    log = signal_words(store)
    sync(store, *pages)

    assert live(store) == set()
    assert log == signal_words(store) == [ADDED, WITHDRAWN]


def test_an_older_live_word_does_not_replace_a_later_one(store: Store) -> None:
    """A snapshot that comes late changes nothing; one of the same second is taken."""
    sync(store, [make_record(A, status="Active", modified_at=5000)])
    report = sync(store, [make_record(A, status="Received", modified_at=4999)])
    assert (report.stale, report.changed) == (1, 0)
    report = sync(store, [make_record(A, status="Received", modified_at=5000)])
    assert (report.stale, report.changed) == (0, 1)


# What is unknown or odd


def test_unknown_words_and_fields_lose_nothing(store: Store) -> None:
    """New words, new fields and missing ones are counted; the record is kept with them."""
    digest = make_digest(9).hex()
    entry = {
        "hashValue": digest,
        "signalType": "ImagePDQ",
        "hashStatus": "Escalated",
        "caseNumbers": {"case": "Paused"},
        "CSPFeedbacks": [{"source": "X", "feedbackValue": "Undefined", "tags": None, "new": 1}],
        "severity": {"level": 3},
    }
    record = read_record(entry)
    assert isinstance(record, FeedRecord)
    report = sync(store, [record])

    assert (report.added, report.active) == (1, 1)
    assert report.unknown == len(record.unknown) >= 4
    (signal,) = signals(store).values()
    assert signal.status == "Escalated"
    assert [case.status for case in signal.cases] == ["Paused"]
    assert signal.feedback == (PartnerFeedback(source="X", value="Undefined"),)
    assert json.loads(signal.extra)["severity"] == {"level": 3}


def test_kinds_that_are_not_matched_are_kept_and_counted(store: Store) -> None:
    """Other hashes and kinds never heard of are held, counted by kind, and withdrawn alike."""
    records = [
        make_record("tmk", kind="VideoTMK"),
        make_record("AAEC", kind="ImagePhotoDNA"),
        make_record("x", kind="ImagePhotoDNA"),
        make_record(A),
    ]
    report = sync(store, records)

    assert report.active == 1
    assert report.kept == {"VideoTMK": 1, "ImagePhotoDNA": 2}
    report = sync(store, [make_record("tmk", kind="VideoTMK", status="Deleted", modified_at=1001)])
    assert (report.withdrawn, report.kept) == (1, {"ImagePhotoDNA": 2})


@pytest.mark.parametrize("kind", ["X" * 2000, "é" * 400, "a\0b", json.dumps({"kind": [1] * 300})])
def test_a_kind_of_any_length_does_not_stop_the_sync(store: Store, kind: str) -> None:
    """A word of any length is a word: its record is kept and counted, the others go on."""
    report = sync(store, [make_record("x", kind=kind), make_record(A)])

    assert (report.added, report.active) == (2, 1)
    assert sum(report.kept.values()) == 1
    report = sync(store, [make_record("x", kind=kind, status="Deleted", modified_at=1001)])
    assert (report.withdrawn, report.kept) == (1, {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (A.hex()[:63], "malformed_digest"),
        (A.hex() + "0", "malformed_digest"),
        ("z" * 64, "malformed_digest"),
        ("0" * 64, "degenerate_digest"),
        ("f" * 64, "degenerate_digest"),
        (((1 << 95) - 1).to_bytes(32).hex(), "degenerate_digest"),
        (((1 << 161) - 1).to_bytes(32).hex(), "degenerate_digest"),
    ],
)
def test_what_cannot_be_matched_is_quarantined(store: Store, value: str, reason: str) -> None:
    """Malformed and degenerate digests: a reason, no index, no silence; a withdrawal drops them."""
    report = sync(store, [make_record(value), make_record(B)])

    assert (report.quarantined, report.added, report.active) == (1, 1, 1)
    assert quarantined(store) == {reason: 1}
    assert live(store) == {B}
    assert sync(store, [make_record(value)]).quarantined == 0
    sync(store, [make_record(value.upper(), status="Withdrawn", modified_at=5000)])
    assert quarantined(store) == {}
    assert value.encode() not in digests_in_store(store)
    assert signal_words(store) == [ADDED]


@pytest.mark.parametrize("value", [A.hex()[:63], "0" * 64])
def test_an_older_word_does_not_revive_in_quarantine(store: Store, value: str) -> None:
    """What was withdrawn from quarantine returns with a newer word only, as any signal does."""
    sync(store, [make_record(value, modified_at=1000)])
    sync(store, [make_record(value, status="Withdrawn", modified_at=5000)])

    report = sync(store, [make_record(value, modified_at=4000)])
    assert (report.stale, report.quarantined, quarantined(store)) == (1, 0, {})
    assert sync(store, [make_record(value, modified_at=5001)]).quarantined == 1


def test_entries_that_are_no_records_are_quarantined(store: Store) -> None:
    """What could not even be read is kept with its reason, once, and the rest counts."""
    refused = RefusedRecord(reason="not_an_object", raw="[1]")
    report = sync(store, [refused, make_record(A)])

    assert (report.records, report.quarantined, report.active) == (2, 1, 1)
    assert sync(store, [refused]).quarantined == 0
    assert quarantined(store) == {"not_an_object": 1}
    assert quarantined(store, "other") == {}


def test_upper_case_is_the_same_signal(store: Store) -> None:
    """Upper-case hex is fine, and its withdrawal may be written in lower case."""
    assert sync(store, [make_record(A.hex().upper())]).added == 1
    report = sync(store, [make_record(A.hex()), make_record(f" {A.hex()} ")])
    assert (report.added, report.changed) == (0, 0)
    withdraw(store, A)

    assert live(store) == set()


def test_the_same_digest_in_two_feeds_is_two_signals(store: Store) -> None:
    """Withdrawing a digest in one feed leaves it in the other."""
    add_signals(store, [A], feed="one")
    add_signals(store, [A], feed="two")
    assert matching(store, A) == {key_of(store, A, feed=name): 0 for name in ("one", "two")}
    withdraw(store, A, feed="one")

    assert matching(store, A) == {key_of(store, A, feed="two"): 0}


def test_freed_rows_are_used_again(store: Store) -> None:
    """A row that was freed takes the next signal; no freed row ever matches."""
    add_signals(store, [A, B])
    before = len(column_bytes(store))
    withdraw(store, A)
    add_signals(store, [C])

    assert len(column_bytes(store)) == before
    assert {row.row for row in signals(store).values()} == {0, 1}
    assert matching(store, bytes(32)) == {}
    assert set(matching(store, C)) == {key_of(store, C)}


# The cursor


def test_the_cursor_moves_with_the_last_page_only(store: Store) -> None:
    """A page before the last leaves the cursor and notes where to go on, with its records."""
    feed = FakeFeed([make_record(A)], [make_record(B)], cursor=[9000, 7000])
    feed.before = [None, FeedUnavailableError("down")]
    with pytest.raises(FeedUnavailableError):
        FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert live(store) == {A}
    assert cursor_of(store) == FeedCursor(token="1", pages=1, newest=1000)  # noqa: S106
    report = FeedSync(store, feed, overlap_s=0).run(now=NOW)
    assert feed.asked == [(0, None), (0, "1"), (0, "1")]
    assert (report.pages, report.cursor) == (1, 7000)
    assert cursor_of(store) == FeedCursor(cursor=7000, synced_at=NOW)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [(4000, 5000), (5000, 5000), (6000, 6000), (NOW_S + 1, NOW_S), (1 << 40, NOW_S), (0, 5000)],
)
def test_the_cursor_moves_neither_back_nor_into_the_future(
    store: Store, offered: int, expected: int
) -> None:
    """The offered start may come out of order or be wrong; nothing is skipped for that."""
    sync(store, cursor=5000)

    assert sync(store, cursor=offered).cursor == expected


def test_without_a_word_of_the_feed_the_newest_record_counts(store: Store) -> None:
    """A feed that names no start of the next set: the latest change seen in the whole set."""
    pages = [[make_record(A, modified_at=8000)], [make_record(B, modified_at=7000)]]

    assert sync(store, *pages, cursor=[99, None]).cursor == 8000
    assert sync(store, [make_record(C, modified_at=None)]).cursor == 8000


def test_a_set_starts_before_the_cursor(store: Store) -> None:
    """The start is read again with an overlap, never below the beginning of time."""
    feed = FakeFeed([], cursor=5000)
    for overlap_s in (600, 600, 6000):
        FeedSync(store, feed, overlap_s=overlap_s).run(now=NOW)

    assert feed.asked == [(0, None), (4400, None), (0, None)]


def test_an_expired_token_restarts_the_set(store: Store) -> None:
    """The set is read again from the same start; the end is that of an undisturbed sync."""
    feed = FakeFeed([make_record(A)], [make_record(B)], [make_record(C)], cursor=5000)
    feed.before = [None, None, PageTokenExpiredError("old")]
    report = FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert feed.asked == [(0, token) for token in (None, "1", "2", None, "1", "2")]
    assert (report.restarts, report.pages, report.added) == (1, 5, 3)
    assert live(store) == {A, B, C}
    assert report.cursor == 5000


def test_tokens_that_keep_expiring_are_an_error(store: Store) -> None:
    """A set that never ends is given up after some restarts; what was applied stays."""
    feed = FakeFeed([make_record(A)], [make_record(B)], cursor=5000)
    feed.before = [None, PageTokenExpiredError("old")] * 10
    with pytest.raises(FeedUnavailableError, match="expiring"):
        FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert live(store) == {A}
    assert cursor_of(store).cursor == 0


class CircularFeed(FakeFeed):
    """Its second page leads back to its first."""

    def fetch_page(self, *, since: int, token: str | None) -> FeedPage:
        page = super().fetch_page(since=since, token=token)
        return replace(page, last=False, next_token="1" if page.last else page.next_token)


def test_pages_that_lead_in_a_circle_are_an_error(store: Store) -> None:
    """It would never end, and no other feed would have its turn; what was read is kept."""
    feed = CircularFeed([make_record(A)], [make_record(B)], [make_record(C)])
    for _ in range(2):
        with pytest.raises(FeedProtocolError, match="leads back"):
            FeedSync(store, feed, overlap_s=0).run(now=NOW)
    assert live(store) == {A, B, C}
    assert len(feed.asked) < 8


def test_a_token_that_expired_between_syncs_restarts_the_set(store: Store) -> None:
    """A sync that was stopped days ago goes on from the start of its set."""
    feed = FakeFeed([make_record(A)], [make_record(B)], cursor=5000)
    report = FeedSync(store, feed, overlap_s=0).run(now=NOW, stopped=lambda: True)
    assert (report.complete, report.pages, live(store)) == (False, 1, {A})
    feed.before = [PageTokenExpiredError("old")]
    report = FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert (report.complete, report.restarts) == (True, 1)
    assert live(store) == {A, B}


def test_a_full_sync_reads_from_the_beginning(store: Store) -> None:
    """--full leaves the cursor where it is until the end, and also when it is cut off."""
    feed = FakeFeed([make_record(A)], [make_record(B)], cursor=5000)
    FeedSync(store, feed, overlap_s=0).run(now=NOW)
    feed.before = [None, FeedUnavailableError("down")]
    with pytest.raises(FeedUnavailableError):
        FeedSync(store, feed, overlap_s=0).run(now=NOW, full=True)
    assert cursor_of(store).cursor == 5000
    FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert feed.asked[2:] == [(0, None), (0, "1"), (0, "1")]
    assert cursor_of(store) == FeedCursor(cursor=5000, synced_at=NOW)


def test_a_failing_feed_changes_nothing(store: Store) -> None:
    """Errors of the first page leave the store as it was."""
    sync(store, [make_record(A)], cursor=5000)
    before = dump(store)
    for error in (FeedSettingsError("keys"), FeedProtocolError("html"), FeedUnavailableError("x")):
        feed = FakeFeed([make_record(B)])
        feed.before = [error]
        with pytest.raises(type(error)):
            FeedSync(store, feed, overlap_s=0).run(now=NOW)

    assert dump(store) == before


def test_a_page_is_applied_whole_or_not_at_all(store: Store) -> None:
    """Records and cursor of a page are one transaction: an error in the middle undoes both."""
    sync(store, [make_record(A)], cursor=5000)
    before = dump(store)
    broken = make_record(B, modified_at="not a number")

    with pytest.raises(TypeError):
        sync(store, [make_record(C), make_record(A, status="Deleted"), broken], cursor=6000)
    assert dump(store) == before
    assert matching(store, A) == {key_of(store, A): 0}


def test_two_syncs_at_once_do_not_rewind_the_cursor(store: Store) -> None:
    """A slow sync that goes on after a faster one has ended does not move the cursor back."""
    slow = FakeFeed([make_record(A)], [make_record(B)], [], cursor=3000)
    slow.before = [None, lambda: sync(store, [], [make_record(C)], [], cursor=9000)]
    cursors: list[int] = []
    report = FeedSync(store, slow, overlap_s=0).run(
        now=NOW, on_page=lambda _: cursors.append(cursor_of(store).cursor)
    )

    assert cursors == [0, 9000, 9000]
    assert report.cursor == 9000
    assert live(store) == {A, B, C}


def test_a_sync_reports_page_by_page(store: Store) -> None:
    """The report grows with every page that was applied, repeated records included."""
    seen: list[SyncReport] = []
    feed = FakeFeed([make_record(A), make_record(B)], [make_record(A)], cursor=2000)
    report = FeedSync(store, feed, overlap_s=0).run(
        now=NOW, on_page=lambda page: seen.append(replace(page))
    )

    assert [(page.pages, page.records, page.added) for page in seen] == [(1, 2, 2), (2, 3, 2)]
    assert (report.added, report.active, report.complete) == (2, 2, True)


# Re-reading


def test_re_reading_everything_changes_nothing(store: Store) -> None:
    """A second reading writes no log entry, and no byte but the time of the sync."""
    entries = [read_record(entry) for entry in name_odd_records().values()]
    pages = [entries[:20], entries[20:]]
    first = sync(store, *pages, cursor=5000)
    before = dump(store)
    second = sync(store, *pages, cursor=5000)

    assert dump(store) == before
    assert (first.active, first.kept) == (second.active, second.kept)
    assert second.added == second.changed == second.withdrawn == second.quarantined == 0


# A file


def write_file(path: Path, *digests: bytes) -> None:
    """Write as one should: another file, renamed."""
    new = path.with_suffix(".new")
    new.write_text("# bank\n" + "".join(f"{digest.hex()}\n" for digest in digests))
    new.rename(path)


def file_sync(store: Store, path: Path, *, page_size: int = 800) -> FeedSync:
    feed = FileFeed(FeedSettings(name="bank", type="file", path=path, page_size=page_size))
    return FeedSync(store, feed, overlap_s=600)


def test_what_disappears_from_a_file_is_withdrawn(store: Store, tmp_path: Path) -> None:
    """A file lists everything: what it names lives, what it names no more is withdrawn."""
    path = tmp_path / "bank"
    counts = []
    for digests in ([A, B], [B], [B], [A, B], []):
        write_file(path, *digests)
        report = file_sync(store, path).run(now=NOW)
        counts.append((report.added, report.withdrawn, report.active))
        assert live(store) == set(digests)

    assert counts == [(2, 0, 2), (0, 1, 1), (0, 0, 1), (1, 0, 2), (0, 2, 0)]


def test_another_feed_is_not_touched_by_a_file(store: Store, tmp_path: Path) -> None:
    """What disappears from a file is withdrawn from that feed alone."""
    add_signals(store, [A, B])
    write_file(tmp_path / "bank", A)
    file_sync(store, tmp_path / "bank").run(now=NOW)
    write_file(tmp_path / "bank")
    file_sync(store, tmp_path / "bank").run(now=NOW)

    assert {name for name, _, _ in signals(store)} == {"stopncii"}
    assert live(store) == {A, B}


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "directory", "cut"])
def test_a_doubtful_file_withdraws_nothing(store: Store, tmp_path: Path, damage: str) -> None:
    """A missing, empty or cut file is an error; the signals of the last good one stay."""
    path = tmp_path / "bank"
    write_file(path, A, B)
    file_sync(store, path).run(now=NOW)
    before = dump(store)
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage != "missing":
        path.write_text({"empty": "", "garbage": "<html>\n", "cut": '{"hashRecords": [{'}[damage])

    with pytest.raises((FeedSettingsError, FeedProtocolError)):
        file_sync(store, path).run(now=NOW)
    assert dump(store) == before


def test_a_file_of_several_pages_is_one_listing(store: Store, tmp_path: Path) -> None:
    """Nothing is withdrawn before the whole file was read, also after a stop in the middle."""
    digests = [make_digest(number) for number in range(35)]
    path = tmp_path / "bank"
    write_file(path, *digests)
    file_sync(store, path, page_size=1).run(now=NOW)
    write_file(path, *digests[1:])
    stopped = file_sync(store, path, page_size=1).run(now=NOW, stopped=lambda: True)
    assert (stopped.complete, stopped.withdrawn, stopped.active) == (False, 0, 35)
    report = file_sync(store, path, page_size=1).run(now=NOW)

    assert (report.pages, report.withdrawn, report.added, report.active) == (4, 1, 0, 34)
    assert live(store) == set(digests[1:])


def test_a_file_that_changes_while_it_is_read_is_read_again(store: Store, tmp_path: Path) -> None:
    """What only the first version named is withdrawn; what both name stays untouched."""
    digests = [make_digest(number) for number in range(25)]
    path = tmp_path / "bank"
    write_file(path, *digests)
    done: list[int] = []

    def change(_: SyncReport) -> None:
        if not done:
            write_file(path, *digests[5:])
            os.utime(path, ns=(1, 1))
        done.append(1)

    report = file_sync(store, path, page_size=1).run(now=NOW, on_page=change)

    assert report.restarts == 1
    assert live(store) == set(digests[5:])


def test_what_disappears_from_a_file_leaves_quarantine(store: Store, tmp_path: Path) -> None:
    """A line that cannot be matched is kept as long as the file names it, no longer."""
    path = tmp_path / "bank"
    path.write_text(f"{A.hex()}\n{B.hex()[:63]}\n{'0' * 64}\nnot a digest\n")
    sync(store, [make_record("0" * 64)])
    for _ in range(2):
        file_sync(store, path).run(now=NOW)
        assert quarantined(store, "bank") == {
            "malformed_digest": 1,
            "degenerate_digest": 1,
            "not_a_digest": 1,
        }
    write_file(path, A)
    file_sync(store, path).run(now=NOW)

    assert quarantined(store, "bank") == {}
    assert quarantined(store) == {"degenerate_digest": 1}
    assert B.hex()[:63].encode() not in digests_in_store(store)


# Against a model of the rules

VALUES = [*(make_digest(number).hex() for number in range(4)), make_digest(0).hex().upper()]
VALUES += ["0" * 64, VALUES[1][:63], VALUES[1][:63].upper()]
times = st.one_of(st.none(), st.integers(1, 12))
status_words = st.sampled_from(["Received", "Active", "Withdrawn", "Deleted", "Paused"])
feed_records = st.builds(
    make_record,
    st.sampled_from(VALUES),
    status=status_words,
    modified_at=times,
    cases=st.dictionaries(st.sampled_from(["one", "two"]), status_words, max_size=2).map(
        lambda cases: make_cases(**cases)
    ),
)
feed_pages = st.lists(st.lists(feed_records, max_size=6), min_size=1, max_size=5)


class Model:
    """The rules of docs/adr/0003 on dictionaries."""

    def __init__(self) -> None:
        self.live: dict[str, FeedRecord] = {}
        self.ended: dict[str, int | None] = {}
        self.quarantine: set[str] = set()

    def apply(self, record: FeedRecord) -> None:
        name = record.value.lower()
        cases = [has_ended(case.status) for case in record.cases]
        ended = all(cases) if len(cases) > 1 else any([*cases, has_ended(record.status)])
        if ended:
            self.quarantine.discard(name)
            known = [record.modified_at, self.ended.get(name)]
            if (held := self.live.pop(name, None)) is not None:
                known.append(held.modified_at)
            self.ended[name] = max((time for time in known if time is not None), default=None)
        elif name in self.ended and not self._is_newer(record.modified_at, self.ended[name]):
            return
        elif self._is_odd(name):
            self.quarantine.add(name)
        else:
            held = self.live.get(name)
            times = (record.modified_at, held.modified_at) if held else (None, None)
            if held is None or None in times or times[0] >= times[1]:  # type: ignore[operator]
                self.live[name] = record
            self.ended.pop(name, None)

    @staticmethod
    def _is_newer(offered: int | None, ended: int | None) -> bool:
        return ended is None or (offered is not None and offered > ended)

    @staticmethod
    def _is_odd(name: str) -> bool:
        return len(name) != 64 or is_degenerate(parse_digest(name))


def check_model(store: Store, model: Model) -> None:
    held = {digest.hex(): signal for (_, _, digest), signal in signals(store).items()}
    assert set(held) == set(model.live)
    for name, record in model.live.items():
        signal = held[name]
        assert (signal.status, signal.cases, signal.modified_at) == (
            record.status,
            record.cases,
            record.modified_at,
        )
        assert matching(store, signal.digest).get(signal.key) == 0
    assert sum(quarantined(store).values()) == len(model.quarantine)
    view = make_lookup(store).views.newest()
    (base,) = view.parts
    assert {key.tobytes() for key in base.keys} == {signal.key for signal in held.values()}
    assert view.count == len(base.index) == len(held)
    replayed: set[bytes] = set()
    with store.read() as txn:
        for event in store.signals.log.after(txn, 0, limit=10_000):
            known = event.signal_key in replayed
            assert known is (event.kind is not ADDED)
            replayed ^= {event.signal_key} if event.kind is not CHANGED else set()
    assert replayed == {signal.key for signal in held.values()}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(feed_pages, st.integers(0, 6), st.booleans()), min_size=1, max_size=3))
@example([([[make_record(VALUES[0], modified_at=5)], [make_record(VALUES[0])]], 1, True)])
def test_sync_equals_the_model(sets: list[tuple[list[list[FeedRecord]], int, bool]]) -> None:
    """Any records in any pages, stopped or broken off anywhere, end as the rules say.

    The column, the index and a replay of the signal log hold exactly the live signals.
    """
    model = Model()
    with tempfile.TemporaryDirectory(dir=_memory()) as folder, open_store(Path(folder)) as store:
        for pages, broken_at, expires in sets:
            feed = FakeFeed(*pages, cursor=50)
            feed.before = [None] * broken_at
            feed.before.append(PageTokenExpiredError("x") if expires else FeedUnavailableError("x"))
            read = pages
            if broken_at < len(pages):
                read = pages[:broken_at] + (pages if expires else pages[broken_at:])
            try:
                FeedSync(store, feed, overlap_s=0).run(now=NOW)
            except FeedUnavailableError:
                FeedSync(store, feed, overlap_s=0).run(now=NOW)
            for record in (record for page in read for record in page):
                model.apply(record)
            check_model(store, model)


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - in memory, if there is one


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1 << 30), st.data())
def test_however_disturbed_it_ends_with_what_the_feed_holds(seed: int, data: st.DataObject) -> None:
    """Changes while a set is read, breaks, dead tokens, repeats and rewound times lose nothing.

    The feed is the stand-in's own state; at the end its live records are the signals.
    """
    rng = random.Random(seed)
    clock = [NOW_S - 100_000]
    state = FeedState(now=lambda: clock[0], repeats=2, rewind_s=rng.choice([0, 30]))
    feed = SnapshotFeed(state, page_size=3)
    entries = [make_entry(rng) for _ in range(10)]
    latest: dict[str, bool] = {}

    def put() -> None:
        clock[0] += rng.randrange(1, 40)
        entry = rng.choice(entries)
        word = rng.choice(["Received", "Active", "Withdrawn", "Deleted"])
        latest[entry["hashValue"]] = not has_ended(word)
        cases = dict.fromkeys(entry["caseNumbers"], word)
        changed = {"hashStatus": word, "caseNumbers": cases, "lastModtimestamp": clock[0]}
        state.put({**entry, **changed})

    steps = st.lists(
        st.sampled_from(["put", "put", "sync", "break", "expire", "full"]), min_size=8, max_size=25
    )
    with tempfile.TemporaryDirectory(dir=_memory()) as folder, open_store(Path(folder)) as store:

        def run(*, full: bool = False) -> None:
            def on_page(_: SyncReport) -> None:
                if rng.random() < 0.3:
                    put()

            FeedSync(store, feed, overlap_s=5).run(now=NOW, full=full, on_page=on_page)

        for step in data.draw(steps):
            if step == "put":
                put()
            elif step == "expire":
                state.expire_tokens()
            else:
                breaks = step == "break"
                feed.before = [None] * rng.randrange(4) + [FeedUnavailableError("x")] * breaks
                try:
                    run(full=step == "full")
                except FeedUnavailableError:
                    assert breaks
        feed.before = []
        FeedSync(store, feed, overlap_s=5).run(now=NOW)  # ends a set that was under way
        FeedSync(store, feed, overlap_s=5).run(now=NOW)

        assert {digest.hex() for digest in live(store)} == {
            value for value, lives in latest.items() if lives
        }


# The stand-in over HTTP


def test_three_thousand_records_with_faults(store: Store, tmp_path: Path) -> None:
    """3,000 records, faults and oddities: exactly the active signals; again: no change."""
    rng = random.Random(5)
    records = make_records(3000, seed=5)
    for record in records[::10]:
        record["hashStatus"] = rng.choice(["Withdrawn", "Deleted"])
        record["caseNumbers"] = dict.fromkeys(record["caseNumbers"], "Withdrawn")
    odd = name_odd_records(seed=6)
    not_matched = {
        "new_signal_type", "video", "withdrawn", "deleted", "withdrawn_without_cases",
        "withdrawn_with_undefined_feedback", "all_zero_digest", "digest_of_63_digits",
    }  # fmt: skip
    active = {record["hashValue"] for number, record in enumerate(records) if number % 10}
    active |= {entry["hashValue"].lower() for name, entry in odd.items() if name not in not_matched}
    odd_entries: list[object] = [*odd.values(), None, [], {"hashValue": 5}]
    served = [*records, *odd_entries]
    rng.shuffle(served)
    faults = Faults(rate=0.3, seed=7)
    with StopNciiStandIn(served, faults=faults, repeats=3) as standin:
        (tmp_path / "key").write_text(standin.subscription_key)
        for endpoint, key in standin.function_keys.items():
            (tmp_path / endpoint).write_text(key)
        feed = StopNciiFeed(
            FeedSettings(
                name="stopncii",
                type="stopncii",
                base_url=standin.base_url,
                subscription_key_file=tmp_path / "key",
                function_key_files={name: tmp_path / name for name in standin.function_keys},
                page_size=250,
            ),
            backoff_s=0.001,
            tries=8,
        )
        report = FeedSync(store, feed, overlap_s=600).run(now=NOW)
        assert any(request.fault for request in standin.requests)
        assert {d.hex() for _, kind, d in signals(store) if kind == "ImagePDQ"} == active
        assert len(make_lookup(store).views.newest().parts[0].index) == len(active)
        assert report.active == len(active) + 1  # and one of a video
        assert report.kept == {"ImagePhotoDNA": 1}
        assert quarantined(store) == {
            "degenerate_digest": 1,
            "malformed_digest": 1,
            "not_an_object": 2,
            "no_hash_value": 1,
        }
        before = dump(store)
        for full in (False, True):
            again = FeedSync(store, feed, overlap_s=600).run(now=NOW, full=full)
            assert (again.added, again.changed, again.withdrawn, again.quarantined) == (0, 0, 0, 0)
            assert dump(store) == before

        gone = sorted(active)[:50]
        by_value = {str(entry["hashValue"]).lower(): entry for entry in [*records, *odd.values()]}
        for number, value in enumerate(gone):
            ended = {"hashStatus": "Deleted", "caseNumbers": [], "lastModtimestamp": NOW_S - number}
            standin.put({**by_value[value], "signalType": "ImagePDQ", **ended})
        later = FeedSync(store, feed, overlap_s=600).run(now=NOW + timedelta(hours=1))

    assert (later.withdrawn, later.active) == (50, len(active) + 1 - 50)
    assert {d.hex() for _, kind, d in signals(store) if kind == "ImagePDQ"} == active - set(gone)
    assert not any(matching(store, bytes.fromhex(value)) for value in gone[:5])
