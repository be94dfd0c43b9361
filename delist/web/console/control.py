"""``/console/brakes`` and ``/console/sinks``: what is stopped, and who has not heard yet."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.errors import UsageError
from delist.model import BrakeKind
from delist.people import Role
from delist.web.console.frame import Lead, Reviewer, Watcher, delist_of, page, said, to

router = APIRouter(include_in_schema=False, tags=["console"])

CODES = {
    "kill_switch": "stopped by a person",
    "blast_radius": "it suddenly matched many unrelated sites",
    "incoherent": "the images that it matches do not resemble each other",
    "md5_collision": "two different files have its MD5",
}


@router.get("/console/brakes")
def list_brakes(
    request: Request,
    person: Reviewer,
    every: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query
) -> HTMLResponse:
    """List signals and feeds that are stopped."""
    delist = delist_of(request)
    return page(
        request,
        "brakes.html",
        person,
        found=delist.governance.brakes(every=every),
        every=every,
        codes=CODES,
        may_release=person.may(Role.LEAD),
    )


@router.post("/console/brakes/release")
def release_brake(
    request: Request,
    person: Lead,
    kind: Annotated[BrakeKind, Form()],
    name: Annotated[str, Form(min_length=1, max_length=128)],
    more: Annotated[str, Form(min_length=1, max_length=2_000)],
) -> RedirectResponse:
    """Release what was stopped."""
    try:
        done = delist_of(request).governance.release(kind, name, actor=person.name, reason=more)
    except UsageError as error:
        return to(request, "/console/brakes", notice=said(error))
    told = f"Released. {done.cases} cases are looked at again."
    return to(request, "/console/brakes", notice=told)


@router.get("/console/sinks")
def list_sinks(request: Request, person: Watcher) -> HTMLResponse:
    """List who follows the ledger: lag, clock, trouble."""
    sinks = delist_of(request).sinks
    found = sinks.followers.standings()
    begun = {standing.name for standing in found}
    return page(
        request,
        "sinks.html",
        person,
        found=found,
        not_begun=[name for name in sinks.names if name not in begun],
    )
