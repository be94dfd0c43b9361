"""A person's shift: how long, how much was seen, how much was spared; breaks and its end.

Looking at intimate images that were spread to hurt somebody wears people down. What helps is to
see fewer of them, and to stop in time; so both are counted where the person sees it. Nobody else
is shown these figures by person.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from delist.review.deciding import checked_actor
from delist.store import Database, audit, exposures, queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where a person's shift stands.

    Attributes:
        since: from when on it is counted.
        working_since: the last break, or when the person signed on.
        seen: cases whose image was shown, ``clear`` of them without blur.
        avoided: decided without any image.
        break_due: it is time for a break, as the person has set.
    """

    since: datetime
    working_since: datetime
    minutes: int
    decided: int
    undone: int
    seen: int
    clear: int
    avoided: int
    break_minutes: int

    @property
    def break_due(self) -> bool:
        """Whether a break is due."""
        return 0 < self.break_minutes <= self.minutes


def shift_of(
    database: Database, actor: str, *, began_at: datetime, break_minutes: int, now: datetime
) -> Shift:
    """Say where a person's shift stands.

    Counted is what was done since it began, and all of the UTC day in any case: whoever signs on
    again has seen what they have seen.

    Args:
        began_at: when the person signed on.
        break_minutes: minutes of work after which a break is due; 0: never.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    since = min(began_at, midnight)
    with database.read() as connection:
        work = exposures.work_of(connection, actor, since)
    working_since = max(began_at, work.paused_at or began_at)
    return Shift(
        since=since,
        working_since=working_since,
        minutes=max(0, int((now - working_since) / timedelta(minutes=1))),
        decided=work.decided,
        undone=work.undone,
        seen=work.seen,
        clear=work.clear,
        avoided=work.avoided,
        break_minutes=break_minutes,
    )


def pause(database: Database, actor: str, *, ends: bool, now: datetime) -> int:
    """Begin a break, or end the shift: what the person has taken goes back to the queue.

    Returns:
        How many cases that were.
    """
    actor = checked_actor(actor)
    with database.write() as connection:
        held = queue.held_by(connection, actor, now=now)
        for case_id in held:
            queue.set_claim(connection, case_id, "", None)
            audit.append(connection, actor=actor, act="case.released", subject=case_id, now=now)
        act = exposures.ENDED if ends else exposures.PAUSED
        audit.append(connection, actor=actor, act=act, subject="", now=now)
    return len(held)
