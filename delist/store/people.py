"""People, their sessions and what they mistyped, in SQL, inside the caller's transaction.

Of passwords, sessions and recovery codes only hashes are here; secrets of one-time codes are
sealed by the caller.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from delist.store.tables import people, recovery_codes, sessions, sign_on_delays


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPerson:
    """A person as stored.

    Attributes:
        subject_hash: of issuer and subject, for who comes from an organisation's sign-on.
        password_hash: None for the same.
        totp_secret: sealed.
        totp_step: of the newest one-time code that was used; 0 for none.
    """

    id: str
    name: str
    role: str
    subject_hash: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)
    totp_secret: bytes | None = field(default=None, repr=False)
    totp_step: int = 0
    grey: bool
    mute: bool
    blur_px: int
    break_minutes: int
    theme: str
    shown_s: int
    created_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSession:
    """A session as stored.

    Attributes:
        id: names it to its person; opens nothing.
        browser: such as "Firefox on Linux", to recognise it by.
        notice: what the person is to be told once.
    """

    token_hash: str = field(repr=False)
    id: str
    person_id: str
    signed_on_by: str
    browser: str
    notice: str = ""
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Failures under one key, and until when nothing is looked at."""

    failures: int
    failed_at: datetime
    retry_at: datetime


def add(connection: Connection, person: HeldPerson) -> None:
    """Store a new person."""
    values = {name: getattr(person, name) for name in HeldPerson.__dataclass_fields__}
    connection.execute(insert(people).values(values))


def find(connection: Connection, person_id: str) -> HeldPerson | None:
    """Find a person by id."""
    return _one(connection, people.c.id == person_id)


def named(connection: Connection, name: str) -> HeldPerson | None:
    """Find a person by name."""
    return _one(connection, people.c.name == name)


def of_subject(connection: Connection, subject_hash: str) -> HeldPerson | None:
    """Find who comes from an organisation's sign-on."""
    return _one(connection, people.c.subject_hash == subject_hash)


def every(connection: Connection) -> list[HeldPerson]:
    """Load everybody, by name."""
    rows = connection.execute(select(people).order_by(people.c.name))
    return [HeldPerson(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def change(connection: Connection, person_id: str, **values: object) -> None:
    """Change columns of a person."""
    connection.execute(update(people).where(people.c.id == person_id).values(values))


def use_step(connection: Connection, person_id: str, step: int) -> bool:
    """Note that the one-time code of a step was used; False where it or a later one was before."""
    chosen = update(people).where(people.c.id == person_id, people.c.totp_step < step)
    return bool(connection.execute(chosen.values(totp_step=step)).rowcount)


def replace_recovery_codes(
    connection: Connection, person_id: str, code_hashes: Iterable[str]
) -> None:
    """Give a person new recovery codes; the old ones open nothing any more."""
    connection.execute(delete(recovery_codes).where(recovery_codes.c.person_id == person_id))
    rows = [{"code_hash": code_hash, "person_id": person_id} for code_hash in code_hashes]
    connection.execute(insert(recovery_codes), rows)


def use_recovery_code(connection: Connection, person_id: str, code_hash: str) -> bool:
    """Take a recovery code away; False where there is none such."""
    chosen = delete(recovery_codes).where(
        recovery_codes.c.person_id == person_id, recovery_codes.c.code_hash == code_hash
    )
    return bool(connection.execute(chosen).rowcount)


def recovery_codes_left(connection: Connection, person_id: str) -> int:
    """Count a person's recovery codes."""
    chosen = select(func.count()).where(recovery_codes.c.person_id == person_id)
    return int(connection.scalar(chosen) or 0)


def add_session(connection: Connection, session: HeldSession) -> None:
    """Store a new session, and forget those that have expired."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= session.created_at))
    values = {name: getattr(session, name) for name in HeldSession.__dataclass_fields__}
    connection.execute(insert(sessions).values(values))


def find_session(connection: Connection, token_hash: str) -> HeldSession | None:
    """Find a session, expired or not."""
    found = connection.execute(select(sessions).where(sessions.c.token_hash == token_hash)).first()
    return None if found is None else HeldSession(**found._mapping)  # noqa: SLF001 - as above


def sessions_of(connection: Connection, person_id: str) -> list[HeldSession]:
    """Load a person's sessions, the newest first."""
    chosen = select(sessions).where(sessions.c.person_id == person_id)
    rows = connection.execute(chosen.order_by(sessions.c.created_at.desc(), sessions.c.id))
    return [HeldSession(**row._mapping) for row in rows]  # noqa: SLF001 - as above


def change_session(connection: Connection, token_hash: str, **values: object) -> None:
    """Change columns of a session."""
    connection.execute(update(sessions).where(sessions.c.token_hash == token_hash).values(values))


def end_sessions(connection: Connection, person_id: str, *, session_id: str | None = None) -> int:
    """End a person's sessions, or the one with this id; returns how many there were."""
    chosen = delete(sessions).where(sessions.c.person_id == person_id)
    if session_id is not None:
        chosen = chosen.where(sessions.c.id == session_id)
    return int(connection.execute(chosen).rowcount)


def delay(connection: Connection, key_hash: str) -> Delay | None:
    """Find the failures under a key."""
    chosen = select(sign_on_delays).where(sign_on_delays.c.key_hash == key_hash)
    found = connection.execute(chosen).first()
    if found is None:
        return None
    return Delay(failures=found.failures, failed_at=found.failed_at, retry_at=found.retry_at)


def put_delay(connection: Connection, key_hash: str, delay: Delay, *, most: int) -> None:
    """Store the failures under a key; of more than ``most`` keys the oldest are forgotten."""
    forget_delay(connection, key_hash)
    number = int(connection.scalar(select(func.count()).select_from(sign_on_delays)) or 0)
    if number >= most:
        oldest = select(sign_on_delays.c.key_hash).order_by(sign_on_delays.c.failed_at)
        chosen = sign_on_delays.c.key_hash.in_(oldest.limit(number - most + 1))
        connection.execute(delete(sign_on_delays).where(chosen))
    connection.execute(
        insert(sign_on_delays).values(
            key_hash=key_hash,
            failures=delay.failures,
            failed_at=delay.failed_at,
            retry_at=delay.retry_at,
        )
    )


def forget_delay(connection: Connection, key_hash: str) -> None:
    """Forget the failures under a key."""
    connection.execute(delete(sign_on_delays).where(sign_on_delays.c.key_hash == key_hash))


def _one(connection: Connection, condition: Any) -> HeldPerson | None:  # noqa: ANN401 - a clause
    found = connection.execute(select(people).where(condition)).first()
    return None if found is None else HeldPerson(**found._mapping)  # noqa: SLF001 - as above
