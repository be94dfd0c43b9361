"""What became of each periodic job: one row a job.

Job ids hold names of sinks at most; nothing here is about a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from delist.store.tables import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What is on record about one job.

    Attributes:
        started_at, ended_at: of the last run that ended.
        done_at: when it last ended well.
        outcome: how the last run ended, as a code; empty: none has.
        error: type of the error that it ended with; empty for none.
        failures: runs in a row that did not end well.
        running_since: when the run under way began.
        next_run_at: when it runs next; of short intervals, as of the last time it was noted.
        requested_at: when somebody asked for a run that has not begun yet.
        basis: what the last whole run went by; see ``delist.running.work``.
    """

    id: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    done_at: datetime | None = None
    outcome: str = ""
    error: str = ""
    failures: int = 0
    running_since: datetime | None = None
    next_run_at: datetime | None = None
    requested_at: datetime | None = None
    basis: str = ""


def every(connection: Connection) -> dict[str, JobState]:
    """Load what is on record about all jobs, by id."""
    rows = connection.execute(select(jobs).order_by(jobs.c.id))
    return {row.id: JobState(**row._mapping) for row in rows}  # noqa: SLF001 - SQLAlchemy's public name


def note(connection: Connection, state: JobState, *, answered: datetime | None = None) -> None:
    """Write what became of a job, and leave what was asked for as it is.

    Args:
        answered: when the run was asked for that this is. One asked for since is still to come.
    """
    values = {
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "done_at": state.done_at,
        "outcome": state.outcome,
        "error": state.error,
        "failures": state.failures,
        "running_since": state.running_since,
        "next_run_at": state.next_run_at,
        "basis": state.basis,
    }
    mine = jobs.c.id == state.id
    if connection.execute(update(jobs).where(mine).values(**values)).rowcount == 0:
        connection.execute(insert(jobs).values({"id": state.id, "requested_at": None, **values}))
    if answered is not None:
        this = mine & (jobs.c.requested_at == answered)
        connection.execute(update(jobs).where(this).values(requested_at=None))


def ask(connection: Connection, job_id: str, *, now: datetime) -> None:
    """Ask whoever leads for a run of a job."""
    mine = jobs.c.id == job_id
    if connection.execute(update(jobs).where(mine).values(requested_at=now)).rowcount == 0:
        connection.execute(
            insert(jobs).values(
                id=job_id, outcome="", error="", failures=0, basis="", requested_at=now
            )
        )


def asked(connection: Connection) -> dict[str, datetime]:
    """Map the ids of jobs that somebody asked for to when the last of them did."""
    chosen = select(jobs.c.id, jobs.c.requested_at).where(jobs.c.requested_at.is_not(None))
    return {row[0]: row[1] for row in connection.execute(chosen.order_by(jobs.c.id))}


def drop_others(connection: Connection, known: Iterable[str]) -> None:
    """Forget the jobs that there are no more."""
    connection.execute(delete(jobs).where(jobs.c.id.not_in(list(known))))


def end_all(connection: Connection) -> list[str]:
    """Note that nothing runs: whoever ran it is gone. Returns what was under way."""
    running = jobs.c.running_since.is_not(None)
    cut = list(connection.scalars(select(jobs.c.id).where(running)))
    connection.execute(
        update(jobs)
        .where(running)
        .values(
            started_at=jobs.c.running_since,
            outcome="cut_off",
            failures=jobs.c.failures + 1,
            running_since=None,
        )
    )
    return cut
