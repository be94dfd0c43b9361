"""``/console/search``: by case id, address or host; what was searched is in no URL and no log."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse

from delist.errors import UsageError
from delist.review.finding import find
from delist.web.console.frame import Reviewer, delist_of, page

router = APIRouter(include_in_schema=False, tags=["console"])


@router.get("/console/search")
def ask(request: Request, person: Reviewer) -> HTMLResponse:
    """Show the form."""
    return page(request, "search.html", person, found=None, wrong="", kind=None)


@router.post("/console/search")
def search(
    request: Request, person: Reviewer, text: Annotated[str, Form(max_length=8_000)] = ""
) -> HTMLResponse:
    """Show what was found; that somebody searched is on record."""
    delist = delist_of(request)
    try:
        kind, found = find(
            delist.indexer.store,
            delist.database,
            text,
            actor=person.name,
            now=delist.clock(),
        )
    except UsageError as error:
        return page(
            request, "search.html", person, status=422, found=None, wrong=str(error), kind=None
        )
    return page(request, "search.html", person, found=found, wrong="", kind=kind)
