"""The first layout. Frozen: later layouts are modules of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "cases",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("image_key", sa.String(32), nullable=False),
        sa.Column("image_url", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("opened_at", time, nullable=False),
        sa.Column("deadline_at", time, nullable=False),
        sa.Column("changed_at", time, nullable=False),
        sa.Column("decided_at", time),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
        sa.UniqueConstraint("image_key", name="uq_cases_image_key"),
    )
    op.create_index("ix_cases_state_deadline_at", "cases", ["state", "deadline_at"])
    op.create_table(
        "case_matches",
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("signal_key", sa.String(32), nullable=False),
        sa.Column("feed", sa.String(128), nullable=False),
        sa.Column("distance_bits", sa.Integer, nullable=False),
        sa.Column("threshold_bits", sa.Integer, nullable=False),
        sa.Column("hasher", sa.String(16), nullable=False),
        sa.Column("variant", sa.String(64), nullable=False),
        sa.Column("quality", sa.Integer, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("support", sa.String(16), nullable=False),
        sa.Column("matched_at", time, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "signal_key", name="pk_case_matches"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_matches_case_id"),
    )
    op.create_index("ix_case_matches_signal_key", "case_matches", ["signal_key"])
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("policy_version", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("decided_at", time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_decisions_case_id"),
    )
    op.create_index("ix_decisions_case_id", "decisions", ["case_id"])
    op.create_table(
        "suppression_records",
        sa.Column("sequence", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("image_url", sa.Text, nullable=False),
        sa.Column("document_id", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("reason_code", sa.String(64), nullable=False),
        sa.Column("basis_feed", sa.String(128), nullable=False),
        sa.Column("basis_signal", sa.String(32), nullable=False),
        sa.Column("basis_distance_bits", sa.Integer, nullable=False),
        sa.Column("basis_hasher", sa.String(16), nullable=False),
        sa.Column("basis_variant", sa.String(64), nullable=False),
        sa.Column("basis_policy_version", sa.String(64), nullable=False),
        sa.Column("effective_at", time, nullable=False),
        sa.Column("supersedes", sa.String(32), nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_suppression_records"),
        sa.UniqueConstraint("id", name="uq_suppression_records_id"),
    )
    op.create_index("ix_suppression_records_case_id", "suppression_records", ["case_id"])
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_head"),
    )
    op.create_table(
        "log_positions",
        sa.Column("log", sa.String(32), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("log", name="pk_log_positions"),
    )
    op.create_table(
        "access_codes",
        sa.Column("case_key", sa.String(32), nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("issued_at", time, nullable=False),
        sa.PrimaryKeyConstraint("case_key", name="pk_access_codes"),
    )
    op.create_table(
        "feedback_outbox",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("feed", sa.String(128), nullable=False),
        sa.Column("signal_key", sa.String(32), nullable=False),
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("queued_at", time, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", time, nullable=False),
        sa.Column("done_at", time),
        sa.Column("outcome", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name="pk_feedback_outbox"),
    )
    op.create_index("ix_feedback_outbox_signal_key", "feedback_outbox", ["signal_key"])
    op.create_index(
        "ix_feedback_outbox_done_at_next_attempt_at",
        "feedback_outbox",
        ["done_at", "next_attempt_at"],
    )
