"""The tables of the SQL store. Portable: SQLite by default, PostgreSQL later.

Keys of images and signals are hex text. Times are written as UTC.
``migrations/versions`` brings any released layout up to this one; a test keeps
both equal.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0001"
"""The newest migration; ``alembic_version`` holds it when the store is up to date."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite keeps no time zone of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401, ARG002 - the base's signature
        """Write as UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401, ARG002 - the base's signature
        """Read as UTC; a zone in the stored text counts, so that an edit by one shows."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


cases = Table(
    "cases",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("image_key", String(32), nullable=False, unique=True),
    Column("image_url", Text, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(16)),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("deadline_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime),
    Index(None, "state", "deadline_at"),
)

case_matches = Table(
    "case_matches",
    metadata,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("signal_key", String(32), primary_key=True),
    Column("feed", String(128), nullable=False),
    Column("distance_bits", Integer, nullable=False),
    Column("threshold_bits", Integer, nullable=False),
    Column("hasher", String(16), nullable=False),
    Column("variant", String(64), nullable=False),
    Column("quality", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("support", String(16), nullable=False),
    Column("matched_at", UtcDateTime, nullable=False),
    Index(None, "signal_key"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("verdict", String(16)),
    Column("action", String(16), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("policy_version", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
)

suppression_records = Table(
    "suppression_records",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False, unique=True),
    Column("action", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("case_id", String(32), nullable=False, index=True),
    Column("image_url", Text, nullable=False),
    Column("document_id", Text, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("reason_code", String(64), nullable=False),
    Column("basis_feed", String(128), nullable=False),
    Column("basis_signal", String(32), nullable=False),
    Column("basis_distance_bits", Integer, nullable=False),
    Column("basis_hasher", String(16), nullable=False),
    Column("basis_variant", String(64), nullable=False),
    Column("basis_policy_version", String(64), nullable=False),
    Column("effective_at", UtcDateTime, nullable=False),
    Column("supersedes", String(32), nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("log", String(32), primary_key=True),
    Column("sequence", Integer, nullable=False),
)

access_codes = Table(
    "access_codes",
    metadata,
    Column("case_key", String(32), primary_key=True),
    Column("code_hash", String(64), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
)

feedback_outbox = Table(
    "feedback_outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("feed", String(128), nullable=False),
    Column("signal_key", String(32), nullable=False),
    Column("value", String(32), nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
    Column("outcome", String(32)),
    Index(None, "signal_key"),
    Index(None, "done_at", "next_attempt_at"),
)
