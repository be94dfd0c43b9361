"""The ledger: suppression records in sequence, each holding the hash of the one before.

The hash is SHA-256 over the UTF-8 JSON of all other fields (sorted keys, no
blanks, times as ISO 8601 in UTC). The head, number and hash of the newest
record, is kept apart, so that a record cut off at the end shows too.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import DataError

from delist.errors import LedgerError
from delist.model import Basis, RecordAction, RecordDraft, RecordState, SuppressionRecord
from delist.store.tables import ledger_head
from delist.store.tables import suppression_records as records

GENESIS = "0" * 64
"""``previous_hash`` of the first record."""

_HEAD_ID = 1
_BATCH = 5_000


def append(connection: Connection, draft: RecordDraft, *, now: datetime) -> SuppressionRecord:
    """Append a record under the next number, inside the caller's transaction."""
    sequence, previous_hash = head(connection)
    row = {
        "sequence": sequence + 1,
        "id": secrets.token_hex(16),
        "action": draft.action.value,
        "state": draft.state.value,
        "case_id": draft.case_id,
        "image_url": draft.image_url,
        "document_id": draft.document_id,
        "content_sha256": draft.content_sha256,
        "scope": draft.scope,
        "reason_code": draft.reason_code,
        **{f"basis_{name}": value for name, value in asdict(draft.basis).items()},
        "effective_at": now,
        "supersedes": draft.supersedes,
        "previous_hash": previous_hash,
    }
    row["hash"] = _hash_of(row)
    connection.execute(insert(records).values(row))
    _move_head(connection, sequence + 1, row["hash"])
    return _from_row(row)


def head(connection: Connection) -> tuple[int, str]:
    """Return number and hash of the newest record; (0, ``GENESIS``) when there is none."""
    found = connection.execute(select(ledger_head.c.sequence, ledger_head.c.hash)).first()
    return (0, GENESIS) if found is None else (found.sequence, found.hash)


def after(connection: Connection, sequence: int) -> Iterator[SuppressionRecord]:
    """Iterate over the records that follow a number, in order.

    Raises:
        LedgerError: a record holds what no record says.
    """
    while True:
        chosen = select(records).where(records.c.sequence > sequence)
        found = _load(connection, chosen.order_by(records.c.sequence).limit(_BATCH))
        if not found:
            return
        yield from found
        sequence = found[-1].sequence


def of_case(connection: Connection, case_id: str) -> Sequence[SuppressionRecord]:
    """Load the records of a case, in order."""
    chosen = select(records).where(records.c.case_id == case_id)
    return _load(connection, chosen.order_by(records.c.sequence))


def find(connection: Connection, record_id: str) -> SuppressionRecord | None:
    """Find a record by its id."""
    if not (record_id.isascii() and record_id.isprintable()):  # no id of ours
        return None
    return next(iter(_load(connection, select(records).where(records.c.id == record_id))), None)


def verify(connection: Connection) -> int:
    """Check every record against its hash, its number and the one before it.

    Returns:
        The number of records, all of them as they were written.

    Raises:
        LedgerError: an edit, a gap or a changed order; names the first place.
    """
    with _readable():
        return _verify(connection)


def _verify(connection: Connection) -> int:
    previous, expected = GENESIS, 1
    while True:
        rows = connection.execute(
            select(records)
            .where(records.c.sequence >= expected)
            .order_by(records.c.sequence)
            .limit(_BATCH)
        ).all()
        if not rows:
            break
        for row in rows:
            _check(row, expected, previous)
            previous, expected = row.hash, expected + 1
    _check_whole(connection, expected - 1, previous)
    return expected - 1


def _check(row: Row[Any], expected: int, previous: str) -> None:
    if row.sequence != expected:
        raise LedgerError(f"record {expected} is missing")
    if row.previous_hash != previous:
        raise LedgerError(f"record {expected} does not follow the record before it")
    if row.hash != _hash_of(row._mapping):  # noqa: SLF001
        raise LedgerError(f"record {expected} was edited")


def _check_whole(connection: Connection, last: int, last_hash: str) -> None:
    if head(connection) != (last, last_hash):
        raise LedgerError(f"record {last + 1} is missing, or the head was edited")
    total = connection.scalar(select(func.count()).select_from(records))
    if total != last:
        raise LedgerError("there are records numbered below 1")


def _move_head(connection: Connection, sequence: int, record_hash: str) -> None:
    values = {"sequence": sequence, "hash": record_hash}
    if sequence == 1:
        connection.execute(insert(ledger_head).values(id=_HEAD_ID, **values))
    else:
        connection.execute(update(ledger_head).values(**values))


def _hash_of(row: Mapping[Any, Any]) -> str:
    payload = {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
        if key != "hash"
    }
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _load(connection: Connection, chosen: Select[Any]) -> list[SuppressionRecord]:
    with _readable():
        return [_from_row(row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001


@contextmanager
def _readable() -> Iterator[None]:
    """Say of a value that no record was written with that it was edited."""
    try:
        yield
    except (ValueError, TypeError, DataError):
        raise LedgerError("a record holds a value that cannot be read; it was edited") from None


def _from_row(row: Mapping[Any, Any]) -> SuppressionRecord:
    values = {name: value for name, value in row.items() if not name.startswith("basis_")}
    basis = {
        name.removeprefix("basis_"): value
        for name, value in row.items()
        if name.startswith("basis_")
    }
    values["action"] = RecordAction(values["action"])
    values["state"] = RecordState(values["state"])
    return SuppressionRecord(basis=Basis(**basis), **values)
