"""Erasing what a record says, by law or on a survivor's wish; the chain and the log still hold.

What stays is the record's place: number, id, action, what it supersedes, commitment, hashes. The
audit log says when each was erased and what stayed, so that an edit of that shows too.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from delist.commitments import PAYLOAD
from delist.errors import LedgerError
from delist.store import audit
from delist.store.tables import audit_log
from delist.store.tables import suppression_records as records

ACT = "record.erased"

_STAYS = ("sequence", "id", "action", "supersedes")
_BLANK: dict[str, Any] = {name: "" for name in PAYLOAD if name not in _STAYS} | {
    "basis_distance_bits": 0,
    "effective_at": datetime(1970, 1, 1, tzinfo=UTC),
    "expires_at": None,
    "recheck_at": None,
    "nonce": None,
    "subject": 0,
}


def erase(connection: Connection, sequence: int, *, actor: str, reason: str, now: datetime) -> None:
    """Erase what one record says, which must be there and not erased yet."""
    row = connection.execute(select(records).where(records.c.sequence == sequence)).one()
    detail = _kept(dict(row._mapping)) | {"reason": reason}  # noqa: SLF001 - SQLAlchemy's public name
    audit.append(connection, actor=actor, act=ACT, subject=row.id, now=now, detail=detail)
    at = records.c.sequence == sequence
    connection.execute(update(records).where(at).values(erased_at=now, **_BLANK))


def is_blank(row: Mapping[str, Any]) -> bool:
    """Say whether nothing is left where an erased record said something."""
    return all(row[name] == value for name, value in _BLANK.items())


def check(connection: Connection, erased: Sequence[Mapping[str, Any]]) -> None:
    """Check what is left of erased records against the audit log.

    Raises:
        LedgerError: one of them was edited, or what was erased has come back.
    """
    chosen = select(audit_log.c.at, audit_log.c.detail).where(audit_log.c.act == ACT)
    said = {}
    for entry in connection.execute(chosen):
        detail = json.loads(entry.detail)
        said[detail["sequence"]] = (entry.at, _kept(detail))
    found = {row["sequence"]: (row["erased_at"], _kept(row)) for row in erased}
    for sequence in sorted(said.keys() | found.keys()):
        if said.get(sequence) != found.get(sequence):
            raise LedgerError(
                f"record {sequence} was edited, or was erased otherwise than the audit log says"
            )


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in (*_STAYS, "commitment", "format", "hash")}
