"""Tokens of the HTTP API in SQL, inside the caller's transaction. Only their hashes are here."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from delist.store.tables import api_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldToken:
    """A token as it is stored.

    Attributes:
        id: the part of a token that is no secret.
        scopes: names, with commas between.
        used_on: UTC day of the last use, or "".
        checked_on: UTC day that ``checked`` counts.
        checked: images and digests that were checked on that day.
    """

    id: str
    name: str
    token_hash: str = field(repr=False)
    scopes: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_on: str = ""
    checked_on: str = ""
    checked: int = 0


def add(connection: Connection, token: HeldToken) -> None:
    """Store a new token."""
    values = {name: getattr(token, name) for name in HeldToken.__dataclass_fields__}
    connection.execute(insert(api_tokens).values(values))


def find(connection: Connection, token_id: str) -> HeldToken | None:
    """Find a token by its id, whether it is valid or not."""
    found = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).first()
    return None if found is None else HeldToken(**found._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def every(connection: Connection) -> list[HeldToken]:
    """Load all tokens, the oldest first."""
    chosen = select(api_tokens).order_by(api_tokens.c.created_at, api_tokens.c.id)
    return [HeldToken(**row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001 - as above


def named(connection: Connection, name_or_id: str) -> list[HeldToken]:
    """Load the tokens of a name, or the one with this id, that were not revoked."""
    chosen = select(api_tokens).where(
        or_(api_tokens.c.name == name_or_id, api_tokens.c.id == name_or_id),
        api_tokens.c.revoked_at.is_(None),
    )
    return [HeldToken(**row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001 - as above


def revoke(connection: Connection, token_id: str, *, now: datetime) -> None:
    """Note that a token is not valid any more."""
    chosen = update(api_tokens).where(api_tokens.c.id == token_id)
    connection.execute(chosen.values(revoked_at=now))


def note_use(connection: Connection, token_id: str, *, day: str) -> bool:
    """Note that a token was used on a day; False where that was noted already."""
    chosen = update(api_tokens).where(api_tokens.c.id == token_id, api_tokens.c.used_on != day)
    return bool(connection.execute(chosen.values(used_on=day)).rowcount)


def count_checks(connection: Connection, token_id: str, number: int, *, day: str) -> int:
    """Add to what a token has checked on a day; returns how many that are with these."""
    held = find(connection, token_id)
    before = held.checked if held is not None and held.checked_on == day else 0
    chosen = update(api_tokens).where(api_tokens.c.id == token_id)
    connection.execute(chosen.values(checked_on=day, checked=before + number))
    return before + number
