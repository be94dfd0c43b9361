"""Appeals: taken in for a site's owner, proved, looked at, decided by another person.

Survivors ask on their own page with case reference and access code, not with a token.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from delist import appeals
from delist.appeal_record import Appeal, AppealState, Asks, Finding, Party
from delist.appeals import deciding
from delist.model import CaseState, Verdict
from delist.site_proof import SiteFetch
from delist.web.api.case_shapes import DecisionShape
from delist.web.api.shapes import ID_PATTERN, Given, Text, Told, Url, answers, delist_of
from delist.web.tokens import ReviewCaller

AppealId = Annotated[str, Path(pattern=ID_PATTERN)]
_MOST = 500

router = APIRouter(tags=["appeals"])


class LookAgain(Given):
    """What a site's owner asks for."""

    url: Url
    contact: str = Field(
        min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$"
    )
    text: str = Field(
        min_length=1,
        max_length=4_000,
        pattern=r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\s][^\x00-\x09\x0b-\x1f\x7f-\x9f]*$",
    )


class ToProve(Told):
    """How control of the site is proved; the same whatever the address is."""

    appeal_id: str
    token: str = Field(description="Shown this once.")
    places: list[str]
    until: datetime


class AppealSummary(Told):
    """Where an appeal stands, without address, contact and text."""

    id: str
    party: Party
    asks: Asks
    state: AppealState
    case_id: str | None
    opened_at: datetime
    deadline_at: datetime
    decided_by: str | None
    decided_at: datetime | None


class Appeals(Told):
    """Appeals, the next deadline first."""

    appeals: list[AppealSummary]


class ShownAppeal(AppealSummary):
    """What the person who decides has to see."""

    image_url: str
    contact: str
    statement: str
    seen: str = Field(description="Hand it back with the decision.")
    case_state: CaseState | None
    verdict: Verdict | None
    references: int
    decided_before: list[str]
    decisions: list[DecisionShape]


class Outcome(Given):
    """Whether the decision before stands or is reversed."""

    outcome: Annotated[Finding, Field(strict=False)]
    reason: Text
    seen: str = Field(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")


@router.get("/v1/appeals", responses=answers(422))
def list_appeals(
    request: Request,
    _caller: ReviewCaller,
    every: Annotated[bool, Query(description="Also those not proved, or decided.")] = False,  # noqa: FBT002 - a query
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> Appeals:
    """List appeals that wait for a decision; no addresses."""
    found = deciding.every(delist_of(request).appeal_desk, waiting=not every)
    return Appeals(appeals=[_summary(appeal) for appeal in found[:limit]])


@router.post("/v1/appeals", responses=answers(400, 408, 409, 413, 422), status_code=201)
def open_appeal(request: Request, _caller: ReviewCaller, given: LookAgain) -> ToProve:
    """Take in what a site's owner asks for; nothing is looked up."""
    desk = delist_of(request).appeal_desk
    made = appeals.open_for_site(desk, given.url, contact=given.contact, text=given.text)
    return ToProve.model_validate(made)


@router.post("/v1/appeals/{appeal_id}/prove", responses=answers(404, 409, 422))
def prove(request: Request, _caller: ReviewCaller, appeal_id: AppealId) -> AppealSummary:
    """Look for the token on the site: at most six public places, never a private address."""
    return _summary(appeals.prove(delist_of(request).appeal_desk, appeal_id, SiteFetch()))


@router.get("/v1/appeals/{appeal_id}", responses=answers(404, 422))
def show_appeal(request: Request, caller: ReviewCaller, appeal_id: AppealId) -> ShownAppeal:
    """Show everything about an appeal; that is on record."""
    file = deciding.show(delist_of(request).appeal_desk, appeal_id, actor=caller.name)
    appeal, case = file.appeal, file.case
    return ShownAppeal(
        **_summary(appeal).model_dump(),
        image_url=appeal.image_url,
        contact=appeal.contact,
        statement=appeal.statement,
        seen=file.seen,
        case_state=None if case is None else case.state,
        verdict=None if case is None else case.verdict,
        references=file.references,
        decided_before=list(file.decided_before),
        decisions=[DecisionShape.model_validate(entry) for entry in file.decisions],
    )


@router.post("/v1/appeals/{appeal_id}/decision", responses=answers(400, 404, 408, 409, 413, 422))
def decide(
    request: Request, caller: ReviewCaller, appeal_id: AppealId, given: Outcome
) -> AppealSummary:
    """Decide an appeal; results follow at once."""
    appeal = deciding.decide(
        delist_of(request).appeal_desk,
        appeal_id,
        given.outcome,
        actor=caller.name,
        reason=given.reason,
        seen=given.seen,
    )
    return _summary(appeal)


def _summary(appeal: Appeal) -> AppealSummary:
    return AppealSummary.model_validate(appeal)
