"""The tables of the SQL store, the same on SQLite and PostgreSQL.

Keys of images and signals are hex text. Times are written as UTC.
``migrations/versions`` brings any released layout up to this one; a test keeps
both equal.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0002"
"""The newest migration; ``alembic_version`` holds it when the store is up to date."""

_Sequence = BigInteger().with_variant(Integer(), "sqlite")
"""A number that grows for ever; SQLite's integers have 64 bits anyway."""

_LONG_AGO = "1970-01-01 00:00:00+00:00"
"""Default of a column that a migration adds and fills; SQLite cannot lose it again."""

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
    Column("site", String(255), nullable=False, server_default=""),
    Column("path", Text, nullable=False, server_default=""),
    Column("queue_at", UtcDateTime, nullable=False, server_default=_LONG_AGO),
    Column("risk", Integer, nullable=False, server_default="0"),
    Column("reach", Integer, nullable=False, server_default="1"),
    Column("group_id", String(32), nullable=False, index=True, server_default=""),
    Column("pending", String(16)),
    Column("pending_by", String(200), nullable=False, server_default=""),
    Column("disputed", Boolean, nullable=False, server_default=false()),
    Column("claimed_by", String(200), nullable=False, server_default=""),
    Column("claimed_until", UtcDateTime),
    Column("confirmed_sha256", String(64), nullable=False, server_default=""),
    Column("awaits_person", Boolean, nullable=False, server_default=false()),
    Index(None, "state", "deadline_at"),
    Index(None, "awaits_person", "queue_at", "id"),
    Index(None, "deadline_at", "id"),
    Index(None, "site", "verdict"),
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
    Column("weighted_bits", Float),
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
    Column("kind", String(16), nullable=False, server_default="policy"),
    Column("needs", Integer, nullable=False, server_default="1"),
    Column("checks", Text, nullable=False, server_default=""),
)

suppression_records = Table(
    "suppression_records",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
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
    Column("format", Integer, nullable=False, server_default="1"),
    Column("nonce", String(64)),
    Column("commitment", String(64), nullable=False, server_default=""),
    Column("expires_at", UtcDateTime),
    Column("recheck_at", UtcDateTime),
    Column("erased_at", UtcDateTime),
    Column("subject", BigInteger, nullable=False, server_default="0", index=True),
)

ledger_head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", _Sequence, nullable=False),
    Column("hash", String(64), nullable=False),
)

ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", _Sequence, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", _Sequence, primary_key=True, autoincrement=False),
    Column("ledger_hash", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Column("signed_at", UtcDateTime, nullable=False),
)

