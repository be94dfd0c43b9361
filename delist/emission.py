"""From what a case says to what the ledger tells result pages.

Emission compares what should be in effect with what is, and appends only the
difference. So it may be repeated after a crash, and a record appears once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from delist.model import Basis, RecordAction, RecordDraft, RecordState, SuppressionRecord
from delist.store import ledger

REASON_SUPPRESS = "intimate_image_without_consent"
REASON_WITHDRAWN = "basis_withdrawn"
REASON_DISMISSED = "dismissed_by_review"
REASON_CONTENT_CHANGED = "content_changed"
REASON_NEEDS_REVIEW = "basis_needs_review"
REASON_ON_HOLD = "basis_on_hold"
REASON_EXPIRED = "not_decided_in_time"
REASON_URL_MOVED = "url_no_longer_leads_here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """What should be in effect for a case.

    Attributes:
        image_urls: every URL that leads to the image, its own first.
        expires_at: when it ends unless a person decides; None: not before that.
    """

    state: RecordState
    basis: Basis
    image_urls: Sequence[str]
    document_id: str
    content_sha256: str
    expires_at: datetime | None = None


def emit(
    connection: Connection,
    case_id: str,
    wanted: Suppression | None,
    *,
    lift_reason: str,
    now: datetime,
) -> int:
    """Bring the ledger in line with a case, inside the caller's transaction.

    Args:
        wanted: what should be in effect, or None for nothing.
        lift_reason: reason code of what is revoked when nothing is wanted.

    Returns:
        How many records were appended.
    """
    records = ledger.of_case(connection, case_id)
    in_effect = effective(records)
    drafts = list(_revocations(in_effect, wanted, lift_reason=lift_reason))
    if wanted is not None:
        # An engine's document stays what it is where we lose sight of its image for a while.
        documents = {each.image_url: each.document_id for each in records if each.document_id}
        drafts += _suppressions(case_id, in_effect, wanted, documents)
    for draft in drafts:
        ledger.append(connection, draft, now=now)
    return len(drafts)


def effective(records: Iterable[SuppressionRecord]) -> dict[str, SuppressionRecord]:
    """Reduce records, in order, to those in effect, by image URL."""
    found: dict[str, SuppressionRecord] = {}
    for record in records:
        if record.action is RecordAction.SUPPRESS:
            found[record.image_url] = record
        else:
            found.pop(record.image_url, None)
    return found


def hidden_since(records: Sequence[SuppressionRecord], image_url: str) -> datetime | None:
    """Say since when an address has been away from results without a break; None if it is not.

    A record that takes the place of another does not begin anew: when people looked at an image
    is not told.

    Args:
        records: of one case, in order.
        image_url: canonical.
    """
    since: datetime | None = None
    for record in records:
        if record.image_url != image_url:
            continue
        if record.action is RecordAction.REVOKE:
            since = None
        elif since is None:
            since = record.effective_at
    return since


def _revocations(
    in_effect: dict[str, SuppressionRecord], wanted: Suppression | None, *, lift_reason: str
) -> Iterable[RecordDraft]:
    kept = () if wanted is None else wanted.image_urls
    reason = lift_reason if wanted is None else REASON_URL_MOVED
    for image_url, record in in_effect.items():
        if image_url not in kept:
            yield RecordDraft(
                action=RecordAction.REVOKE,
                state=record.state,
                case_id=record.case_id,
                image_url=image_url,
                document_id=record.document_id,
                content_sha256=record.content_sha256,
                reason_code=reason,
                basis=record.basis,
                supersedes=record.id,
            )


def _suppressions(
    case_id: str,
    in_effect: dict[str, SuppressionRecord],
    wanted: Suppression,
    documents: Mapping[str, str],
) -> Iterable[RecordDraft]:
    for image_url in wanted.image_urls:
        held = in_effect.get(image_url)
        draft = RecordDraft(
            action=RecordAction.SUPPRESS,
            state=wanted.state,
            case_id=case_id,
            image_url=image_url,
            document_id=wanted.document_id or documents.get(image_url, ""),
            content_sha256=wanted.content_sha256,
            reason_code=REASON_SUPPRESS,
            basis=wanted.basis,
            supersedes="" if held is None else held.id,
            expires_at=wanted.expires_at,
        )
        if held is None or _says_more(draft, held):
            yield draft


def _says_more(draft: RecordDraft, held: SuppressionRecord) -> bool:
    """Say whether a draft differs from what is in effect in more than its place.

    A policy of another version that comes to the same is no news to result pages: the record
    keeps naming the version that it was decided under.
    """
    basis = replace(draft.basis, policy_version=held.basis.policy_version)
    return (draft.state, basis, *_particulars(draft)) != (
        held.state,
        held.basis,
        *_particulars(held),
    )


def _particulars(draft: RecordDraft) -> tuple[object, ...]:
    return draft.document_id, draft.content_sha256, draft.expires_at
