"""Sessions: who a browser belongs to, for how long.

A session is 256 random bits that only the browser holds; the store has their SHA-256. It ends
when nobody used it for a while, at its full age however much it is used, when its person signs
out, is disabled or gets another role. Signing on always makes a new one, so that a token that
somebody planted before is worth nothing (fixation).
"""

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import Connection

from delist.people import Person, Preferences, Role, SignOn, Theme
from delist.store import Database, audit
from delist.store import people as table
from delist.store.people import HeldPerson, HeldSession

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_CSRF = b"delist form\0"
_SEEN_S = 60
_MOST_BROWSER = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An open session.

    Attributes:
        id: names it to its person and in the audit log; opens nothing.
        csrf: what its forms send back; says nothing of the token.
        browser: such as "Firefox on Linux".
        notice: what the person is to be told once.
    """

    id: str
    person: Person
    csrf: str = field(repr=False)
    browser: str
    notice: str
    created_at: datetime
    seen_at: datetime


class Sessions:
    """The use cases on the open store.

    Args:
        idle: longest time between two requests.
        age: longest time from signing on.
    """

    def __init__(
        self,
        database: Database,
        *,
        idle: timedelta,
        age: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._idle = idle
        self._age = age
        self._clock = clock

    def begin(
        self,
        connection: Connection,
        person: HeldPerson,
        *,
        signed_on_by: SignOn,
        browser: str,
        notice: str = "",
    ) -> str:
        """Begin a session inside the transaction that has checked who it is; returns the token."""
        now, token = self._clock(), secrets.token_urlsafe(32)
        held = HeldSession(
            token_hash=_hash(token),
            id=secrets.token_hex(8),
            person_id=person.id,
            signed_on_by=signed_on_by.value,
            browser=browser[:_MOST_BROWSER],
            notice=notice,
            created_at=now,
            seen_at=now,
            expires_at=now + self._age,
        )
        table.add_session(connection, held)
        audit.append(
            connection,
            actor=person.name,
            act="person.signed_on",
            subject=person.id,
            now=now,
            detail={"by": signed_on_by.value, "role": person.role, "session": held.id},
        )
        return token

    def find(self, token: str) -> Session | None:
        """Find the open session of a token; None for any other text.

        Raises:
            DatabaseError: the store cannot be used.
        """
        if not _TOKEN.fullmatch(token):
            return None
        now, token_hash = self._clock(), _hash(token)
        with self._database.read() as connection:
            held = table.find_session(connection, token_hash)
            person = None if held is None else table.find(connection, held.person_id)
        if held is None or person is None or person.disabled_at is not None:
            return None
        if now >= held.expires_at or now >= held.seen_at + self._idle:
            return None
        if now - held.seen_at >= timedelta(seconds=_SEEN_S):
            with self._database.write() as connection:
                table.change_session(connection, token_hash, seen_at=now)
        return _session(held, person, token)

    def take_notice(self, token: str) -> str:
        """Return what the person is to be told, which is then told."""
        token_hash = _hash(token)
        with self._database.write() as connection:
            held = table.find_session(connection, token_hash)
            if held is None or not held.notice:
                return ""
            table.change_session(connection, token_hash, notice="")
        return held.notice

    def tell(self, token: str, notice: str) -> None:
        """Let the next page of a session say something."""
        with self._database.write() as connection:
            table.change_session(connection, _hash(token), notice=notice)

    def of(self, person: Person) -> list[Session]:
        """List a person's open sessions, the newest first."""
        now = self._clock()
        with self._database.read() as connection:
            held = table.find(connection, person.id)
            found = table.sessions_of(connection, person.id)
        if held is None:
            return []
        return [
            _session(session, held, "")
            for session in found
            if now < session.expires_at and now < session.seen_at + self._idle
        ]

    def end(self, person: Person, *, session_id: str | None = None) -> int:
        """Sign a person out of one session, or of all; returns how many there were."""
        with self._database.write() as connection:
            number = table.end_sessions(connection, person.id, session_id=session_id)
            if number:
                audit.append(
                    connection,
                    actor=person.name,
                    act="person.signed_out",
                    subject=person.id,
                    now=self._clock(),
                    detail={"sessions": session_id or "all"},
                )
        return number


def is_csrf(session: Session, given: str) -> bool:
    """Say whether a form was made for this session; compares in constant time."""
    return hmac.compare_digest(session.csrf.encode(), given.encode(errors="replace"))


def person_of(held: HeldPerson, signed_on_by: SignOn) -> Person:
    """Make a person of what is stored."""
    return Person(
        id=held.id,
        name=held.name,
        role=Role(held.role),
        signed_on_by=signed_on_by,
        preferences=Preferences(
            grey=held.grey,
            mute=held.mute,
            blur_px=held.blur_px,
            break_minutes=held.break_minutes,
            theme=Theme(held.theme),
            shown_s=held.shown_s,
        ),
    )


def _session(held: HeldSession, person: HeldPerson, token: str) -> Session:
    return Session(
        id=held.id,
        person=person_of(person, SignOn(held.signed_on_by)),
        csrf=sha256(_CSRF + token.encode()).hexdigest(),
        browser=held.browser,
        notice=held.notice,
        created_at=held.created_at,
        seen_at=held.seen_at,
    )


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
