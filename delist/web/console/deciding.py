"""Verdicts by form: of one case or its group, taken back within a minute, and blind ones."""

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from delist.errors import UsageError
from delist.model import Verdict
from delist.review import Ruling
from delist.web.console.frame import Id, Reviewer, delist_of, first, said, to
from delist.web.console.words import SHORT, reason_of

router = APIRouter(include_in_schema=False, tags=["console"])

_MOST_WORDS = 2_000
Ground = Annotated[str, Form(max_length=40)]
More = Annotated[str, Form(max_length=_MOST_WORDS)]
Seen = Annotated[str, Form(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")]


class Given(BaseModel):
    """A verdict as the form sends it.

    Attributes:
        ground: a standard reason of ``words.GROUNDS``.
        more: the person's own words.
        seen: the bytes that were shown.
        said: words of people that were shown.
        group: also of near-duplicates that wait for a person.
    """

    verdict: Verdict
    ground: str = Field(max_length=40)
    more: str = Field(default="", max_length=_MOST_WORDS)
    seen: str = Field(min_length=1, max_length=64, pattern=r"^[0-9a-f]+$")
    said: int = Field(ge=0)
    group: bool = False


@router.post("/console/cases/{case_id}/decision")
def decide(
    request: Request, person: Reviewer, case_id: Id, given: Annotated[Given, Form()]
) -> RedirectResponse:
    """Put a verdict into force, and go on with the next case."""
    delist = delist_of(request)
    try:
        ruling = Ruling(
            verdict=given.verdict,
            actor=person.name,
            reason=reason_of(given.ground, given.verdict, given.more),
            seen=given.seen,
            said=given.said,
        )
        delist.viewing.check_seen(case_id, person.name)
        if given.group:
            done = delist.desk.decide_group(case_id, ruling)
            told = f"Decided with {len(done.decided)} near-duplicates"
            if done.left_out:
                told += f"; {len(done.left_out)} have to be looked at by themselves"
        else:
            delist.decide(case_id, ruling)
            told = f"Decided: {SHORT[given.verdict]}"
    except UsageError as error:
        return to(request, f"/console/cases/{case_id}", notice=said(error))
    except ValueError:
        told = "Nothing was done: that reason is for another verdict."
        return to(request, f"/console/cases/{case_id}", notice=told)
    next_id = first(delist.desk.held(person.name)) or delist.desk.take_next(person.name)
    if next_id is None:
        return to(request, "/console", notice=f"{told}. Nothing else waits for you.", undo=case_id)
    return to(request, f"/console/cases/{next_id}", notice=f"{told}.", undo=case_id)


@router.post("/console/cases/{case_id}/undo")
def undo(request: Request, person: Reviewer, case_id: Id) -> RedirectResponse:
    """Take back what one has just decided, and be shown the case again."""
    desk = delist_of(request).desk
    try:
        desk.undo(case_id, person.name)
        desk.claim(case_id, person.name)
    except UsageError as error:
        return to(request, "/console", notice=said(error))
    return to(request, f"/console/cases/{case_id}", notice="Taken back. Decide anew.")


@router.post("/console/blind")
def blind_next(request: Request, person: Reviewer) -> RedirectResponse:
    """Take a decision to make again, without seeing the first."""
    view = delist_of(request).desk.blind_next(person.name)
    if view is None:
        return to(request, "/console", notice="No blind second review waits for you.")
    return to(request, f"/console/cases/{view.file.case.id}")


@router.post("/console/blind/{review_id}")
def blind_decide(
    request: Request,
    person: Reviewer,
    review_id: Annotated[int, Path(ge=1)],
    verdict: Annotated[Verdict, Form()],
    ground: Ground,
    seen: Seen,
    more: More = "",
) -> RedirectResponse:
    """Put a blind verdict on record; whether it agrees is not told."""
    try:
        ruling = Ruling(
            verdict=verdict,
            actor=person.name,
            reason=reason_of(ground, verdict, more),
            seen=seen,
        )
        delist_of(request).desk.blind_decide(review_id, ruling)
    except (UsageError, ValueError) as error:
        notice = said(error) if isinstance(error, UsageError) else "Nothing was done."
        return to(request, "/console", notice=notice)
    return to(request, "/console", notice="Thank you. Your second look is on record.")
