"""Policies that were put in force, who did it and when. Only appended; the last is in force."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from delist.store.tables import policies


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPolicy:
    """A policy's text as it was put in force.

    Attributes:
        sha256: of the text, hex.
    """

    id: int
    version: str
    text: str = field(repr=False)
    sha256: str
    applied_by: str
    reason: str = field(repr=False)
    applied_at: datetime


def sha256_of(text: str) -> str:
    """Return the SHA-256 of a policy's text, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def newest(connection: Connection) -> AppliedPolicy | None:
    """Find the policy that was applied last."""
    found = connection.execute(select(policies).order_by(policies.c.id.desc()).limit(1)).first()
    return None if found is None else AppliedPolicy(**found._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def newest_id(connection: Connection) -> int:
    """Return the number of the policy that was applied last, 0 where none was."""
    return int(connection.scalar(select(func.max(policies.c.id))) or 0)


def every(connection: Connection) -> list[AppliedPolicy]:
    """Load every policy that was in force, the newest first."""
    found = connection.execute(select(policies).order_by(policies.c.id.desc()))
    return [AppliedPolicy(**row._mapping) for row in found]  # noqa: SLF001


def add(
    connection: Connection, *, version: str, text: str, actor: str, reason: str, now: datetime
) -> None:
    """Put a policy's text in force."""
    connection.execute(
        insert(policies).values(
            version=version,
            text=text,
            sha256=sha256_of(text),
            applied_by=actor,
            reason=reason,
            applied_at=now,
        )
    )
