"""Logs and cursors on a real LMDB: in order, without gaps, and there after a restart."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.model import Match, MatchEvent, MatchEventKind
from indexer.store import FeedCursor, ScanCursor, Store
from tests.fakes.signals import NOW, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def make_event(number: int) -> MatchEvent:
    match = Match(signal_key=b"s" * 16, feed="f", distance_bits=number, threshold_bits=31)
    return MatchEvent(kind=MatchEventKind.MATCHED, match=match, at=NOW)


def append(store: Store, count: int) -> list[int]:
    with store.write() as txn:
        return [store.images.log.append(txn, make_event(number)) for number in range(count)]


def test_events_are_numbered_from_one(store: Store) -> None:
    """The first number is 1; every transaction goes on where the last one ended."""
    with store.read() as txn:
        assert store.images.log.last_sequence(txn) == 0

    assert append(store, 3) + append(store, 2) == [1, 2, 3, 4, 5]
    with store.read() as txn:
        assert store.images.log.last_sequence(txn) == 5
        assert [e.sequence for e in store.images.log.after(txn, 0, limit=9)] == [1, 2, 3, 4, 5]


def test_a_failed_transaction_leaves_no_gap(store: Store) -> None:
    """Numbers of events that were rolled back are given again."""
    append(store, 2)

    def fail() -> None:
        with store.write() as txn:
            store.images.log.append(txn, make_event(9))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert append(store, 1) == [3]


def test_a_log_is_read_in_batches(store: Store) -> None:
    """After any number, at most so many, the oldest first; all batches are the whole log."""
    append(store, 10)
    with store.read() as txn:
        for after, limit in itertools.product(range(13), range(1, 14)):
            read = [event.sequence for event in store.images.log.after(txn, after, limit=limit)]
            assert read == list(range(1, 11))[after : after + limit]


def test_both_logs_are_apart(store: Store) -> None:
    """Match log and signal log count on their own."""
    append(store, 2)
    with store.read() as txn:
        assert store.signals.version(txn) == 0


def test_cursors_are_kept_by_name(tmp_path: Path) -> None:
    """A cursor that was never stored is the one to start with; others outlive the process."""
    cursor = FeedCursor(cursor=5, since=4, token="t", pages=3, newest=2, synced_at=NOW)  # noqa: S106
    with open_store(tmp_path) as store, store.write() as txn:
        assert store.feed_cursors.load(txn, "one") == FeedCursor()
        store.feed_cursors.put(txn, "one", cursor)
        store.scan_cursors.put(txn, "one", ScanCursor(done=1))
    with open_store(tmp_path) as store, store.read() as txn:
        assert store.feed_cursors.load(txn, "one") == cursor
        assert store.feed_cursors.load(txn, "two") == FeedCursor()
        assert store.scan_cursors.load(txn, "one") == ScanCursor(done=1)


def test_page_tokens_show_in_no_repr() -> None:
    """Tokens are not logged by accident."""
    assert "secret" not in repr(FeedCursor(token="secret"))  # noqa: S106
