"""``/console``: the queue with its clocks, and taking the next case from it."""

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from delist.errors import UsageError
from delist.model import CaseState
from delist.people import Role
from delist.policy import DIRECT_FEED
from delist.review.desk import Place
from delist.rulings import person_key
from delist.web.console.frame import Anybody, Id, Reviewer, delist_of, first, page, said, to

router = APIRouter(include_in_schema=False, tags=["console"])

_ON_PAGE, _MOST_LOOKED_AT = 50, 5_000
UndoOf = Annotated[str, Query(max_length=64, pattern=r"^[0-9A-Za-z_-]*$")]


class Show(StrEnum):
    """Which part of the queue is listed."""

    ALL = "all"
    OVERDUE = "overdue"
    SHOWN = "shown"
    HIDDEN = "hidden"
    SECOND = "second"
    DISPUTED = "disputed"
    DIRECT = "direct"
    MINE = "mine"


NAMES = {
    Show.ALL: "All",
    Show.OVERDUE: "Overdue",
    Show.SHOWN: "Still in results",
    Show.HIDDEN: "Out of results",
    Show.SECOND: "Second person",
    Show.DISPUTED: "Disputed",
    Show.DIRECT: "Reported to us",
    Show.MINE: "Mine",
}


@router.get("/console", response_model=None)
def show_queue(
    request: Request,
    person: Anybody,
    show: Annotated[Show, Query()] = Show.ALL,
    start: Annotated[int, Query(ge=0, le=_MOST_LOOKED_AT)] = 0,
    undo: UndoOf = "",
) -> HTMLResponse | RedirectResponse:
    """List what waits, in the order of the queue; for those who do not decide, the figures."""
    if not person.may(Role.REVIEWER):
        return to(request, "/console/figures")
    delist = delist_of(request)
    now = delist.clock()
    wanted = _filter(show, person_key(person.name), now)
    looked_at = islice(delist.desk.places(), _MOST_LOOKED_AT)
    found = list(islice(filter(wanted, looked_at), start, start + _ON_PAGE + 1))
    return page(
        request,
        "queue.html",
        person,
        undo=undo,
        places_found=found[:_ON_PAGE],
        more=start + _ON_PAGE if len(found) > _ON_PAGE else None,
        counts=delist.desk.counts(),
        held=delist.desk.held(person.name),
        show=show,
        names=NAMES,
        blind_waiting=delist.desk.agreement(now).waiting,
        nearest=nearest_bits,
    )


@router.post("/console/next")
def next_case(request: Request, person: Reviewer) -> RedirectResponse:
    """Take the next case; one that is held already comes first."""
    desk = delist_of(request).desk
    case_id = first(desk.held(person.name)) or desk.take_next(person.name)
    if case_id is None:
        return to(request, "/console", notice="Nothing waits that you could decide.")
    return to(request, f"/console/cases/{case_id}")


@router.post("/console/cases/{case_id}/claim")
def claim(request: Request, person: Reviewer, case_id: Id) -> RedirectResponse:
    """Take one case."""
    try:
        delist_of(request).desk.claim(case_id, person.name)
    except UsageError as error:
        return to(request, "/console", notice=said(error))
    return to(request, f"/console/cases/{case_id}")


@router.post("/console/cases/{case_id}/release")
def release(request: Request, person: Reviewer, case_id: Id) -> RedirectResponse:
    """Give one back."""
    try:
        delist_of(request).desk.release(case_id, person.name)
    except UsageError as error:
        return to(request, "/console", notice=said(error))
    return to(request, "/console", notice="The case is back in the queue.")


@router.get("/console/ahead")
def ahead(request: Request, person: Reviewer) -> Response:
    """Prepare the next case while this one is looked at: its evidence, never its image.

    Nothing of it is sent but that it is there: nobody has looked at it yet.
    """
    delist = delist_of(request)
    case = delist.desk.peek(person.name)
    if case is None:
        return Response("Nothing waits behind this case.", media_type="text/plain")
    delist.evidence(case)
    return Response("The next case is ready.", media_type="text/plain")


def nearest_bits(place: Place) -> int | None:
    """Return the distance of a case's nearest match."""
    case = place.case
    return min((m.distance_bits for m in case.active_matches or case.matches), default=None)


def _filter(show: Show, person: str, now: datetime) -> Callable[[Place], bool]:
    tests: dict[Show, Callable[[Place], bool]] = {
        Show.ALL: lambda _place: True,
        Show.OVERDUE: lambda place: place.case.deadline_at <= now,
        Show.SHOWN: lambda place: place.case.state is CaseState.OPEN,
        Show.HIDDEN: lambda place: place.case.state is CaseState.SUPPRESSED,
        Show.SECOND: lambda place: place.case.pending is not None,
        Show.DISPUTED: lambda place: place.case.disputed,
        Show.DIRECT: lambda place: DIRECT_FEED in set(_feeds(place)),
        Show.MINE: lambda place: person_key(place.claimed_by) == person,
    }
    return tests[show]


def _feeds(place: Place) -> Iterator[str]:
    yield from (match.feed for match in place.case.active_matches)
