"""What is answered of a case: no digest, no case reference, no hash of the image's bytes.

Lists name no address. One case does, since whoever decides has to know what about.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import Field

from delist.build import Delist
from delist.model import Case, CaseMatch, CaseState, Verdict
from delist.review.desk import CaseView, Place
from delist.web.api.shapes import Told


class CaseSummary(Told):
    """Where a case stands, without any address."""

    id: str
    state: CaseState
    verdict: Verdict | None
    pending: Verdict | None = Field(description="One person's verdict that a second has to share.")
    disputed: bool
    awaits_person: bool
    deadline_at: datetime
    risk: int
    reach: int
    claimed_by: str


class QueuedCase(CaseSummary):
    """A case in the queue."""

    needs_second: bool
    group_size: int
    distance_bits: int | None


class Cases(Told):
    """Cases in the order of the queue."""

    cases: list[QueuedCase]


class GroupMember(Told):
    """A near-duplicate."""

    id: str
    state: CaseState
    verdict: Verdict | None


class MatchShape(Told):
    """One signal that the image matches or matched."""

    signal_key: str
    feed: str
    distance_bits: int
    threshold_bits: int
    weighted_bits: float | None
    hasher: str
    variant: str
    quality: int
    matched_at: datetime
    support: str | None = Field(default=None, description="Null in a blind second review.")
    evidence: dict[str, Any] = Field(description="What else can be said about the match.")


class DecisionShape(Told):
    """One decision, of the policy or of a person."""

    verdict: Verdict | None
    action: str
    actor: str
    policy_version: str
    reason: str
    decided_at: datetime
    kind: str


class RecordShape(Told):
    """One record of the ledger."""

    sequence: int
    id: str
    action: str
    state: str
    scope: str
    reason_code: str
    effective_at: datetime
    supersedes: str


class Viewed(Told):
    """A case as a person sees it.

    In a blind second review (`blind_review` is its number) nothing of what was decided is told.
    """

    id: str
    content_token: str = Field(description="Hand it back with the decision.")
    blind_review: int | None
    image_url: str
    alias_urls: list[str]
    page_urls: list[str]
    provenance: list[str]
    reach: int
    matches: list[MatchShape]
    case: CaseSummary | None = None
    needs_second: bool | None = None
    group: Sequence[GroupMember] = ()
    checks: Sequence[Any] = ()
    decisions: Sequence[DecisionShape] = ()
    records: Sequence[RecordShape] = ()


def summary(case: Case) -> CaseSummary:
    """Say where a case stands."""
    return CaseSummary.model_validate(case)


def queued(place: Place) -> QueuedCase:
    """Say where a case stands in the queue."""
    case = place.case
    nearest = min((m.distance_bits for m in case.active_matches or case.matches), default=None)
    values = summary(case).model_dump() | {"claimed_by": place.claimed_by}
    return QueuedCase(
        **values,
        needs_second=place.needs_second,
        group_size=place.group_size,
        distance_bits=nearest,
    )


def viewed(delist: Delist, view: CaseView) -> Viewed:
    """Write everything that a person may see of a case."""
    file, case, blind = view.file, view.file.case, view.blind_review is not None
    evidence = delist.evidence(case)
    shown = Viewed(
        id=case.id,
        content_token=view.token,
        blind_review=view.blind_review,
        image_url=case.image_url,
        alias_urls=list(file.alias_urls),
        page_urls=list(file.page_urls),
        provenance=[] if blind else list(file.provenance),
        reach=case.reach,
        matches=[
            _match(match, asdict(evidence[match.signal_key]), blind) for match in case.matches
        ],
    )
    if blind:
        return shown
    checks = [entry.checks for entry in file.decisions if entry.checks]
    return shown.model_copy(
        update={
            "case": summary(case),
            "needs_second": view.needs_second,
            "group": [GroupMember.model_validate(member) for member in view.members],
            "checks": json.loads(checks[-1]) if checks else [],
            "decisions": [DecisionShape.model_validate(entry) for entry in file.decisions],
            "records": [RecordShape.model_validate(record) for record in file.records],
        }
    )


def _match(match: CaseMatch, evidence: dict[str, Any], blind: bool) -> MatchShape:  # noqa: FBT001 - private
    keys = {"image_key", "signal_key"}
    values = asdict(match) | {
        "support": None if blind else match.support.value,
        "evidence": {name: value for name, value in evidence.items() if name not in keys},
    }
    return MatchShape.model_validate({name: values[name] for name in MatchShape.model_fields})
