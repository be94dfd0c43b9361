"""Telling the feeds what became of their signals: per signal, in StopNCII's words.

``PendingReview`` from the first match; ``Blocked`` once a person has said ``ncii`` of
any image that it matches; ``NotBlocked`` when every such verdict is ``not_ncii``.
What is to be told is queued with the decision and sent afterwards, with retry;
a newer word replaces an older one that still waits.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delist.model import CaseState, Verdict
from delist.store import Database, cases, outbox
from delist.store.outbox import QueuedFeedback
from indexer.errors import FeedError
from indexer.match import signal_value
from indexer.ports import FeedbackReceiver
from indexer.store import Store

PENDING, BLOCKED, NOT_BLOCKED = "PendingReview", "Blocked", "NotBlocked"
_BATCH = 200
_FIRST_RETRY = timedelta(seconds=30)
_LONGEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What a delivery did.

    Attributes:
        dropped: words about signals that were withdrawn meanwhile, or of feeds that take none.
        failed: what went wrong, by feed; nothing is lost, it is tried again.
    """

    sent: int = 0
    dropped: int = 0
    waiting: int = 0
    failed: Mapping[str, str]


def word_for(standings: Iterable[tuple[CaseState, Verdict | None]]) -> str | None:
    """Say what a feed is to be told of a signal, from the cases it stands behind.

    Args:
        standings: state and verdict of each case; equal ones count once.
    """
    # A case that is open again asks about this signal, whatever was said before.
    verdicts = {None if state is CaseState.OPEN else verdict for state, verdict in standings}
    if not verdicts:
        return None
    if Verdict.NCII in verdicts:
        return BLOCKED
    return NOT_BLOCKED if verdicts == {Verdict.NOT_NCII} else PENDING


def queue_for(connection: Connection, *, feed: str, signal_key: str, now: datetime) -> None:
    """Queue what a feed is to be told of a signal, if that is news; in the caller's transaction."""
    word = word_for(cases.standings(connection, signal_key))
    if word is not None and word != outbox.last_value(connection, signal_key):
        outbox.queue(connection, feed=feed, signal_key=signal_key, value=word, now=now)


def deliver(
    database: Database,
    store: Store,
    receivers: Mapping[str, FeedbackReceiver],
    *,
    now: datetime,
    stopped: Callable[[], bool] = lambda: False,
) -> DeliveryReport:
    """Send what waits and is due.

    Args:
        receivers: feeds that take feedback, by name. Words for others are dropped.
    """
    sent = dropped = 0
    failed: dict[str, str] = {}
    with database.read() as connection:
        feeds = outbox.feeds_waiting(connection)
    for feed in feeds:
        while not stopped():
            with database.read() as connection:
                batch = outbox.due(connection, feed=feed, now=now, limit=_BATCH)
            if not batch:
                break
            words = _with_digests(store, batch) if feed in receivers else {}
            gone = [entry.id for entry in batch if entry.id not in words]
            if words:
                try:
                    receivers[feed].send_feedback(list(words.values()))
                except FeedError as error:
                    failed[feed] = str(error)
                    _postpone(database, [entry for entry in batch if entry.id in words], now=now)
                    break
            with database.write() as connection:
                outbox.finish(connection, list(words), outcome=outbox.SENT, now=now)
                outcome = outbox.WITHDRAWN if feed in receivers else outbox.NOT_TAKEN
                outbox.finish(connection, gone, outcome=outcome, now=now)
            sent, dropped = sent + len(words), dropped + len(gone)
    with database.read() as connection:
        waiting = outbox.waiting(connection)
    return DeliveryReport(sent=sent, dropped=dropped, waiting=waiting, failed=failed)


def _with_digests(store: Store, batch: Sequence[QueuedFeedback]) -> dict[int, tuple[str, str]]:
    """Look up the digest that each word is about; what was withdrawn has none."""
    words = {}
    with store.read() as txn:
        for entry in batch:
            signal = store.signals.find(txn, bytes.fromhex(entry.signal_key))
            if signal is not None:
                words[entry.id] = (signal_value(signal), entry.value)
    return words


def _postpone(database: Database, batch: Sequence[QueuedFeedback], *, now: datetime) -> None:
    attempts = max(entry.attempts for entry in batch)
    pause = min(_LONGEST_RETRY, _FIRST_RETRY * 2 ** min(attempts, 16))
    with database.write() as connection:
        outbox.postpone(connection, [entry.id for entry in batch], until=now + pause)
