"""Telling the feeds what became of their signals: per signal, in StopNCII's words.

``PendingReview`` from the first match; ``Blocked`` once a person has said ``ncii`` of
any image that it matches; ``NotBlocked`` when every such verdict is ``not_ncii``.
What is to be told is queued with the decision and sent afterwards, with retry;
a newer word replaces an older one that still waits. A word that the feed refuses by
itself is found out and tried again once a day; it does not hold up the others.

A hash of our own that a feed has from us (``giving_back``) is ``Blocked`` as long as it stands,
and ``Withdrawn`` when what it was derived from has ended. That word is inferred: StopNCII's
public client names it among the values of feedback, and there is no call that takes a hash back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delist.feedback.isolating import send_apart
from delist.feedback.offered import digest_of
from delist.model import CaseState, Verdict
from delist.store import Database, cases, outbox, submissions
from delist.store.outbox import QueuedFeedback
from indexer.match import signal_value
from indexer.ports import FeedbackReceiver
from indexer.store import Store

PENDING, BLOCKED, NOT_BLOCKED = "PendingReview", "Blocked", "NotBlocked"
WITHDRAWN = "Withdrawn"
REFUSED_RETRY = outbox.LONGEST_WAIT
_BATCH = 200
_FIRST_RETRY = timedelta(seconds=30)
_LONGEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What a delivery did.

    Attributes:
        dropped: words about signals that were withdrawn meanwhile, or of feeds that take none.
        submitted: hashes of our own that feeds have taken (``submitting``).
        refused: words that wait because their feed refuses them, each by itself.
        failed: what went wrong, by feed; nothing is lost, it is tried again.
    """

    sent: int = 0
    dropped: int = 0
    submitted: int = 0
    waiting: int = 0
    refused: int = 0
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
    told = outbox.last_value(connection, signal_key)
    stands = submissions.stands(connection, signal_key)
    if stands is not None:
        # The feed has it from us, offered as blocked.
        told = told or BLOCKED
        word = BLOCKED if stands else word or WITHDRAWN
    if word is not None and word != told:
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
                words = _with_digests(connection, store, batch) if feed in receivers else {}
            if not batch:
                break
            parted = send_apart(
                [entry for entry in batch if entry.id in words],
                lambda part, feed=feed, words=words: receivers[feed].send_feedback(  # type: ignore[misc]
                    [words[entry.id] for entry in part]
                ),
            )
            gone = [entry.id for entry in batch if entry.id not in words]
            with database.write() as connection:
                done = [entry.id for entry in parted.sent]
                outbox.finish(connection, done, outcome=outbox.SENT, now=now)
                outcome = outbox.WITHDRAWN if feed in receivers else outbox.NOT_TAKEN
                outbox.finish(connection, gone, outcome=outcome, now=now)
                _postpone(connection, parted.left, now=now)
                refused = [entry.id for entry in parted.refused]
                until = now + REFUSED_RETRY
                outbox.postpone(connection, refused, until=until, outcome=outbox.REFUSED)
            sent, dropped = sent + len(done), dropped + len(gone)
            if parted.error is not None:
                failed[feed] = str(parted.error)
            if parted.is_stuck:
                break
    with database.read() as connection:
        waiting, refused_words = outbox.waiting(connection), outbox.refused(connection)
    return DeliveryReport(
        sent=sent, dropped=dropped, waiting=waiting, refused=refused_words, failed=failed
    )


def retry_pause(attempts: int) -> timedelta:
    """Say how long to wait after so many failed attempts before this one."""
    return min(_LONGEST_RETRY, _FIRST_RETRY * (1 << min(attempts, 16)))


def _with_digests(
    connection: Connection, store: Store, batch: Sequence[QueuedFeedback]
) -> dict[int, tuple[str, str]]:
    """Look up the digest that each word is about; what was withdrawn has none."""
    words = {}
    ours = submissions.of_signals(connection, {entry.signal_key for entry in batch})
    with store.read() as txn:
        for entry in batch:
            signal = store.signals.find(txn, bytes.fromhex(entry.signal_key))
            if signal is not None:
                words[entry.id] = (signal_value(signal), entry.value)
                continue
            # A hash of our own may not have come back yet.
            held = (digest_of(store, txn, row) for row in ours.get(entry.signal_key, ()))
            digest = next((found[1] for found in held if found is not None), None)
            if digest is not None:
                words[entry.id] = (digest.hex(), entry.value)
    return words


def _postpone(connection: Connection, batch: Sequence[QueuedFeedback], *, now: datetime) -> None:
    attempts = max((entry.attempts for entry in batch), default=0)
    until = now + retry_pause(attempts)
    outbox.postpone(connection, [entry.id for entry in batch], until=until)
