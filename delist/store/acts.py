"""How often the machine has acted by itself, by day and scope: what caps are counted on."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, insert, select, update

from delist.store.tables import automatic_acts

ALL = "all"


def count(connection: Connection, scope: str, *, now: datetime) -> int:
    """Count the acts of a scope on the UTC day of ``now``."""
    found = connection.scalar(
        select(automatic_acts.c.acts).where(
            automatic_acts.c.day == _day(now), automatic_acts.c.scope == scope
        )
    )
    return int(found or 0)


def add(connection: Connection, counted: Mapping[str, int], *, now: datetime) -> None:
    """Add up acts by scope on the UTC day of ``now``."""
    day = _day(now)
    for scope, number in counted.items():
        chosen = (automatic_acts.c.day == day) & (automatic_acts.c.scope == scope)
        done = connection.execute(
            update(automatic_acts).where(chosen).values(acts=automatic_acts.c.acts + number)
        )
        if not done.rowcount:
            connection.execute(insert(automatic_acts).values(day=day, scope=scope, acts=number))


def before(day: datetime) -> ColumnElement[bool]:
    """Say of a row whether it is of a UTC day before that of a time: no cap counts it."""
    return automatic_acts.c.day < _day(day)


def _day(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m-%d}"
