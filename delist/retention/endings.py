"""Withdrawn cases: once nobody stands behind any of their signals, only tombstones stay.

What stays of such a case: the tombstone of each signal (key and time, no digest), the keyed hash
of the case reference, in the ledger the place and the commitment of its records, in the audit
log that something was done to a case of that id. Addresses, matches, verdicts and reasons go.

A case is erased when all of this holds:

(1) It is withdrawn, and has been since before the time that is kept.
(2) None of its signals is live. (The bytes may only have gone from the page for a while.)
(3) No appeal about it is open, and it is not about to be looked at again.
(4) No hash that we gave back because of it is still live at the feed.
(5) Its records are in effect nowhere and reached every consumer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import lmdb
from sqlalchemy import Connection, delete, func, select, update

from delist.appeal_record import AppealState
from delist.attestation.erasing import erase_within
from delist.errors import UsageError
from delist.model import Case, CaseState
from delist.store import Database, audit, cases, ledger, submissions
from delist.store import tables as t
from indexer.store import Store

ACT, ACTOR = "case.erased", "delist"
_REASON = "withdrawn"
_WAITING = (AppealState.AWAITING_PROOF.value, AppealState.OPEN.value)


@dataclass(slots=True)
class Erased:
    """How many cases and records went, and how many cases have to wait."""

    cases: int = 0
    records: int = 0
    waiting: int = 0


def erase(
    store: Store,
    database: Database,
    *,
    before: datetime,
    now: datetime,
    dry_run: bool,
    stopped: Callable[[], bool],
) -> Erased:
    """Erase the withdrawn cases that nothing holds, each in a transaction of its own."""
    found = Erased()
    with database.read() as connection:
        ids = list(
            connection.scalars(
                select(t.cases.c.id)
                .where(t.cases.c.state == CaseState.WITHDRAWN.value, t.cases.c.changed_at < before)
                .order_by(t.cases.c.id)
            )
        )
    for case_id in ids:
        if stopped():
            break
        opened = database.read() if dry_run else database.write()
        try:
            with opened as connection, store.read() as txn:
                case = cases.find(connection, case_id)
                if case is None or case.state is not CaseState.WITHDRAWN:
                    continue
                if not _is_over(store, txn, connection, case):
                    found.waiting += 1
                    continue
                records = [entry.sequence for entry in ledger.of_case(connection, case_id)]
                if not dry_run:
                    _erase(connection, case, records, now=now)
        except UsageError:  # (5)
            found.waiting += 1
            continue
        found.cases += 1
        found.records += len(records)
    return found


def _is_over(store: Store, txn: lmdb.Transaction, connection: Connection, case: Case) -> bool:
    keys = [bytes.fromhex(match.signal_key) for match in case.matches]
    if any(store.signals.find(txn, key) is not None for key in keys):  # (2)
        return False
    asked = select(func.count()).select_from(t.appeals)
    if connection.scalar(
        asked.where(t.appeals.c.case_id == case.id, t.appeals.c.state.in_(_WAITING))
    ):  # (3)
        return False
    queued = select(t.reassessments.c.image_key)
    if connection.execute(queued.where(t.reassessments.c.image_key == case.image_key)).first():
        return False
    for entry in submissions.of_case(connection, case.id):  # (4)
        live = store.signals.find(txn, bytes.fromhex(entry.signal_key)) is not None
        if entry.ended_at is None or live:
            return False
    return True


def _erase(connection: Connection, case: Case, records: list[int], *, now: datetime) -> None:
    erase_within(connection, records, actor=ACTOR, reason=_REASON, now=now)
    offered = select(t.submissions.c.id).where(t.submissions.c.case_id == case.id)
    connection.execute(
        delete(t.submission_roots).where(t.submission_roots.c.submission_id.in_(offered))
    )
    for table in (t.submissions, t.blind_reviews, t.case_matches, t.decisions):
        connection.execute(delete(table).where(table.c.case_id == case.id))
    # That somebody appealed, and how to answer them, has a time of its own.
    connection.execute(
        update(t.appeals)
        .where(t.appeals.c.case_id == case.id)
        .values(case_id=None, image_url="", content_sha256="", record_id="", statement="")
    )
    connection.execute(delete(t.cases).where(t.cases.c.id == case.id))
    audit.append(connection, actor=ACTOR, act=ACT, subject=case.id, now=now)
