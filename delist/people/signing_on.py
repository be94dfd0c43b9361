"""Signing on: with an account of ours, or as whom the organisation's sign-on names.

An account, in this order:

1. A try is counted before anything is looked at, so that many at once gain nothing. After
   ``_FREE_TRIES`` under one key each further one waits twice as long, ``_LONGEST_S`` at most; what
   comes meanwhile is refused unseen. A try that finds no place in which its password could be
   checked is no try: it is taken back.
2. The key is the name, known or not: how long somebody has to wait does not tell who is known.
   A browser in which the person has signed on before has a key of its own: whoever hammers at a
   name from elsewhere cannot keep its person out.
3. Password and one-time code are checked with the same work for a name that is not known, and one
   answer says neither which of the three was wrong.
4. The code is used up and the session begins in one transaction.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil

from sqlalchemy import Connection

from delist.errors import BusyError, SignOnDelayedError, SignOnRefusedError, UsageError
from delist.people import Person, Role, SignOn, passwords
from delist.people.accounts import change_role, check_free, delay_key, new_id, new_person
from delist.people.second_factor import SecondFactor
from delist.people.sessions import Sessions, person_of
from delist.review import checked_actor
from delist.store import Database, audit
from delist.store import people as table
from delist.store.people import Delay, HeldPerson

_FREE_TRIES = 3
_LONGEST_S = 15 * 60
_FORGOTTEN = timedelta(hours=24)
_MOST_DELAYS = 10_000
_KNOWN_DAYS = 90
_MAX_NAME = 200
NOBODY = "nobody signed on"
"""The actor of a refused try: whoever it was, it was not shown to be somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What somebody typed, and the browser they typed it in.

    Attributes:
        code: a one-time code or a recovery code.
        known: what ``SignedOn.known`` gave this browser before; or "".
        browser: such as "Firefox on Linux".
    """

    name: str = field(repr=False)
    password: str = field(repr=False)
    code: str = field(repr=False)
    known: str = field(default="", repr=False)
    browser: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Whom the organisation's sign-on names.

    Attributes:
        issuer: of the sign-on.
        subject: the person, for ever; names change.
    """

    issuer: str
    subject: str = field(repr=False)
    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOn:
    """A session has begun.

    Attributes:
        token: of the session.
        known: marks the browser as one in which this person has signed on; opens nothing.
    """

    person: Person
    token: str = field(repr=False)
    known: str = field(default="", repr=False)


