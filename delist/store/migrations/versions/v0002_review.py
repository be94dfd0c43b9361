"""Policy, brakes, review by several people, appeals, giving back, audit, the log. Frozen."""

import sqlalchemy as sa
from alembic import op

from delist.store.migrations.committing import commit_to_old_records

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = "the audit log is append-only"


def upgrade() -> None:
    """Bring the first layout up to the second."""
    _cases()
    _matches_and_decisions()
    _policy_and_brakes()
    _people()
    _submissions()
    _audit_log()
    _long_sequences()
    _verifiable_log()
    _api_tokens()
    _consumers()
    _signing_on()
    _direct_reports()
    _periodic_work()
    _recrawls()


def _cases() -> None:
    """Add what a queue of several people needs; what is held already gets its place in it.

    Defaults stay in the layout: SQLite could lose them only by making the table anew, which
    foreign keys forbid inside a transaction.

    Sites and groups are filled when a case is assessed next, which ``reassessments`` asks for.
    """
    added = (
        sa.Column("site", sa.String(255), nullable=False, server_default=""),
        sa.Column("path", sa.Text, nullable=False, server_default=""),
        sa.Column("queue_at", _TIME, nullable=False, server_default="1970-01-01 00:00:00+00:00"),
        sa.Column("risk", sa.Integer, nullable=False, server_default="0"),
        sa.Column("reach", sa.Integer, nullable=False, server_default="1"),
        sa.Column("group_id", sa.String(32), nullable=False, server_default=""),
        sa.Column("pending", sa.String(16)),
        sa.Column("pending_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("disputed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("claimed_by", sa.String(200), nullable=False, server_default=""),
        sa.Column("claimed_until", _TIME),
        sa.Column("confirmed_sha256", sa.String(64), nullable=False, server_default=""),
        sa.Column("awaits_person", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    for column in added:
        op.add_column("cases", column)
    cases = sa.table(
        "cases",
        sa.column("id"),
        sa.column("state"),
        sa.column("verdict"),
        sa.column("deadline_at"),
        sa.column("queue_at"),
        sa.column("group_id"),
        sa.column("awaits_person"),
    )
    undecided = sa.or_(cases.c.verdict.is_(None), cases.c.verdict == "unsure")
    awaits = sa.or_(cases.c.state == "open", (cases.c.state == "suppressed") & undecided)
    op.execute(cases.update().values(queue_at=cases.c.deadline_at, group_id=cases.c.id))
    op.execute(cases.update().where(awaits).values(awaits_person=sa.true()))
    op.create_index("ix_cases_group_id", "cases", ["group_id"])
    op.create_index(
        "ix_cases_awaits_person_queue_at_id", "cases", ["awaits_person", "queue_at", "id"]
    )
    op.create_index("ix_cases_deadline_at_id", "cases", ["deadline_at", "id"])
    op.create_index("ix_cases_site_verdict", "cases", ["site", "verdict"])


def _matches_and_decisions() -> None:
    op.add_column("case_matches", sa.Column("weighted_bits", sa.Float))
    added = (
        sa.Column("kind", sa.String(16), nullable=False, server_default="policy"),
        sa.Column("needs", sa.Integer, nullable=False, server_default="1"),
        sa.Column("checks", sa.Text, nullable=False, server_default=""),
    )
    for column in added:
        op.add_column("decisions", column)
    decisions = sa.table("decisions", sa.column("verdict"), sa.column("kind"))
    op.execute(decisions.update().where(decisions.c.verdict.is_not(None)).values(kind="review"))


def _policy_and_brakes() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("applied_by", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("applied_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
    )
    op.create_table(
        "brakes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("set_by", sa.String(200), nullable=False),
        sa.Column("set_at", _TIME, nullable=False),
        sa.Column("released_by", sa.String(200)),
        sa.Column("released_at", _TIME),
        sa.Column("release_reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_brakes"),
    )
    op.create_index("ix_brakes_kind_name", "brakes", ["kind", "name"])
    op.create_index("ix_brakes_released_at", "brakes", ["released_at"])
    op.create_table(
        "automatic_acts",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("scope", sa.String(160), nullable=False),
        sa.Column("acts", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("day", "scope", name="pk_automatic_acts"),
    )
    op.create_table(
        "reassessments",
        sa.Column("image_key", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("queued_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("image_key", name="pk_reassessments"),
    )
    op.create_index(
        "ix_reassessments_queued_at_image_key", "reassessments", ["queued_at", "image_key"]
    )
    op.execute(
        "INSERT INTO reassessments (image_key, reason, queued_at) "
        "SELECT image_key, 'migrated', opened_at FROM cases"
    )
    op.create_table(
        "benign_images",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("rows", sa.LargeBinary, nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_benign_images"),
        sa.UniqueConstraint("image_sha256", name="uq_benign_images_image_sha256"),
    )


def _people() -> None:
    op.create_table(
        "blind_reviews",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("decision_id", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("first_verdict", sa.String(16), nullable=False),
        sa.Column("first_actor", sa.String(200), nullable=False),
        sa.Column("drawn_at", _TIME, nullable=False),
        sa.Column("given_until", _TIME),
        sa.Column("verdict", sa.String(16)),
        sa.Column("actor", sa.String(200)),
        sa.Column("reason", sa.Text),
        sa.Column("decided_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_blind_reviews"),
        sa.UniqueConstraint("decision_id", name="uq_blind_reviews_decision_id"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decisions.id"], name="fk_blind_reviews_decision_id"
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_blind_reviews_case_id"),
    )
    op.create_index("ix_blind_reviews_case_id", "blind_reviews", ["case_id"])
    op.create_index(
        "ix_blind_reviews_decided_at_drawn_at", "blind_reviews", ["decided_at", "drawn_at"]
    )
    op.create_table(
        "appeals",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("party", sa.String(16), nullable=False),
        sa.Column("asks", sa.String(16), nullable=False),
        sa.Column("image_url", sa.Text, nullable=False),
        sa.Column("case_id", sa.String(32)),
        sa.Column("record_id", sa.String(32), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("party_key", sa.String(255), nullable=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("proof_hash", sa.String(64), nullable=False),
        sa.Column("proof_method", sa.String(16), nullable=False),
        sa.Column("proved_for", sa.String(300), nullable=False),
        sa.Column("proved_at", _TIME),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("deadline_at", _TIME, nullable=False),
        sa.Column("decided_by", sa.String(200)),
        sa.Column("decided_at", _TIME),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_appeals"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_appeals_case_id"),
    )
    op.create_index("ix_appeals_case_id", "appeals", ["case_id"])
    op.create_index("ix_appeals_state_deadline_at", "appeals", ["state", "deadline_at"])
    op.create_index("ix_appeals_party_key_opened_at", "appeals", ["party_key", "opened_at"])


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("image_key", sa.String(32), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("feed", sa.String(128), nullable=False),
        sa.Column("signal_key", sa.String(32), nullable=False),
        sa.Column("hasher", sa.String(16), nullable=False),
        sa.Column("variant", sa.String(64), nullable=False),
        sa.Column("queued_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=False),
        sa.Column("done_at", _TIME),
        sa.Column("outcome", sa.String(32)),
        sa.Column("ended_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_submissions"),
        sa.UniqueConstraint(
            "case_id",
            "content_sha256",
            "feed",
            name="uq_submissions_case_id_content_sha256_feed",
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_submissions_case_id"),
    )
    op.create_index("ix_submissions_case_id", "submissions", ["case_id"])
    op.create_index("ix_submissions_signal_key", "submissions", ["signal_key"])
    op.create_index(
        "ix_submissions_done_at_next_attempt_at", "submissions", ["done_at", "next_attempt_at"]
    )
    op.create_table(
        "submission_roots",
        sa.Column("submission_id", sa.Integer, nullable=False),
        sa.Column("signal_key", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", "signal_key", name="pk_submission_roots"),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name="fk_submission_roots_submission_id"
        ),
    )
    op.create_index("ix_submission_roots_signal_key", "submission_roots", ["signal_key"])


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("act", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_subject", "audit_log", ["subject"])
    op.create_index("ix_audit_log_actor_at", "audit_log", ["actor", "at"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{act.lower()} BEFORE {act} ON audit_log "
                f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()"
    )


def _long_sequences() -> None:
    """Numbers that grow for ever get 64 bits, which SQLite's integers have anyway."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in ("log_positions", "suppression_records", "ledger_head"):
        op.alter_column(table, "sequence", existing_type=sa.Integer, type_=sa.BigInteger)


def _api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("used_on", sa.String(10), nullable=False),
        sa.Column("checked_on", sa.String(10), nullable=False),
        sa.Column("checked", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
    )


def _signing_on() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("subject_hash", sa.String(64)),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("totp_secret", sa.LargeBinary),
        sa.Column("totp_step", sa.BigInteger, nullable=False),
        sa.Column("grey", sa.Boolean, nullable=False),
        sa.Column("mute", sa.Boolean, nullable=False),
        sa.Column("blur_px", sa.Integer, nullable=False),
        sa.Column("break_minutes", sa.Integer, nullable=False),
        sa.Column("theme", sa.String(16), nullable=False),
        sa.Column("shown_s", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("disabled_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
        sa.UniqueConstraint("name", name="uq_people_name"),
        sa.UniqueConstraint("subject_hash", name="uq_people_subject_hash"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name="pk_recovery_codes"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_recovery_codes_person_id"),
    )
    op.create_index("ix_recovery_codes_person_id", "recovery_codes", ["person_id"])
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("person_id", sa.String(16), nullable=False),
        sa.Column("signed_on_by", sa.String(16), nullable=False),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("notice", sa.String(200), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name="fk_sessions_person_id"),
    )
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "sign_on_delays",
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failed_at", _TIME, nullable=False),
        sa.Column("retry_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_sign_on_delays"),
    )
    op.create_index("ix_sign_on_delays_failed_at", "sign_on_delays", ["failed_at"])


def _direct_reports() -> None:
    op.create_table(
        "direct_reports",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("case_key", sa.String(32), nullable=False),
        sa.Column("form_key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("deadline_at", _TIME, nullable=False),
        sa.Column("pictures", sa.Integer, nullable=False),
        sa.Column("addresses", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("admitted_at", _TIME),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("done_by", sa.String(200), nullable=False),
        sa.Column("done_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_direct_reports"),
        sa.UniqueConstraint("case_key", name="uq_direct_reports_case_key"),
        sa.UniqueConstraint("form_key", name="uq_direct_reports_form_key"),
    )
    for columns in (["received_at"], ["admitted_at"], ["state", "deadline_at"]):
        op.create_index("_".join(["ix_direct_reports", *columns]), "direct_reports", columns)


def _verifiable_log() -> None:
    """Give every record its commitment (ADR 0032); its hash stays as format 1 made it."""
    added = (
        sa.Column("format", sa.Integer, nullable=False, server_default="1"),
        sa.Column("nonce", sa.String(64)),
        sa.Column("commitment", sa.String(64), nullable=False, server_default=""),
        sa.Column("expires_at", _TIME),
        sa.Column("recheck_at", _TIME),
        sa.Column("erased_at", _TIME),
        sa.Column("subject", sa.BigInteger, nullable=False, server_default="0"),
    )
    for column in added:
        op.add_column("suppression_records", column)
    op.create_index("ix_suppression_records_subject", "suppression_records", ["subject"])
    op.create_table(
        "ledger_tiles",
        sa.Column("level", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_ledger_tiles"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("ledger_hash", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("signed_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoints"),
    )
    commit_to_old_records(op.get_bind())


def _consumers() -> None:
    op.create_table(
        "consumers",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("position", _SEQUENCE, nullable=False),
        sa.Column("handed", _SEQUENCE, nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.Column("moved_at", _TIME),
        sa.Column("seen_at", _TIME),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=False),
        sa.Column("trouble", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_consumers"),
    )
    op.create_table(
        "set_aside",
        sa.Column("consumer", sa.String(64), nullable=False),
        sa.Column("sequence", _SEQUENCE, autoincrement=False, nullable=False),
        sa.Column("subject", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "sequence", name="pk_set_aside"),
        sa.ForeignKeyConstraint(["consumer"], ["consumers.name"], name="fk_set_aside_consumer"),
    )
    op.create_index("ix_set_aside_consumer_subject", "set_aside", ["consumer", "subject"])


def _periodic_work() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(96), nullable=False),
        sa.Column("started_at", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("done_at", _TIME),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("running_since", _TIME),
        sa.Column("next_run_at", _TIME),
        sa.Column("requested_at", _TIME),
        sa.Column("basis", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_table(
        "job_leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("number", _SEQUENCE, nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("expires_at", _TIME),
        sa.PrimaryKeyConstraint("name", name="pk_job_leases"),
    )
    op.create_table(
        "crawl_queues",
        sa.Column("stream", sa.String(255), nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("trouble", sa.Text, nullable=False),
        sa.Column("answered_at", _TIME),
        sa.Column("waiting", sa.BigInteger, nullable=False),
        sa.Column("oldest_at", _TIME),
        sa.Column("parked", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("stream", name="pk_crawl_queues"),
    )


def _recrawls() -> None:
    op.create_table(
        "recrawls",
        sa.Column("url_key", sa.String(32), nullable=False),
        sa.Column("image_url", sa.Text, nullable=False),
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("lifted_at", _TIME),
        sa.Column("next_at", _TIME, nullable=False),
        sa.Column("looked_at", _TIME),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("streak", sa.Integer, nullable=False),
        sa.Column("since", _TIME),
        sa.PrimaryKeyConstraint("url_key", name="pk_recrawls"),
    )
    op.create_index("ix_recrawls_next_at", "recrawls", ["next_at"])
    op.create_table(
        "recrawl_days",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("day", "site", name="pk_recrawl_days"),
    )
