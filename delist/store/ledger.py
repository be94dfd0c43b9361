"""The ledger: suppression records in sequence, each holding the hash of the one before.

A record's hash, in format 2, is over the hash before it, its number and its commitment
(``delist.commitments``), so the chain holds when a payload was erased. In format 1, rows of the
first layout, it is SHA-256 over the UTF-8 JSON of the columns of then (sorted keys, no blanks,
times as ISO 8601 in UTC). The head, number and hash of the newest record, is kept apart, so that
a record cut off at the end shows too; ``delist.store.tree`` shows it when head and end were cut.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import DataError

from delist.commitments import PAYLOAD, chain_hash, commitment_of, payload_of
from delist.errors import LedgerError
from delist.model import (
    Basis,
    ErasedRecord,
    RecordAction,
    RecordDraft,
    RecordState,
    Scope,
    SuppressionRecord,
)
from delist.store import erasures
from delist.store.lists import among
from delist.store.tables import ledger_head
from delist.store.tables import suppression_records as records

GENESIS = "0" * 64
"""``previous_hash`` of the first record."""

FORMAT = 2
"""Of records that are appended now."""

_NONCE_BYTES = 32
_HEAD_ID = 1
_BATCH = 5_000
_COLUMNS = tuple(column.name for column in records.columns)
_FORMAT_1 = (*(n for n in PAYLOAD if n not in {"expires_at", "recheck_at"}), "previous_hash")
_BESIDE_RECORD = frozenset({"format", "nonce", "erased_at", "subject"})


def append(connection: Connection, draft: RecordDraft, *, now: datetime) -> SuppressionRecord:
    """Append a record under the next number, inside the caller's transaction."""
    sequence, previous_hash = head(connection)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    row: dict[str, Any] = {
        "sequence": sequence + 1,
        "id": secrets.token_hex(16),
        "action": draft.action.value,
        "state": draft.state.value,
        "case_id": draft.case_id,
        "image_url": draft.image_url,
        "document_id": draft.document_id,
        "content_sha256": draft.content_sha256,
        "scope": Scope(draft.scope).value,
        "reason_code": draft.reason_code,
        **{f"basis_{name}": value for name, value in asdict(draft.basis).items()},
        "effective_at": now.astimezone(UTC),
        "supersedes": draft.supersedes,
        "expires_at": _utc(draft.expires_at),
        "recheck_at": _utc(draft.recheck_at),
        "previous_hash": previous_hash,
        "format": FORMAT,
        "nonce": nonce.hex(),
        "erased_at": None,
        "subject": subject_of(draft.image_url),
    }
    row["commitment"] = commitment_of(nonce, payload_of(row)).hex()
    row["hash"] = chain_hash(previous_hash, sequence + 1, row["commitment"])
    connection.execute(insert(records).values(row))
    _move_head(connection, sequence + 1, row["hash"])
    return _record(row)


def subject_of(image_url: str) -> int:
    """Number what a record is about: by it records about one address are found, never told apart.

    Returns:
        the first 8 bytes of BLAKE2b of the address, as a signed number.
    """
    return int.from_bytes(hashlib.blake2b(image_url.encode(), digest_size=8).digest(), signed=True)


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone(UTC)


def head(connection: Connection) -> tuple[int, str]:
    """Return number and hash of the newest record; (0, ``GENESIS``) when there is none."""
    found = connection.execute(select(ledger_head.c.sequence, ledger_head.c.hash)).first()
    return (0, GENESIS) if found is None else (found.sequence, found.hash)


def after(connection: Connection, sequence: int) -> Iterator[SuppressionRecord]:
    """Iterate over the records that follow a number, in order, without those that were erased.

    Raises:
        LedgerError: a record holds what no record says.
    """
    for entry in entries_after(connection, sequence):
        if isinstance(entry, SuppressionRecord):
            yield entry


def entries_after(
    connection: Connection, sequence: int
) -> Iterator[SuppressionRecord | ErasedRecord]:
    """Iterate over all that follows a number, in order, with what is left of erased records.

    Raises:
        LedgerError: a record holds what no record says.
    """
    while found := page_after(connection, sequence, limit=_BATCH):
        yield from found
        sequence = found[-1].sequence


def page_after(
    connection: Connection, sequence: int, *, limit: int
) -> list[SuppressionRecord | ErasedRecord]:
    """Load at most so many entries behind a number, in order.

    Raises:
        LedgerError: a record holds what no record says.
    """
    chosen = select(records).where(records.c.sequence > sequence)
    return _load(connection, chosen.order_by(records.c.sequence).limit(limit))


def entries(
    connection: Connection, sequences: Sequence[int]
) -> list[SuppressionRecord | ErasedRecord]:
    """Load the entries of some numbers, in order; those that are not there are left out."""
    chosen = select(records).where(among(records.c.sequence, sequences))
    return _load(connection, chosen.order_by(records.c.sequence))


