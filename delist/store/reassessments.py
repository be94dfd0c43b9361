"""Cases that are to be looked at again: something that they rest on has changed.

Written in the transaction of the change, emptied by intake in the transaction that assesses.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Select, delete, exists, func, insert, literal, select
from sqlalchemy.types import String

from delist.model import Action, CaseState, RulingKind, Support
from delist.store.lists import among
from delist.store.tables import UtcDateTime, case_matches, cases, decisions, reassessments

_BATCH = 500
_KEYS_AT_ONCE = 500


def ask_for_all(connection: Connection, *, reason: str, now: datetime) -> int:
    """Ask for every case; returns how many were not asked for already."""
    return _ask(connection, select(cases.c.image_key), reason=reason, now=now)


def ask_for_signal(connection: Connection, signal_key: str, *, reason: str, now: datetime) -> int:
    """Ask for every case that a signal stands behind."""
    chosen = _matched(case_matches.c.signal_key == signal_key)
    return _ask(connection, chosen, reason=reason, now=now)


def ask_for_signals(
    connection: Connection, signal_keys: Iterable[str], *, reason: str, now: datetime
) -> int:
    """Ask for every case that one of some signals stands behind."""
    keys, asked = list(signal_keys), 0
    for start in range(0, len(keys), _BATCH):
        chosen = _matched(among(case_matches.c.signal_key, keys[start : start + _BATCH]))
        asked += _ask(connection, chosen, reason=reason, now=now)
    return asked


def ask_for_feed(connection: Connection, feed: str, *, reason: str, now: datetime) -> int:
    """Ask for every case that a signal of a feed stands behind."""
    return _ask(connection, _matched(case_matches.c.feed == feed), reason=reason, now=now)


def ask_for_images(
    connection: Connection, image_keys: Iterable[str], *, reason: str, now: datetime
) -> int:
    """Ask for the cases of images."""
    keys, asked = list(image_keys), 0
    for start in range(0, len(keys), _BATCH):
        chosen = select(cases.c.image_key).where(
            among(cases.c.image_key, keys[start : start + _BATCH])
        )
        asked += _ask(connection, chosen, reason=reason, now=now)
    return asked


def ask_for_group(connection: Connection, group_id: str, *, reason: str, now: datetime) -> int:
    """Ask for every case of a group of near-duplicates."""
    chosen = select(cases.c.image_key).where(cases.c.group_id == group_id)
    return _ask(connection, chosen, reason=reason, now=now)


def ask_for_open_of_site(connection: Connection, site: str, *, reason: str, now: datetime) -> int:
    """Ask for the cases of a site whose images are shown and wait for a person."""
    chosen = select(cases.c.image_key).where(
        cases.c.site == site, cases.c.state == CaseState.OPEN.value
    )
    return _ask(connection, chosen, reason=reason, now=now)


def ask_for_expired(connection: Connection, *, before: datetime, now: datetime) -> int:
    """Ask for cases that the machine suppressed before some time and nobody has decided since."""
    acted = exists().where(
        decisions.c.case_id == cases.c.id,
        decisions.c.content_sha256 == cases.c.content_sha256,
        decisions.c.kind == RulingKind.POLICY.value,
        decisions.c.action == Action.SUPPRESS.value,
        decisions.c.decided_at <= before,
    )
    chosen = select(cases.c.image_key).where(
        cases.c.state == CaseState.SUPPRESSED.value,
        cases.c.verdict.is_(None),
        cases.c.opened_at <= before,
        acted,
    )
    return _ask(connection, chosen, reason="expired", now=now)


def ask_for_any_images(
    connection: Connection, image_keys: Iterable[str], *, reason: str, now: datetime
) -> int:
    """Ask for images by their keys, whether they have a case or not."""
    keys = list(dict.fromkeys(image_keys))
    asked = 0
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        waits = select(reassessments.c.image_key).where(among(reassessments.c.image_key, part))
        held = set(connection.scalars(waits))
        rows = [
            {"image_key": key, "reason": reason, "queued_at": now}
            for key in part
            if key not in held
        ]
        if rows:
            connection.execute(insert(reassessments), rows)
        asked += len(rows)
    return asked


def waiting(connection: Connection) -> int:
    """Count what is to be looked at again."""
    return int(connection.scalar(select(func.count()).select_from(reassessments)) or 0)


def take(connection: Connection, *, limit: int) -> list[str]:
    """Take the image keys that have waited longest off the list."""
    found = list(
        connection.scalars(
            select(reassessments.c.image_key)
            .order_by(reassessments.c.queued_at, reassessments.c.image_key)
            .limit(limit)
        )
    )
    drop(connection, found)
    return found


def take_group(connection: Connection, group_id: str, *, limit: int) -> list[str]:
    """Take image keys of one group of near-duplicates off the list."""
    found = list(
        connection.scalars(
            select(reassessments.c.image_key)
            .join(cases, cases.c.image_key == reassessments.c.image_key)
            .where(cases.c.group_id == group_id)
            .order_by(reassessments.c.image_key)
            .limit(limit)
        )
    )
    drop(connection, found)
    return found


def drop(connection: Connection, image_keys: Iterable[str]) -> None:
    """Take images off the list: they have just been looked at."""
    keys = list(image_keys)
    if keys:
        connection.execute(delete(reassessments).where(among(reassessments.c.image_key, keys)))


def _matched(condition: object) -> Select[tuple[str]]:
    matched = select(case_matches.c.case_id).where(
        condition,  # type: ignore[arg-type]
        case_matches.c.support == Support.ACTIVE.value,
    )
    return select(cases.c.image_key).where(cases.c.id.in_(matched))


def _ask(connection: Connection, chosen: Select[tuple[str]], *, reason: str, now: datetime) -> int:
    waits = exists().where(reassessments.c.image_key == cases.c.image_key)
    rows = chosen.add_columns(literal(reason, String), literal(now, UtcDateTime)).where(~waits)
    done = connection.execute(
        insert(reassessments).from_select(["image_key", "reason", "queued_at"], rows),
        execution_options={"preserve_rowcount": True},  # else PostgreSQL's is not kept
    )
    return done.rowcount
