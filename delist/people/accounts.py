"""Accounts: who may sign on, as what. What an operator does, on record.

People of the organisation's sign-on are here too, from the first time they come; their roles
follow the organisation's groups, so only disabling them is done here.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection

from delist.errors import UsageError
from delist.people import Preferences, Role, passwords
from delist.people.second_factor import Enrolment, SecondFactor
from delist.review import checked_actor
from delist.store import Database, audit
from delist.store import people as table
from delist.store.people import HeldPerson


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account, without its secrets.

    Attributes:
        local: whether it has a password here; else it comes from the organisation's sign-on.
        recovery_codes: how many are left.
    """

    id: str
    name: str
    role: Role
    local: bool
    disabled: bool
    sessions: int
    recovery_codes: int
    created_at: datetime


class Accounts:
    """The use cases on the open store."""

    def __init__(
        self, database: Database, *, factor: SecondFactor, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._factor = factor
        self._clock = clock

    def add(self, name: str, role: Role, password: str, *, actor: str) -> Enrolment:
        """Add a local account; returns what the person needs, which is shown this once.

        Raises:
            UsageError: the name is taken, also in other letters, or the password is weak.
        """
        name, now = checked_actor(name), self._clock()
        password_hash = passwords.hash_password(passwords.check_new(password, name=name))
        enrolment = self._factor.enrol(name)
        person_id = new_id()
        person = new_person(
            person_id,
            name,
            role,
            now=now,
            password_hash=password_hash,
            totp_secret=self._factor.seal(enrolment.secret, person_id=person_id),
        )
        with self._database.write() as connection:
            check_free(connection, name)
            table.add(connection, person)
            self._put_recovery_codes(connection, person_id, enrolment)
            self._note(connection, person, "person.added", actor, {"role": role.value})
        return enrolment

    def every(self) -> list[Account]:
        """List everybody, by name."""
        with self._database.read() as connection:
            return [_account(connection, held) for held in table.every(connection)]

    def disable(self, name: str, *, actor: str, disabled: bool = True) -> Account:
        """Disable an account and end its sessions, or enable it again.

        Raises:
            UsageError: nobody has this name.
        """
        with self._database.write() as connection:
            held = _get(connection, name)
            at = self._clock() if disabled else None
            table.change(connection, held.id, disabled_at=at)
            if disabled:
                table.end_sessions(connection, held.id)
            act = "person.disabled" if disabled else "person.enabled"
            self._note(connection, held, act, actor, {})
            return _account(connection, _get(connection, name))

    def set_role(self, name: str, role: Role, *, actor: str) -> Account:
        """Give a local account another role and end its sessions.

        Raises:
            UsageError: nobody has this name, or the organisation's groups say the role.
        """
        with self._database.write() as connection:
            held = _get(connection, name)
            if held.password_hash is None:
                raise UsageError("the role of this person follows the organisation's groups")
            change_role(connection, held, role)
            self._note(connection, held, "person.role", actor, {"role": role.value})
            return _account(connection, _get(connection, name))

    def reset(self, name: str, *, password: str | None, actor: str) -> Enrolment:
        """Make a new secret and recovery codes, and set a password; ends all sessions.

        Args:
            name: of a local account.
            password: the new one; None keeps the old.
            actor: who does it.

        Raises:
            UsageError: nobody has this name, or the password is weak.
        """
        name = checked_actor(name)
        values: dict[str, object] = {}
        if password is not None:
            checked = passwords.check_new(password, name=name)
            values["password_hash"] = passwords.hash_password(checked)
        enrolment = self._factor.enrol(name)
        with self._database.write() as connection:
            held = _get(connection, name)
            if held.password_hash is None:
                raise UsageError("this person signs on at the organisation; nothing is held here")
            values["totp_secret"] = self._factor.seal(enrolment.secret, person_id=held.id)
            table.change(connection, held.id, **values)
            self._put_recovery_codes(connection, held.id, enrolment)
            table.end_sessions(connection, held.id)
            table.forget_delay(connection, delay_key(held.name))
            detail = {"password": password is not None}
            self._note(connection, held, "person.reset", actor, detail)
        return enrolment

    def prefer(self, person_id: str, preferences: Preferences) -> None:
        """Keep how a person likes the pages.

        Raises:
            UsageError: a number is out of range.
        """
        if not 0 <= preferences.blur_px <= 60 or not 0 <= preferences.break_minutes <= 240:  # noqa: PLR2004 - as documented
            raise UsageError("blur goes from 0 to 60 pixels, breaks from 0 to 240 minutes")
        if preferences.shown_s and not 3 <= preferences.shown_s <= 60:  # noqa: PLR2004 - as documented
            raise UsageError("an image shows for 3 to 60 seconds, or while it is held")
        with self._database.write() as connection:
            table.change(
                connection,
                person_id,
                grey=preferences.grey,
                mute=preferences.mute,
                blur_px=preferences.blur_px,
                break_minutes=preferences.break_minutes,
                theme=preferences.theme.value,
                shown_s=preferences.shown_s,
            )

    def _put_recovery_codes(
        self, connection: Connection, person_id: str, enrolment: Enrolment
    ) -> None:
        hashes = [self._factor.hash_recovery_code(code) for code in enrolment.recovery_codes]
        table.replace_recovery_codes(connection, person_id, hashes)

    def _note(
        self,
        connection: Connection,
        held: HeldPerson,
        act: str,
        actor: str,
        detail: Mapping[str, object],
    ) -> None:
        audit.append(
            connection,
            actor=checked_actor(actor),
            act=act,
            subject=held.id,
            now=self._clock(),
            detail={"name": held.name, **detail},
        )


def delay_key(name: str) -> str:
    """Name what tries to sign on with a name count under."""
    return sha256(b"name\0" + name.encode(errors="replace")).hexdigest()


def new_id() -> str:
    """Make an id for a person."""
    return secrets.token_hex(8)


def new_person(
    person_id: str, name: str, role: Role, *, now: datetime, **values: object
) -> HeldPerson:
    """Make a person with the preferences that everybody begins with."""
    liked = Preferences()
    return HeldPerson(
        id=person_id,
        name=name,
        role=role.value,
        grey=liked.grey,
        mute=liked.mute,
        blur_px=liked.blur_px,
        break_minutes=liked.break_minutes,
        theme=liked.theme.value,
        shown_s=liked.shown_s,
        created_at=now,
        **values,  # type: ignore[arg-type] # of HeldPerson
    )


def check_free(connection: Connection, name: str) -> None:
    """Refuse a name that another one could be taken for in the audit log.

    Raises:
        UsageError: it is taken, perhaps in other letters.
    """
    if any(held.name.casefold() == name.casefold() for held in table.every(connection)):
        raise UsageError("this name is taken")


def change_role(connection: Connection, held: HeldPerson, role: Role) -> None:
    """Change a role; what is open under the old one ends."""
    table.change(connection, held.id, role=role.value)
    table.end_sessions(connection, held.id)


def _get(connection: Connection, name: str) -> HeldPerson:
    held = table.named(connection, checked_actor(name))
    if held is None:
        raise UsageError("nobody has this name")
    return held


def _account(connection: Connection, held: HeldPerson) -> Account:
    return Account(
        id=held.id,
        name=held.name,
        role=Role(held.role),
        local=held.password_hash is not None,
        disabled=held.disabled_at is not None,
        sessions=len(table.sessions_of(connection, held.id)),
        recovery_codes=table.recovery_codes_left(connection, held.id),
        created_at=held.created_at,
    )
