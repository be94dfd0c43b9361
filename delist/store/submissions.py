"""Hashes of ours that feeds are offered, what each rests on, and what became of it.

A row is one content version of one case's image, for one feed; the digest itself is never here,
only the key that it has as a signal of that feed. ``ended_at`` is set while what the hash was
derived from (``submission_roots``, and a person's verdict) is no longer in force.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from delist.store.lists import among
from delist.store.outbox import LONGEST_WAIT
from delist.store.tables import submission_roots as roots
from delist.store.tables import submissions
from delist.store.times import has_come

SENT = "sent"
DUPLICATE = "duplicate"
"""The feed has had the same hash from us for another address."""
ENDED = "ended"
"""What it rested on had ended before the feed was offered it."""
KNOWN, LOW_QUALITY, DEGENERATE = "known", "low_quality", "degenerate"
GONE = "gone"
"""Other bytes, or none, are at the address by now."""
NOT_TAKEN = "not_taken"
REFUSED = "refused"
"""The feed refuses this one by itself; it is tried again, rarely."""
_WITH_FEED = (SENT, DUPLICATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One hash for one feed.

    Attributes:
        signal_key: the key that it has as a signal of the feed.
        attempts: how often it was sent; from 1 on, the feed may have it.
        outcome: None while it waits for its first answer.
        ended_at: since when nothing is behind it any more; None while it stands.
    """

    id: int
    case_id: str
    image_key: str = field(repr=False)
    content_sha256: str = field(repr=False)
    feed: str
    signal_key: str
    hasher: str
    variant: str
    attempts: int
    outcome: str | None
    ended_at: datetime | None

    @property
    def is_with_feed(self) -> bool:
        """Whether the feed has it from us, or may have it."""
        return self.attempts > 0 or self.outcome in _WITH_FEED


_COLUMNS = [submissions.c[name] for name in Submission.__dataclass_fields__]


def exists(connection: Connection) -> bool:
    """Say whether anything was ever offered: most engines give nothing back."""
    return connection.scalar(select(submissions.c.id).limit(1)) is not None


def of_case(connection: Connection, case_id: str) -> list[Submission]:
    """Load what was offered of a case."""
    return _load(connection, submissions.c.case_id == case_id)


def of_signals(connection: Connection, signal_keys: Iterable[str]) -> dict[str, list[Submission]]:
    """Load what the feeds have, or may have, from us by the key that it has as a signal."""
    found: dict[str, list[Submission]] = {}
    for entry in _load(connection, among(submissions.c.signal_key, signal_keys)):
        if entry.is_with_feed:
            found.setdefault(entry.signal_key, []).append(entry)
    return found


def stands(connection: Connection, signal_key: str) -> bool | None:
    """Say whether what a signal of ours rests on is in force; None if it did not come from us."""
    rows = _load(connection, submissions.c.signal_key == signal_key)
    if not any(row.is_with_feed for row in rows):
        return None
    return any(row.ended_at is None and (row.is_with_feed or row.outcome is None) for row in rows)


def images_about(connection: Connection, signal_keys: Iterable[str]) -> list[str]:
    """List the images whose hashes rest on signals, or came back as them."""
    keys = list(signal_keys)
    rooted = select(roots.c.submission_id).where(among(roots.c.signal_key, keys))
    chosen = or_(among(submissions.c.signal_key, keys), submissions.c.id.in_(rooted))
    found = select(submissions.c.image_key).where(chosen).distinct()
    return sorted(connection.scalars(found))


def derived_from(connection: Connection, signal_keys: Iterable[str]) -> list[str]:
    """List the signals that stand because of others: our own hashes of edited copies."""
    found = (
        select(submissions.c.signal_key)
        .join(roots, roots.c.submission_id == submissions.c.id)
        .where(among(roots.c.signal_key, signal_keys), submissions.c.ended_at.is_(None))
        .distinct()
    )
    return sorted(connection.scalars(found))


