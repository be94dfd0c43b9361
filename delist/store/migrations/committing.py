"""What records of layout 0001 lack. Frozen, as layout 0002 makes it: nonce, commitment, subject.

A copy of what ``delist.commitments`` did then: a migration must not change with the code.
"""

import json
import secrets
from datetime import UTC
from hashlib import blake2b, sha256
from typing import Any

import sqlalchemy as sa

_BATCH = 5_000
_TEXTS = (
    "id",
    "action",
    "state",
    "case_id",
    "image_url",
    "document_id",
    "content_sha256",
    "scope",
    "reason_code",
    "basis_feed",
    "basis_signal",
    "basis_hasher",
    "basis_variant",
    "basis_policy_version",
    "supersedes",
)
_records = sa.table(
    "suppression_records",
    sa.column("sequence", sa.BigInteger),
    sa.column("basis_distance_bits", sa.Integer),
    sa.column("effective_at", sa.DateTime(timezone=True)),
    sa.column("subject", sa.BigInteger),
    *(sa.column(name, sa.Text) for name in (*_TEXTS, "nonce", "commitment")),
)


def commit_to_old_records(connection: sa.Connection) -> None:
    """Fill nonce, commitment and subject of every record, in batches."""
    names = ("sequence", "basis_distance_bits", "effective_at", *_TEXTS)
    chosen = sa.select(*(_records.c[name] for name in names)).order_by(_records.c.sequence)
    filled = (
        _records.update()
        .where(_records.c.sequence == sa.bindparam("at"))
        .values(
            nonce=sa.bindparam("new_nonce"),
            commitment=sa.bindparam("new_commitment"),
            subject=sa.bindparam("new_subject"),
        )
    )
    sequence: int | None = None
    while True:
        batch = chosen if sequence is None else chosen.where(_records.c.sequence > sequence)
        rows = connection.execute(batch.limit(_BATCH)).all()
        if not rows:
            return
        sequence = rows[-1].sequence
        connection.execute(filled, [_commit(dict(row._mapping)) for row in rows])  # noqa: SLF001 - SQLAlchemy's public name


def _commit(row: dict[str, Any]) -> dict[str, Any]:
    at = row["effective_at"]
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    row |= {"effective_at": at.isoformat(), "expires_at": None, "recheck_at": None}
    payload = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    nonce = secrets.token_bytes(32)
    commitment = sha256(b"delist-record/v1\n" + nonce + payload.encode())
    subject = blake2b(row["image_url"].encode(), digest_size=8).digest()
    return {
        "at": row["sequence"],
        "new_nonce": nonce.hex(),
        "new_commitment": commitment.hexdigest(),
        "new_subject": int.from_bytes(subject, "big", signed=True),
    }
