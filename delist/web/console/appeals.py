"""``/console/appeals``: requests to look again, decided by another person than before."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.appeal_record import AppealState, Asks, Finding
from delist.appeals import deciding
from delist.errors import UsageError
from delist.rulings import person_key
from delist.web.console.deciding import More, Seen
from delist.web.console.frame import Id, Reviewer, delist_of, page, said, to

router = APIRouter(include_in_schema=False, tags=["console"])

ASKED = {
    Asks.KEEP: "keep it out of results",
    Asks.LIFT: "show it in results again",
}


@router.get("/console/appeals")
def list_appeals(
    request: Request,
    person: Reviewer,
    every: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query
) -> HTMLResponse:
    """List appeals, the next deadline first."""
    found = deciding.every(delist_of(request).appeal_desk, waiting=not every)
    return page(request, "appeals.html", person, found=found, every=every, asked=ASKED)


@router.get("/console/appeals/{appeal_id}")
def show_appeal(request: Request, person: Reviewer, appeal_id: Id) -> HTMLResponse:
    """Show one; that is on record."""
    file = deciding.show(delist_of(request).appeal_desk, appeal_id, actor=person.name)
    before = {person_key(name) for name in file.decided_before}
    return page(
        request,
        "appeal.html",
        person,
        file=file,
        appeal=file.appeal,
        case=file.case,
        asked=ASKED,
        is_open=file.appeal.state is AppealState.OPEN,
        decided_it=person_key(person.name) in before,
        findings=list(Finding),
    )


@router.post("/console/appeals/{appeal_id}/decision")
def decide_appeal(
    request: Request,
    person: Reviewer,
    appeal_id: Id,
    finding: Annotated[Finding, Form()],
    more: More,
    seen: Seen,
) -> RedirectResponse:
    """Decide one."""
    try:
        appeal = deciding.decide(
            delist_of(request).appeal_desk,
            appeal_id,
            finding,
            actor=person.name,
            reason=more,
            seen=seen,
        )
    except UsageError as error:
        return to(request, f"/console/appeals/{appeal_id}", notice=said(error))
    return to(request, "/console/appeals", notice=f"The appeal is decided: {appeal.state.value}.")
