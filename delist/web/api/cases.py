"""Cases: the queue, one case, and what a person does with it. The token's name is the person."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from delist.model import Verdict
from delist.review import Ruling
from delist.web.api.case_shapes import (
    Cases,
    CaseSummary,
    GroupMember,
    Viewed,
    queued,
    summary,
    viewed,
)
from delist.web.api.shapes import ID_PATTERN, Given, Text, Told, answers, delist_of
from delist.web.tokens import ReviewCaller

CaseId = Annotated[str, Path(pattern=ID_PATTERN)]
_MOST = 500
_FARTHEST = 100_000

router = APIRouter(tags=["cases"])


class Decision(Given):
    """A person's verdict on the bytes that they were shown."""

    verdict: Annotated[Verdict, Field(strict=False)]
    reason: Text
    content_token: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-f]+$",
        description="As the case was shown with.",
    )
    group: bool = Field(default=False, description="Also near-duplicates that wait for a person.")


class LeftOut(Told):
    """A near-duplicate that has to be looked at by itself."""

    case_id: str
    reason: str


class Decided(Told):
    """What a decision came to."""

    case: CaseSummary
    near_duplicates: Sequence[GroupMember] = ()
    left_out: Sequence[LeftOut] = ()


@router.get("/v1/cases", responses=answers(422))
def list_cases(
    request: Request,
    _caller: ReviewCaller,
    every: Annotated[bool, Query(description="Also cases that wait for nobody.")] = False,  # noqa: FBT002 - a query
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
    offset: Annotated[int, Query(ge=0, le=_FARTHEST)] = 0,
) -> Cases:
    """List cases in the order of the queue, or all by deadline; no addresses."""
    places = delist_of(request).desk.places(awaiting_person=not every)
    return Cases(cases=[queued(place) for place in islice(places, offset, offset + limit)])


@router.post(
    "/v1/cases/next",
    responses={204: {"description": "Nothing is left for this person."}, **answers()},
    response_model=Viewed,
)
def next_case(request: Request, caller: ReviewCaller) -> Viewed | Response:
    """Take the first case that nobody is at work on, and show it; that is on record."""
    delist = delist_of(request)
    view = delist.desk.claim_next(caller.name)
    return Response(status_code=204) if view is None else viewed(delist, view)


@router.get("/v1/cases/{case_id}", responses=answers(404, 422))
def show_case(request: Request, caller: ReviewCaller, case_id: CaseId) -> Viewed:
    """Show everything about a case; that is on record."""
    delist = delist_of(request)
    return viewed(delist, delist.desk.show(case_id, caller.name))


@router.post("/v1/cases/{case_id}/claim", responses=answers(404, 409, 422))
def claim(request: Request, caller: ReviewCaller, case_id: CaseId) -> CaseSummary:
    """Take a case, or keep it longer."""
    return summary(delist_of(request).desk.claim(case_id, caller.name))


@router.post("/v1/cases/{case_id}/release", responses=answers(404, 409, 422))
def release(request: Request, caller: ReviewCaller, case_id: CaseId) -> CaseSummary:
    """Give a case back to the queue."""
    return summary(delist_of(request).desk.release(case_id, caller.name))


@router.post("/v1/cases/{case_id}/decisions", responses=answers(400, 404, 408, 409, 413, 422))
def decide(request: Request, caller: ReviewCaller, case_id: CaseId, given: Decision) -> Decided:
    """Put a verdict into force: case, ledger and feedback in one transaction."""
    delist = delist_of(request)
    ruling = Ruling(
        verdict=given.verdict, actor=caller.name, reason=given.reason, seen=given.content_token
    )
    if not given.group:
        return Decided(case=summary(delist.decide(case_id, ruling)))
    done = delist.desk.decide_group(case_id, ruling)
    return Decided(
        case=summary(done.case),
        near_duplicates=[GroupMember.model_validate(case) for case in done.decided],
        left_out=[LeftOut.model_validate(entry) for entry in done.left_out],
    )


@router.post("/v1/cases/{case_id}/undo", responses=answers(404, 409, 422))
def undo(request: Request, caller: ReviewCaller, case_id: CaseId) -> CaseSummary:
    """Take back what one has just decided."""
    return summary(delist_of(request).desk.undo(case_id, caller.name))
