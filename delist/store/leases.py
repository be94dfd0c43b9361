"""Who does the periodic work: one row that names its holder until it expires.

Times are the database's own, so that machines whose clocks differ agree. Every new holder gets
a number one higher than the last. Whoever writes under a number keeps the row from changing
hands until that write has ended (``check``), so nobody begins while another still writes.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, or_, select, update

from delist.errors import LeaseLostError
from delist.store.tables import job_leases

_NAME = "jobs"
_ROW = job_leases.c.name == _NAME


def create(connection: Connection) -> None:
    """Make the row, which nobody holds. In a write transaction, alone."""
    if not is_there(connection):
        connection.execute(
            insert(job_leases).values(name=_NAME, number=0, holder="", place="", expires_at=None)
        )


def is_there(connection: Connection) -> bool:
    """Say whether the row was made."""
    return connection.scalar(select(job_leases.c.name).where(_ROW)) is not None


def acquire(
    connection: Connection, holder: str, *, place: str, alone: bool, now: datetime, for_s: float
) -> int | None:
    """Take the lease if it is free, or held by one who is known to be gone.

    Args:
        holder: name of the process.
        place: what two processes share that cannot both hold the file lock.
        alone: whether the file lock, which the caller holds, says it all: no other place exists.
        now: the database's time.

    Returns:
        The holder's number; None where another holds it.
    """
    # FOR UPDATE waits for writes under the old number (`check`); rather than wait, try again.
    row = connection.execute(
        select(job_leases).where(_ROW).with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    free = row.expires_at is None or row.expires_at <= now or row.place == place
    if not (free or alone):
        return None
    number = int(row.number) + 1
    connection.execute(
        update(job_leases)
        .where(_ROW)
        .values(
            number=number,
            holder=holder,
            place=place,
            expires_at=now + timedelta(seconds=for_s),
        )
    )
    return number


def renew(connection: Connection, number: int, *, now: datetime, for_s: float) -> bool:
    """Hold the lease for longer; False where another has it now."""
    done = connection.execute(
        update(job_leases)
        .where(_ROW, job_leases.c.number == number)
        .values(expires_at=now + timedelta(seconds=for_s))
    )
    return done.rowcount == 1


def release(connection: Connection, number: int) -> None:
    """Let go of the lease, if it is still held."""
    connection.execute(
        update(job_leases).where(_ROW, job_leases.c.number == number).values(expires_at=None)
    )


def check(connection: Connection, number: int) -> None:
    """Make sure that the lease is still held under a number, until this transaction ends.

    Raises:
        LeaseLostError: another process leads.
    """
    # KEY SHARE lets renewals pass, and keeps `acquire` away.
    held = connection.scalar(
        select(job_leases.c.number).where(_ROW).with_for_update(read=True, key_share=True)
    )
    if held != number:
        raise LeaseLostError("another process does the periodic work now; nothing was written")


def is_held(connection: Connection, *, now: datetime) -> bool:
    """Say whether somebody holds the lease."""
    held = or_(job_leases.c.expires_at.is_(None), job_leases.c.expires_at <= now)
    return connection.scalar(select(job_leases.c.name).where(_ROW, ~held)) is not None