def of_case(connection: Connection, case_id: str) -> Sequence[SuppressionRecord]:
    """Load the records of a case, in order, without those that were erased."""
    chosen = select(records).where(records.c.case_id == case_id, records.c.erased_at.is_(None))
    found = _load(connection, chosen.order_by(records.c.sequence))
    return [entry for entry in found if isinstance(entry, SuppressionRecord)]


def find(connection: Connection, record_id: str) -> SuppressionRecord | None:
    """Find a record by its id; None when it was erased."""
    if not (record_id.isascii() and record_id.isprintable()):  # no id of ours
        return None
    for entry in _load(connection, select(records).where(records.c.id == record_id)):
        return entry if isinstance(entry, SuppressionRecord) else None
    return None


def entry(connection: Connection, sequence: int) -> SuppressionRecord | ErasedRecord | None:
    """Find a record, or what is left of it, by its number."""
    return next(
        iter(_load(connection, select(records).where(records.c.sequence == sequence))), None
    )


def opening(connection: Connection, sequence: int) -> tuple[bytes, bytes] | None:
    """Return nonce and payload of a record, which open its commitment; None when erased."""
    with _readable():
        row = connection.execute(select(records).where(records.c.sequence == sequence)).first()
        if row is None or row.nonce is None:
            return None
        return bytes.fromhex(row.nonce), payload_of(dict(row._mapping))  # noqa: SLF001 - public name


def verify(connection: Connection) -> int:
    """Check every record against commitment, hash, number and the one before it.

    Returns:
        The number of records, all of them as they were written, or erased as the audit log says.

    Raises:
        LedgerError: an edit, a gap or a changed order; names the first place.
    """
    with _readable():
        return _verify(connection)


def _verify(connection: Connection) -> int:
    previous, expected = GENESIS, 1
    erased: list[Mapping[str, Any]] = []
    while True:
        rows = connection.execute(
            select(records)
            .where(records.c.sequence >= expected)
            .order_by(records.c.sequence)
            .limit(_BATCH)
        ).all()
        if not rows:
            break
        for values in rows:
            row = dict(zip(_COLUMNS, values, strict=True))
            _check(row, expected, previous)
            if row["erased_at"] is not None:
                erased.append(row)
            previous, expected = row["hash"], expected + 1
    _check_whole(connection, expected - 1, previous)
    erasures.check(connection, erased)
    return expected - 1


def _check(row: Mapping[str, Any], expected: int, previous: str) -> None:
    if row["sequence"] != expected:
        raise LedgerError(f"record {expected} is missing")
    if row["previous_hash"] != previous:
        raise LedgerError(f"record {expected} does not follow the record before it")
    if not (_holds(row) and _is_chained(row)):
        raise LedgerError(f"record {expected} was edited")


def _holds(row: Mapping[str, Any]) -> bool:
    """Say whether what a row says is what it commits to; what was erased says nothing."""
    if row["erased_at"] is not None:
        return erasures.is_blank(row)
    nonce = row["nonce"]
    if not isinstance(nonce, str):
        return False
    made = commitment_of(bytes.fromhex(nonce), payload_of(row)).hex()
    return bool(made == row["commitment"]) and row["subject"] == subject_of(row["image_url"])


def _is_chained(row: Mapping[str, Any]) -> bool:
    """Say whether a row's hash follows from it. Of an erased one in format 1 that is gone."""
    if row["format"] == FORMAT:
        made = chain_hash(row["previous_hash"], row["sequence"], row["commitment"])
        return bool(row["hash"] == made)
    if row["format"] != 1:
        return False
    return row["erased_at"] is not None or bool(row["hash"] == _format_1_hash(row))


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


def _format_1_hash(row: Mapping[str, Any]) -> str:
    payload = {name: row[name] for name in _FORMAT_1}
    payload["effective_at"] = row["effective_at"].isoformat()
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _load(connection: Connection, chosen: Select[Any]) -> list[SuppressionRecord | ErasedRecord]:
    with _readable():
        return [_entry(row._mapping) for row in connection.execute(chosen)]  # noqa: SLF001


@contextmanager
def _readable() -> Iterator[None]:
    """Say of a value that no record was written with that it was edited."""
    try:
        yield
    except (ValueError, TypeError, DataError):
        raise LedgerError("a record holds a value that cannot be read; it was edited") from None


def _entry(row: Mapping[Any, Any]) -> SuppressionRecord | ErasedRecord:
    if row["erased_at"] is None:
        return _record(row)
    values = {name: row[name] for name in ErasedRecord.__dataclass_fields__}
    values["action"] = RecordAction(values["action"])
    return ErasedRecord(**values)


def _record(row: Mapping[Any, Any]) -> SuppressionRecord:
    values = {
        name: value
        for name, value in row.items()
        if not name.startswith("basis_") and name not in _BESIDE_RECORD
    }
    basis = {
        name.removeprefix("basis_"): value
        for name, value in row.items()
        if name.startswith("basis_")
    }
    values["action"] = RecordAction(values["action"])
    values["state"] = RecordState(values["state"])
    values["scope"] = Scope(values["scope"])
    return SuppressionRecord(basis=Basis(**basis), **values)
