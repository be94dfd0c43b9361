"""Contacts, texts and codes: what belongs to people, and is of no use once it is answered.

And what was counted by case reference, day by day.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import lmdb
from sqlalchemy import ColumnElement, delete, func, or_, select, update

from delist.appeal_record import AppealState
from delist.store import Database, acts
from delist.store.appeals import lapsed
from delist.store.tables import access_codes, appeals, automatic_acts
from indexer.store import Store

_DECIDED = (AppealState.UPHELD, AppealState.OVERTURNED, AppealState.ENDED)
_AT_ONCE = 500


def erase_appeals(database: Database, *, before: datetime, dry_run: bool) -> int:
    """Erase contact and text of appeals decided before a time; returns how many.

    What was asked, about which case, and what came of it stays with the case.
    """
    decided = appeals.c.state.in_([state.value for state in _DECIDED])
    at = func.coalesce(appeals.c.decided_at, appeals.c.deadline_at)
    nothing = appeals.c.state == AppealState.NO_RECORD.value
    chosen = or_(decided & (at < before), nothing & (appeals.c.opened_at < before)) & or_(
        appeals.c.contact != "", appeals.c.statement != ""
    )
    blank = {"contact": "", "statement": "", "proof_hash": "", "proved_for": ""}
    return _change(database, chosen, appeals, update(appeals).values(blank), dry_run=dry_run)


def drop_unproved(database: Database, *, now: datetime, dry_run: bool) -> int:
    """Drop appeals whose time to be proved is over, with contact and text; returns how many."""
    return _change(database, lapsed(now), appeals, delete(appeals), dry_run=dry_run)


def drop_counts(database: Database, *, before: datetime, dry_run: bool) -> int:
    """Drop what the machine's own acts were counted by, of days before a time; returns how many."""
    return _change(
        database, acts.before(before), automatic_acts, delete(automatic_acts), dry_run=dry_run
    )


def drop_codes(
    store: Store,
    database: Database,
    *,
    before: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> int:
    """Drop access codes of case references that ended before a time; returns how many."""
    with database.read() as connection:
        old = list(
            connection.scalars(
                select(access_codes.c.case_key).where(access_codes.c.issued_at < before)
            )
        )
    with store.read() as txn:
        over = [key for key in old if _ended_before(store, txn, bytes.fromhex(key), before)]
    for start in range(0, len(over) if not dry_run else 0, _AT_ONCE):
        if stopped():
            return start
        with database.write() as connection:
            part = over[start : start + _AT_ONCE]
            # One that was issued anew meanwhile stays.
            connection.execute(
                delete(access_codes).where(
                    access_codes.c.case_key.in_(part), access_codes.c.issued_at < before
                )
            )
    return len(over)


def _ended_before(store: Store, txn: lmdb.Transaction, case_key: bytes, before: datetime) -> bool:
    """Say whether nothing has been behind a case reference since before a time."""
    for key, live in store.signals.signals_of_case_key(txn, case_key).items():
        if live:
            return False
        signal, stone = store.signals.find(txn, key), store.signals.find_tombstone(txn, key)
        # A signal that others still stand behind tells only when anything of it changed last.
        times = [signal.changed_at] if signal else [stone.withdrawn_at] if stone else []
        if any(time >= before for time in times):
            return False
    return True


def _change(
    database: Database,
    chosen: ColumnElement[bool],
    table: Any,  # noqa: ANN401 - a table
    statement: Any,  # noqa: ANN401 - an update or delete of it
    *,
    dry_run: bool,
) -> int:
    if dry_run:
        with database.read() as connection:
            found = select(func.count()).select_from(table).where(chosen)
            return int(connection.scalar(found) or 0)
    with database.write() as connection:
        done = connection.execute(
            statement.where(chosen), execution_options={"preserve_rowcount": True}
        )
        return int(done.rowcount)
