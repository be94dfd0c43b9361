"""Offering hashes of our own to the feeds: what waits in ``submissions``, with retry.

The digest is read from the image's hashes when it is sent. Nothing is offered of which the hash
says too little, or that the feed reaches by now. What a crash leaves in doubt is sent
again: a feed's record is a snapshot, so that changes nothing there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from delist.feedback.isolating import send_apart
from delist.feedback.offered import digest_of
from delist.feedback.words import BLOCKED, REFUSED_RETRY, DeliveryReport, retry_pause
from delist.store import Database, submissions
from delist.store.submissions import Submission
from indexer.match import is_degenerate
from indexer.model import Match
from indexer.ports import HashReceiver
from indexer.store import Store

MIN_QUALITY = 50
NEAR_BITS = 8
"""A live signal of the feed that lies so near reaches what our hash would reach."""

Find = Callable[[Sequence[bytes]], list[list[Match]]]
"""Looks digests up: ``Indexer.match_digest_list``."""
_BATCH = 100


@dataclass(slots=True)
class _Batch:
    """What is to be sent, and what is not.

    Attributes:
        digests: by number of the submission.
        outcomes: numbers by what became of them without being sent.
    """

    digests: dict[int, bytes] = field(default_factory=dict, repr=False)
    outcomes: dict[str, list[int]] = field(default_factory=dict)

    def drop(self, submission: Submission, outcome: str) -> None:
        """Do not send one."""
        self.outcomes.setdefault(outcome, []).append(submission.id)


def deliver(
    database: Database,
    store: Store,
    receivers: Mapping[str, HashReceiver],
    find: Find,
    *,
    now: datetime,
    stopped: Callable[[], bool] = lambda: False,
) -> DeliveryReport:
    """Offer what waits and is due.

    Args:
        receivers: feeds that take hashes, by name. What waits for others is dropped.
    """
    submitted = dropped = 0
    failed: dict[str, str] = {}
    with database.read() as connection:
        feeds = submissions.feeds_waiting(connection)
    for feed in feeds:
        while not stopped():
            with database.read() as connection:
                due = submissions.due(connection, feed=feed, now=now, limit=_BATCH)
                batch = _sorted(connection, store, due, find, takes=feed in receivers)
            if not due:
                break
            until = now + retry_pause(max(entry.attempts for entry in due))
            with database.write() as connection:
                for outcome, ids in batch.outcomes.items():
                    submissions.finish(connection, ids, outcome=outcome, now=now)
                claimed = submissions.claim(connection, list(batch.digests), until=until)
            parted = send_apart(
                sorted(claimed),
                lambda part, feed=feed, held=batch.digests: receivers[feed].submit_hashes(  # type: ignore[misc]
                    [held[number].hex() for number in part], word=BLOCKED, at=now
                ),
            )
            with database.write() as connection:
                submissions.finish(connection, parted.sent, outcome=submissions.SENT, now=now)
                submissions.postpone(
                    connection,
                    parted.refused,
                    until=now + REFUSED_RETRY,
                    outcome=submissions.REFUSED,
                )
            submitted += len(parted.sent)
            dropped += sum(map(len, batch.outcomes.values()))
            if parted.error is not None:
                failed[feed] = str(parted.error)
            if parted.is_stuck:
                break
    with database.read() as connection:
        waiting = submissions.waiting(connection)
    return DeliveryReport(submitted=submitted, dropped=dropped, waiting=waiting, failed=failed)


def together(one: DeliveryReport, other: DeliveryReport) -> DeliveryReport:
    """Add two reports up."""
    return DeliveryReport(
        sent=one.sent + other.sent,
        dropped=one.dropped + other.dropped,
        submitted=one.submitted + other.submitted,
        waiting=one.waiting + other.waiting,
        refused=one.refused + other.refused,
        failed={**one.failed, **other.failed},
    )


def _sorted(
    connection: Connection, store: Store, due: Sequence[Submission], find: Find, *, takes: bool
) -> _Batch:
    """Sort what is due into what is sent and what is not, each hash once."""
    batch = _Batch()
    keys: set[str] = set()
    held = submissions.of_signals(connection, {entry.signal_key for entry in due})
    for entry, digest, outcome in list(_read(store, due)) if takes else ():
        others = [row for row in held.get(entry.signal_key, ()) if row.id != entry.id]
        if outcome is None and any(row.outcome == submissions.SENT for row in others):
            outcome = submissions.DUPLICATE  # noqa: PLW2901 - what is known of the same entry
        if outcome is None:
            outcome = _reached(entry, find([digest])[0])  # noqa: PLW2901
        if outcome is not None:
            batch.drop(entry, outcome)
        elif entry.signal_key not in keys:  # the same hash of another address comes later
            keys.add(entry.signal_key)
            batch.digests[entry.id] = digest
    if not takes:
        for entry in due:
            batch.drop(entry, submissions.NOT_TAKEN)
    return batch


def _read(
    store: Store, due: Sequence[Submission]
) -> Iterator[tuple[Submission, bytes, str | None]]:
    """Read the digest of each, and why it is not fit to be offered."""
    with store.read() as txn:
        for entry in due:
            found = digest_of(store, txn, entry)
            if found is None:
                yield entry, b"", submissions.GONE
            elif found[0].label(0).quality < MIN_QUALITY:
                yield entry, found[1], submissions.LOW_QUALITY
            elif is_degenerate(found[1]):
                yield entry, found[1], submissions.DEGENERATE
            else:
                yield entry, found[1], None


def _reached(entry: Submission, matches: Sequence[Match]) -> str | None:
    """Say whether the feed reaches a hash already, or has it from us."""
    near = [m for m in matches if m.feed == entry.feed and m.distance_bits <= NEAR_BITS]
    if not near:
        return None
    own = any(match.signal_key.hex() == entry.signal_key for match in near)
    return submissions.SENT if own and entry.attempts else submissions.KNOWN
