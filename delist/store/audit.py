"""The audit log: every view and every act of a person, and what the machine stopped.

Append-only: triggers refuse an edit, and each entry holds the hash of the one before, so that
one made past the triggers shows in ``verify``. The head, number and hash of the newest entry, is
kept apart, so that entries cut off at the end show too. Details hold no digest, address or case
reference; the subject is the id of a case, an appeal, a feed's name or a signal's key.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import DataError

from delist.errors import LedgerError
from delist.store.tables import audit_head, audit_log

GENESIS = "0" * 64
_HEAD_ID = 1
_BATCH = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry.

    Attributes:
        act: a constant such as ``case.viewed``.
        detail: values, as JSON.
    """

    sequence: int
    at: datetime
    actor: str
    act: str
    subject: str
    detail: str = field(repr=False)
    previous_hash: str = field(repr=False)
    hash: str = field(repr=False)


def append(
    connection: Connection,
    *,
    actor: str,
    act: str,
    subject: str,
    now: datetime,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Append an entry, inside the caller's write transaction."""
    sequence, previous_hash = head(connection)
    row: dict[str, Any] = {
        "sequence": sequence + 1,
        "at": now,
        "actor": actor,
        "act": act,
        "subject": subject,
        "detail": json.dumps(dict(detail or {}), sort_keys=True, default=str),
        "previous_hash": previous_hash,
    }
    row["hash"] = _hash_of(row)
    connection.execute(insert(audit_log).values(row))
    _move_head(connection, sequence + 1, row["hash"])


def head(connection: Connection) -> tuple[int, str]:
    """Return number and hash of the newest entry; (0, ``GENESIS``) when there is none."""
    found = connection.execute(select(audit_head.c.sequence, audit_head.c.hash)).first()
    return (0, GENESIS) if found is None else (found.sequence, found.hash)


def after(
    connection: Connection, sequence: int = 0, *, subject: str | None = None
) -> Iterator[AuditEntry]:
    """Iterate over the entries behind a number, of one subject or all, in order.

    Raises:
        LedgerError: an entry holds what no entry says.
    """
    while True:
        chosen = select(audit_log).where(audit_log.c.sequence > sequence)
        if subject is not None:
            chosen = chosen.where(audit_log.c.subject == subject)
        found = _load(connection, chosen.order_by(audit_log.c.sequence).limit(_BATCH))
        if not found:
            return
        yield from found
        sequence = found[-1].sequence


def before(
    connection: Connection, sequence: int | None, *, subject: str = "", limit: int
) -> list[AuditEntry]:
    """Load the entries before a number, or the newest ones, the newest first.

    Raises:
        LedgerError: an entry holds what no entry says.
    """
    chosen = select(audit_log).order_by(audit_log.c.sequence.desc()).limit(limit)
    if sequence is not None:
        chosen = chosen.where(audit_log.c.sequence < sequence)
    if subject:
        chosen = chosen.where(audit_log.c.subject == subject)
    return _load(connection, chosen)


def verify(connection: Connection) -> int:
    """Check every entry against its hash and the one before it; returns how many there are.

    Raises:
        LedgerError: an edit, a gap or a changed order; names the first place.
    """
    previous, expected = GENESIS, 1
    for entry in after(connection):
        row = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
        if entry.sequence != expected:
            raise LedgerError(f"entry {expected} of the audit log is missing")
        if entry.previous_hash != previous or entry.hash != _hash_of(row):
            raise LedgerError(f"entry {expected} of the audit log was edited")
        previous, expected = entry.hash, expected + 1
    if head(connection) != (expected - 1, previous):
        raise LedgerError(f"entry {expected} of the audit log is missing, or its head was edited")
    total = connection.scalar(select(func.count()).select_from(audit_log))
    if total != expected - 1:
        raise LedgerError("there are entries of the audit log numbered below 1")
    return expected - 1


def _load(connection: Connection, chosen: Any) -> list[AuditEntry]:  # noqa: ANN401 - a select
    try:
        return [AuditEntry(**row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001 - SQLAlchemy's public name
    except (ValueError, TypeError, DataError):
        raise LedgerError(
            "an entry of the audit log holds a value that cannot be read; it was edited"
        ) from None


def _move_head(connection: Connection, sequence: int, entry_hash: str) -> None:
    values = {"sequence": sequence, "hash": entry_hash}
    if sequence == 1:
        connection.execute(insert(audit_head).values(id=_HEAD_ID, **values))
    else:
        connection.execute(update(audit_head).values(**values))


def _hash_of(row: Mapping[str, Any]) -> str:
    payload = {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
        if key != "hash"
    }
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