def roots_of(connection: Connection, submission_id: int) -> list[str]:
    """List the signals that a hash was derived from."""
    found = select(roots.c.signal_key).where(roots.c.submission_id == submission_id)
    return sorted(connection.scalars(found))


def queue(
    connection: Connection,
    *,
    now: datetime,
    derived: Iterable[str],
    **values: Any,  # noqa: ANN401 - columns by name
) -> None:
    """Queue a hash; ``derived`` are the signals that it was derived from."""
    added = connection.execute(
        insert(submissions)
        .values(queued_at=now, attempts=0, next_attempt_at=now, **values)
        .returning(submissions.c.id)
    )
    number = int(added.scalar_one())
    rows = [{"submission_id": number, "signal_key": key} for key in derived]
    connection.execute(insert(roots), rows)


def end(connection: Connection, submission: Submission, *, now: datetime) -> None:
    """Note that nothing is behind a hash any more; one that still waits is not sent."""
    chosen = update(submissions).where(submissions.c.id == submission.id)
    connection.execute(chosen.values(ended_at=now))
    waits = submissions.c.done_at.is_(None)
    connection.execute(chosen.where(waits).values(done_at=now, outcome=ENDED))


def resume(connection: Connection, submission: Submission, *, now: datetime) -> None:
    """Note that what is behind a hash is back; one that was not sent waits again."""
    chosen = update(submissions).where(submissions.c.id == submission.id)
    connection.execute(chosen.values(ended_at=None))
    connection.execute(
        chosen.where(submissions.c.outcome == ENDED).values(
            done_at=None, outcome=None, next_attempt_at=now
        )
    )


def feeds_waiting(connection: Connection) -> list[str]:
    """List the feeds for which a hash waits."""
    found = select(submissions.c.feed).where(submissions.c.done_at.is_(None)).distinct()
    return sorted(connection.scalars(found))


def due(connection: Connection, *, feed: str, now: datetime, limit: int) -> list[Submission]:
    """Load what is to be offered to a feed now, the oldest first."""
    come = has_come(submissions.c.next_attempt_at, now=now, longest=LONGEST_WAIT)
    waits = submissions.c.done_at.is_(None) & come
    return _load(connection, (submissions.c.feed == feed) & waits, limit=limit)


def claim(connection: Connection, ids: Sequence[int], *, until: datetime) -> frozenset[int]:
    """Note that hashes are about to be sent, and say which of them still are to be.

    What a crash leaves behind counts as sent, perhaps: it is told of if its basis ends.
    """
    done = connection.execute(
        update(submissions)
        .where(among(submissions.c.id, ids), submissions.c.done_at.is_(None))
        .values(attempts=submissions.c.attempts + 1, next_attempt_at=until)
        .returning(submissions.c.id)
    )
    return frozenset(done.scalars())


def finish(connection: Connection, ids: Sequence[int], *, outcome: str, now: datetime) -> None:
    """Say what became of hashes."""
    chosen = among(submissions.c.id, ids) & or_(
        submissions.c.done_at.is_(None), submissions.c.outcome == ENDED
    )
    connection.execute(update(submissions).where(chosen).values(done_at=now, outcome=outcome))


def postpone(
    connection: Connection, ids: Sequence[int], *, until: datetime, outcome: str | None = None
) -> None:
    """Note when to try again what was not taken."""
    connection.execute(
        update(submissions)
        .where(among(submissions.c.id, ids), submissions.c.done_at.is_(None))
        .values(next_attempt_at=until, outcome=outcome)
    )


def waiting(connection: Connection) -> int:
    """Count what was not offered yet."""
    found = select(func.count()).select_from(submissions).where(submissions.c.done_at.is_(None))
    return int(connection.scalar(found) or 0)


def _load(connection: Connection, condition: Any, *, limit: int | None = None) -> list[Submission]:  # noqa: ANN401 - an SQL expression
    chosen = select(*_COLUMNS).where(condition).order_by(submissions.c.id).limit(limit)
    return [_submission(row) for row in connection.execute(chosen)]


def _submission(row: Row[Any]) -> Submission:
    return Submission(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
