"""``/console/shift``: what one has done and seen, breaks, and the end of a shift."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.review.shifts import pause
from delist.web.console.frame import Reviewer, delist_of, page, to

router = APIRouter(include_in_schema=False, tags=["console"])


@router.get("/console/shift")
def show_shift(request: Request, person: Reviewer) -> HTMLResponse:
    """Show one's own figures, and the way out."""
    return page(request, "shift.html", person, ended=False)


@router.post("/console/break")
def take_break(request: Request, person: Reviewer) -> RedirectResponse:
    """Begin a break: what was taken goes back to the queue."""
    delist = delist_of(request)
    pause(delist.database, person.name, ends=False, now=delist.clock())
    return to(request, "/console/break")


@router.get("/console/break")
def rest(request: Request, person: Reviewer) -> HTMLResponse:
    """Show a calm page with nothing to do on it."""
    return page(request, "break.html", person)


@router.post("/console/shift/end")
def end_shift(request: Request, person: Reviewer) -> HTMLResponse:
    """End the shift: what was taken goes back to the queue."""
    delist = delist_of(request)
    pause(delist.database, person.name, ends=True, now=delist.clock())
    return page(request, "shift.html", person, ended=True)