class SigningOn:
    """The use cases on the open store."""

    def __init__(
        self,
        database: Database,
        *,
        sessions: Sessions,
        key: bytes,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._key = key
        self._factor = SecondFactor(key)
        self._clock = clock

    def with_account(self, given: Credentials, *, notice: str = "") -> SignedOn:
        """Sign on with password and code.

        Args:
            given: see there.
            notice: what the first page is to say.

        Raises:
            SignOnRefusedError: something is wrong, or the account is disabled.
            SignOnDelayedError: too many tries; nothing was looked at.
            BusyError: too many people sign on at once.
        """
        name = _spelled(given.name)
        with self._database.write() as connection:
            held = table.named(connection, name) if name else None
            key = self._delay_key(given, name, held)
            before, counted = self._count(connection, key)  # (1)
        try:
            password_hash = held.password_hash if held else None
            right = passwords.is_password(password_hash, given.password)  # (3)
        except BusyError:
            self._take_back(key, before, counted)
            raise
        step = self._factor.step_of(
            held.totp_secret if held else None,
            given.code,
            person_id=held.id if held else "",
            now=self._clock(),
        )
        with self._database.write() as connection:  # (4)
            # What was disabled or reset while the password was checked counts.
            fresh = table.find(connection, held.id) if held else None
            same = (
                fresh is not None and held is not None and _credentials(fresh) == _credentials(held)
            )
            if not (
                right
                and same
                and fresh is not None
                and fresh.disabled_at is None
                and self._use_code(connection, fresh, given.code, step)
            ):
                self._note_refusal(connection, held, counted.failures)
                refused = True
            else:
                refused = False
                others = self._forget(connection, key, name)
                told = notice or (_warning(others) if others > _FREE_TRIES else "")
                token = self._sessions.begin(
                    connection,
                    fresh,
                    signed_on_by=SignOn.ACCOUNT,
                    browser=given.browser,
                    notice=told,
                )
        if refused or fresh is None:
            raise SignOnRefusedError
        return SignedOn(
            person=person_of(fresh, SignOn.ACCOUNT), token=token, known=self._mark(fresh)
        )

    def as_named(self, named: Named, *, browser: str, notice: str = "") -> SignedOn:
        """Sign on as whom the organisation's sign-on names; their role follows its groups.

        Raises:
            SignOnRefusedError: the person is disabled here.
            UsageError: another person has this name already.
        """
        subject = sha256(f"{named.issuer}\n{named.subject}".encode()).hexdigest()
        name, now = checked_actor(named.name), self._clock()
        with self._database.write() as connection:
            held = table.of_subject(connection, subject)
            if held is None:
                check_free(connection, name)
                held = new_person(new_id(), name, named.role, now=now, subject_hash=subject)
                table.add(connection, held)
                self._note(connection, held, "person.added", {"role": named.role.value})
            elif held.role != named.role.value:
                change_role(connection, held, named.role)
                self._note(connection, held, "person.role", {"role": named.role.value})
            fresh = table.find(connection, held.id)
            if fresh is None or fresh.disabled_at is not None:
                self._note_refusal(connection, held, 0)
                token = ""
            else:
                token = self._sessions.begin(
                    connection, fresh, signed_on_by=SignOn.OIDC, browser=browser, notice=notice
                )
        if not token or fresh is None:
            raise SignOnRefusedError
        return SignedOn(person=person_of(fresh, SignOn.OIDC), token=token)

    def _count(self, connection: Connection, key: str) -> tuple[Delay | None, Delay]:
        """Count a try under a key; returns what was held before, and what is held with it.

        Raises:
            SignOnDelayedError: it is not yet time for another.
        """
        now = self._clock()
        before = table.delay(connection, key)
        if before is not None and now - before.failed_at >= _FORGOTTEN:
            before = None
        if before is not None and now < before.retry_at:
            raise SignOnDelayedError(ceil((before.retry_at - now).total_seconds()))
        failures = 1 + (before.failures if before else 0)
        over = failures - _FREE_TRIES
        wait_s = 0 if over < 0 else min(_LONGEST_S, 2 ** min(over, 20))
        delay = Delay(failures=failures, failed_at=now, retry_at=now + timedelta(seconds=wait_s))
        table.put_delay(connection, key, delay, most=_MOST_DELAYS)
        return before, delay

    def _take_back(self, key: str, before: Delay | None, counted: Delay) -> None:
        """Count a try no more: nothing was looked at, so it was neither right nor wrong.

        What others have counted since stays, and so does the wait that they have brought.
        """
        with self._database.write() as connection:
            now_held = table.delay(connection, key)
            if now_held is None:  # forgotten meanwhile: somebody has signed on
                return
            if now_held != counted:
                less = replace(now_held, failures=max(0, now_held.failures - 1))
                table.put_delay(connection, key, less, most=_MOST_DELAYS)
            elif before is None:
                table.forget_delay(connection, key)
            else:
                table.put_delay(connection, key, before, most=_MOST_DELAYS)

    def _forget(self, connection: Connection, key: str, name: str) -> int:
        """Forget what was mistyped here; returns the tries from elsewhere."""
        elsewhere = delay_key(name)
        table.forget_delay(connection, key)
        if key == elsewhere:
            return 0
        found = table.delay(connection, elsewhere)
        return 0 if found is None else found.failures

    def _use_code(
        self, connection: Connection, held: HeldPerson, code: str, step: int | None
    ) -> bool:
        if step is not None:
            return table.use_step(connection, held.id, step)
        code_hash = self._factor.hash_recovery_code(code)
        if not table.use_recovery_code(connection, held.id, code_hash):
            return False
        left = table.recovery_codes_left(connection, held.id)
        self._note(connection, held, "person.recovery_code_used", {"left": left})
        return True

    def _note_refusal(self, connection: Connection, held: HeldPerson | None, failures: int) -> None:
        """Put a refusal on record: what was typed as a name may be a password, so not that."""
        audit.append(
            connection,
            actor=NOBODY,
            act="person.refused",
            subject=held.id if held else "",
            now=self._clock(),
            detail={"name": held.name, "tries": failures} if held else {"tries": failures},
        )

    def _note(
        self, connection: Connection, held: HeldPerson, act: str, detail: dict[str, object]
    ) -> None:
        detail = {"name": held.name, **detail}
        audit.append(
            connection, actor=held.name, act=act, subject=held.id, now=self._clock(), detail=detail
        )

    def _delay_key(self, given: Credentials, name: str, held: HeldPerson | None) -> str:
        """Choose what a try counts under."""  # (2)
        nonce, _, rest = given.known.partition(".")
        until, _, mac = rest.partition(".")
        if (
            held is not None
            and until.isascii()
            and until.isdigit()
            and len(until) <= len("9999999999")
        ):
            own = self._mac(held, nonce, until)
            in_time = self._clock().timestamp() < int(until)
            if hmac.compare_digest(own.encode(), mac.encode(errors="replace")) and in_time:
                return sha256(f"browser\0{nonce}".encode()).hexdigest()
        return delay_key(name)

    def _mark(self, held: HeldPerson) -> str:
        nonce = secrets.token_urlsafe(16)
        until = str(int((self._clock() + timedelta(days=_KNOWN_DAYS)).timestamp()))
        return f"{nonce}.{until}.{self._mac(held, nonce, until)}"

    def _mac(self, held: HeldPerson, nonce: str, until: str) -> str:
        """Sign a mark; it ends with the password that was typed then."""
        signed = f"known\0{held.id}\0{held.password_hash}\0{nonce}\0{until}"
        return hmac.new(self._key, signed.encode(errors="replace"), sha256).hexdigest()


def _credentials(held: HeldPerson) -> tuple[object, ...]:
    return held.password_hash, held.totp_secret


def _spelled(name: str) -> str:
    """Return a typed name as names are stored; empty for what cannot be one."""
    try:
        return checked_actor(name[:_MAX_NAME])
    except UsageError:
        return ""


def _warning(tries: int) -> str:
    return (
        f"Somebody tried {tries} times to sign on with your name from another browser."
        " If that was not you, tell an administrator."
    )
