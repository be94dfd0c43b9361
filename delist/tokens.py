"""Tokens of the HTTP API: who a program acts as, and what it may do.

A token is ``delist_``, ten characters that name it, and 256 random bits; scanners for secrets
find it by its prefix. Only its SHA-256 is stored: of that many random bits a slow hash would
protect nothing more. Its name is the actor of all that is done with it: whoever calls cannot say
to be somebody else (ADR 0037).
"""

import hmac
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

from sqlalchemy import Connection

from delist.errors import QuotaError, UsageError
from delist.review import checked_actor
from delist.store import Database, audit
from delist.store import tokens as table
from delist.store.tokens import HeldToken

_ID_CHARACTERS, _ID_LENGTH = "0123456789abcdefghjkmnpqrstvwxyz", 10
_TOKEN = re.compile(r"delist_([0-9a-z]{10})_([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY = "0" * 64


class TokenScope(StrEnum):
    """What a token is good for; none includes another."""

    INDEX = "index"
    """Hash, check and index images."""
    SERVE = "serve"
    """Ask which results are suppressed."""
    FOLLOW = "follow"
    """Read the suppression log as the consumer of the token's name."""
    REVIEW = "review"
    """Review cases and decide appeals, as the person of the token's name."""
    METRICS = "metrics"
    """Read the metrics."""
    ADMIN = "admin"
    """See how consumers stand, and what is wrong where `/readyz` says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token without its secret.

    Attributes:
        used_on: UTC day of the last use, such as 2026-03-01, or "".
    """

    id: str
    name: str
    scopes: frozenset[TokenScope]
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_on: str = ""

    def is_valid(self, now: datetime) -> bool:
        """Say whether it opens anything at a time."""
        lasts = self.expires_at is None or now < self.expires_at
        return lasts and self.revoked_at is None


class Tokens:
    """The use cases on the open store."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        name: str,
        scopes: Collection[TokenScope],
        *,
        actor: str,
        expires_at: datetime | None = None,
    ) -> tuple[ApiToken, str]:
        """Make a token; returns it, and the text that opens, which is shown this once.

        Several may have one name: while one takes the place of another, both are valid.

        Raises:
            UsageError: no scope, no name, or the end lies in the past.
        """
        actor, name, now = checked_actor(actor), checked_actor(name), self._clock()
        if not scopes:
            raise UsageError("--scope: at least one is needed")
        if expires_at is not None and expires_at <= now:
            raise UsageError("--expires: this time is over already")
        token_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
        text = f"delist_{token_id}_{secrets.token_urlsafe(32)}"
        held = HeldToken(
            id=token_id,
            name=name,
            token_hash=_hash(text),
            scopes=",".join(sorted(scopes)),
            created_by=actor,
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
        )
        with self._database.write() as connection:
            table.add(connection, held)
            detail = {"name": name, "scopes": held.scopes, "expires_at": expires_at}
            _note(connection, "token.added", held, actor=actor, now=now, detail=detail)
        return _token(held), text

    def every(self) -> list[ApiToken]:
        """List all tokens, the oldest first."""
        with self._database.read() as connection:
            return [_token(held) for held in table.every(connection)]

    def revoke(self, name_or_id: str, *, actor: str) -> list[ApiToken]:
        """Revoke all tokens of a name, or the one with this id.

        Raises:
            UsageError: there is none that is not revoked.
        """
        actor, now = checked_actor(actor), self._clock()
        with self._database.write() as connection:
            found = table.named(connection, name_or_id)
            if not found:
                raise UsageError("no token has this name or id, or it was revoked already")
            for held in found:
                table.revoke(connection, held.id, now=now)
                _note(connection, "token.revoked", held, actor=actor, now=now, detail={})
        return [_token(held) for held in found]

    def find(self, text: str) -> ApiToken | None:
        """Find the valid token that a text is; None for any other text.

        The hashes are compared in constant time, and also where no token has this id.

        Raises:
            DatabaseError: the case store cannot be used.
        """
        token_id = token_id_of(text)
        if token_id is None:
            return None
        now = self._clock()
        with self._database.read() as connection:
            held = table.find(connection, token_id)
        same = hmac.compare_digest(_NOBODY if held is None else held.token_hash, _hash(text))
        if held is None or not same:
            return None
        token = _token(held)
        return token if token.is_valid(now) else None

    def note_use(self, token: ApiToken) -> None:
        """Put on record that a token was used on this day; once a day."""
        now = self._clock()
        day = _day(now)
        if token.used_on == day:
            return
        with self._database.write() as connection:
            if table.note_use(connection, token.id, day=day):
                audit.append(
                    connection, actor=token.name, act="token.used", subject=token.id, now=now
                )

    def spend_checks(self, token: ApiToken, number: int, *, most: int) -> None:
        """Put on record that a token checks so many images, before it learns anything.

        Raises:
            QuotaError: that would be more than ``most`` on this day; nothing was counted.
        """
        now = self._clock()
        with self._database.write() as connection:
            if table.count_checks(connection, token.id, number, day=_day(now)) > most:
                raise QuotaError(f"at most {most} checks a day")
            audit.append(
                connection,
                actor=token.name,
                act="token.checked",
                subject=token.id,
                now=now,
                detail={"items": number},
            )


def token_id_of(text: str) -> str | None:
    """Return the id in what looks like a token; None where it does not."""
    found = _TOKEN.fullmatch(text)
    return found[1] if found else None


def _note(
    connection: Connection,
    act: str,
    held: HeldToken,
    *,
    actor: str,
    now: datetime,
    detail: Mapping[str, object],
) -> None:
    audit.append(connection, actor=actor, act=act, subject=held.id, now=now, detail=detail)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _day(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m-%d}"


def _token(held: HeldToken) -> ApiToken:
    return ApiToken(
        id=held.id,
        name=held.name,
        scopes=frozenset(TokenScope(name) for name in held.scopes.split(",")),
        created_by=held.created_by,
        created_at=held.created_at,
        expires_at=held.expires_at,
        revoked_at=held.revoked_at,
        used_on=held.used_on,
    )