consumers = Table(
    "consumers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("position", _Sequence, nullable=False),
    Column("handed", _Sequence, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Column("moved_at", UtcDateTime),
    Column("seen_at", UtcDateTime),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("trouble", String(64), nullable=False),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("consumer", ForeignKey("consumers.name"), primary_key=True),
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("subject", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Index(None, "consumer", "subject"),
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("log", String(32), primary_key=True),
    Column("sequence", _Sequence, nullable=False),
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

policies = Table(
    "policies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("applied_by", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("applied_at", UtcDateTime, nullable=False),
)

brakes = Table(
    "brakes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(128), nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("set_by", String(200), nullable=False),
    Column("set_at", UtcDateTime, nullable=False),
    Column("released_by", String(200)),
    Column("released_at", UtcDateTime),
    Column("release_reason", Text),
    Index(None, "kind", "name"),
    Index(None, "released_at"),
)

recrawls = Table(
    "recrawls",
    metadata,
    Column("url_key", String(32), primary_key=True),
    Column("image_url", Text, nullable=False),
    Column("site", String(255), nullable=False),
    Column("case_id", String(32), nullable=False),
    Column("sequence", _Sequence, nullable=False),
    Column("lifted_at", UtcDateTime),
    Column("next_at", UtcDateTime, nullable=False),
    Column("looked_at", UtcDateTime),
    Column("outcome", String(64), nullable=False),
    Column("streak", Integer, nullable=False),
    Column("since", UtcDateTime),
    Index(None, "next_at"),
)

recrawl_days = Table(
    "recrawl_days",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("site", String(255), primary_key=True),
    Column("looks", Integer, nullable=False),
)

automatic_acts = Table(
    "automatic_acts",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("scope", String(160), primary_key=True),
    Column("acts", Integer, nullable=False),
)

reassessments = Table(
    "reassessments",
    metadata,
    Column("image_key", String(32), primary_key=True),
    Column("reason", String(64), nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Index(None, "queued_at", "image_key"),
)

benign_images = Table(
    "benign_images",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("image_sha256", String(64), nullable=False, unique=True),
    Column("label", String(200), nullable=False),
    Column("rows", LargeBinary, nullable=False),
    Column("added_by", String(200), nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
)

blind_reviews = Table(
    "blind_reviews",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("decision_id", ForeignKey("decisions.id"), nullable=False, unique=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("content_sha256", String(64), nullable=False),
    Column("first_verdict", String(16), nullable=False),
    Column("first_actor", String(200), nullable=False),
    Column("drawn_at", UtcDateTime, nullable=False),
    Column("given_until", UtcDateTime),
    Column("verdict", String(16)),
    Column("actor", String(200)),
    Column("reason", Text),
    Column("decided_at", UtcDateTime),
    Index(None, "decided_at", "drawn_at"),
)

appeals = Table(
    "appeals",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("party", String(16), nullable=False),
    Column("asks", String(16), nullable=False),
    Column("image_url", Text, nullable=False),
    Column("case_id", ForeignKey("cases.id"), index=True),
    Column("record_id", String(32), nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("party_key", String(255), nullable=False),
    Column("contact", Text, nullable=False),
    Column("statement", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("proof_hash", String(64), nullable=False),
    Column("proof_method", String(16), nullable=False),
    Column("proved_for", String(300), nullable=False),
    Column("proved_at", UtcDateTime),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("deadline_at", UtcDateTime, nullable=False),
    Column("decided_by", String(200)),
    Column("decided_at", UtcDateTime),
    Column("reason", Text),
    Index(None, "state", "deadline_at"),
    Index(None, "party_key", "opened_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("token_hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_on", String(10), nullable=False),
    Column("checked_on", String(10), nullable=False),
    Column("checked", Integer, nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("subject_hash", String(64), unique=True),
    Column("password_hash", String(200)),
    Column("totp_secret", LargeBinary),
    Column("totp_step", BigInteger, nullable=False),
    Column("grey", Boolean, nullable=False),
    Column("mute", Boolean, nullable=False),
    Column("blur_px", Integer, nullable=False),
    Column("break_minutes", Integer, nullable=False),
    Column("theme", String(16), nullable=False),
    Column("shown_s", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("id", String(16), nullable=False),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("signed_on_by", String(16), nullable=False),
    Column("browser", String(64), nullable=False),
    Column("notice", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

sign_on_delays = Table(
    "sign_on_delays",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", UtcDateTime, nullable=False, index=True),
    Column("retry_at", UtcDateTime, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("image_key", String(32), nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("feed", String(128), nullable=False),
    Column("signal_key", String(32), nullable=False),
    Column("hasher", String(16), nullable=False),
    Column("variant", String(64), nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
    Column("outcome", String(32)),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("case_id", "content_sha256", "feed"),
    Index(None, "signal_key"),
    Index(None, "done_at", "next_attempt_at"),
)

submission_roots = Table(
    "submission_roots",
    metadata,
    Column("submission_id", ForeignKey("submissions.id"), primary_key=True),
    Column("signal_key", String(32), primary_key=True),
    Index(None, "signal_key"),
)

direct_reports = Table(
    "direct_reports",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("case_key", String(32), nullable=False, unique=True),
    Column("form_key", String(64), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("received_at", UtcDateTime, nullable=False, index=True),
    Column("deadline_at", UtcDateTime, nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("addresses", Integer, nullable=False),
    Column("payload", LargeBinary),
    Column("admitted_at", UtcDateTime, index=True),
    Column("outcome", String(16), nullable=False),
    Column("done_by", String(200), nullable=False),
    Column("done_at", UtcDateTime),
    Index(None, "state", "deadline_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("done_at", UtcDateTime),
    Column("outcome", String(32), nullable=False),
    Column("error", String(64), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("running_since", UtcDateTime),
    Column("next_run_at", UtcDateTime),
    Column("requested_at", UtcDateTime),
    Column("basis", String(200), nullable=False),
)

job_leases = Table(
    "job_leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", _Sequence, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("place", String(64), nullable=False),
    Column("expires_at", UtcDateTime),
)

crawl_queues = Table(
    "crawl_queues",
    metadata,
    Column("stream", String(255), primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("trouble", Text, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("waiting", BigInteger, nullable=False),
    Column("oldest_at", UtcDateTime),
    Column("parked", BigInteger, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("act", String(64), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("detail", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "actor", "at"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", _Sequence, nullable=False),
    Column("hash", String(64), nullable=False),
)
