"""Brakes: what stops the machine for a feed, a bank or a signal. Set, and released by a person."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from delist.model import BrakeKind
from delist.store.tables import brakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """One brake.

    Attributes:
        name: of the feed, or hex key of the signal.
        code: why, as a constant.
        detail: why, in words or figures; no addresses.
        set_by: a person, or ``policy``.
        released_at: None while it is on.
    """

    id: int
    kind: BrakeKind
    name: str
    code: str
    detail: str = field(repr=False)
    set_by: str
    set_at: datetime
    released_by: str | None = None
    released_at: datetime | None = None
    release_reason: str | None = field(default=None, repr=False)


def put(
    connection: Connection,
    *,
    kind: BrakeKind,
    name: str,
    code: str,
    detail: str,
    actor: str,
    now: datetime,
) -> bool:
    """Set a brake; False when one of the same code is on already."""
    held = select(brakes.c.id).where(
        brakes.c.kind == kind.value,
        brakes.c.name == name,
        brakes.c.code == code,
        brakes.c.released_at.is_(None),
    )
    if connection.execute(held).first() is not None:
        return False
    connection.execute(
        insert(brakes).values(
            kind=kind.value, name=name, code=code, detail=detail, set_by=actor, set_at=now
        )
    )
    return True


def release(
    connection: Connection, *, kind: BrakeKind, name: str, actor: str, reason: str, now: datetime
) -> int:
    """Release every brake that is on for something; returns how many there were."""
    done = connection.execute(
        update(brakes)
        .where(brakes.c.kind == kind.value, brakes.c.name == name, brakes.c.released_at.is_(None))
        .values(released_by=actor, released_at=now, release_reason=reason)
    )
    return done.rowcount


def codes_on(connection: Connection) -> dict[tuple[BrakeKind, str], str]:
    """Map what brakes are on for to their codes; of several, the oldest one's."""
    found = connection.execute(
        select(brakes.c.kind, brakes.c.name, brakes.c.code)
        .where(brakes.c.released_at.is_(None))
        .order_by(brakes.c.id.desc())
    )
    return {(BrakeKind(kind), name): code for kind, name, code in found}


def last_release(connection: Connection, signal_key: str) -> datetime | None:
    """Say when a person last released a signal: what it did before was looked at."""
    found: datetime | None = connection.scalar(
        select(func.max(brakes.c.released_at)).where(
            brakes.c.kind == BrakeKind.SIGNAL.value, brakes.c.name == signal_key
        )
    )
    return found


def every(connection: Connection, *, on_only: bool = True) -> list[Brake]:
    """Load the brakes that are on, or all, the newest first."""
    chosen = select(brakes).order_by(brakes.c.id.desc())
    if on_only:
        chosen = chosen.where(brakes.c.released_at.is_(None))
    return [
        Brake(**{**row._mapping, "kind": BrakeKind(row.kind)})  # noqa: SLF001 - SQLAlchemy's public name
        for row in connection.execute(chosen)
    ]


def names_on(connection: Connection, kind: BrakeKind) -> set[str]:
    """List what brakes of a kind are on for."""
    found = select(brakes.c.name).where(brakes.c.kind == kind.value, brakes.c.released_at.is_(None))
    return set(connection.scalars(found))
