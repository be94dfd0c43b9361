"""``/``: what this is, what it can and cannot do, and three ways on."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from delist.reporting.survivor import CANNOT_SEE
from delist.web.public.frame import delist_of, page, visitor_of

router = APIRouter(include_in_schema=False, tags=["public"])

Lang = Annotated[str, Query(max_length=35)]


@router.get("/")
def home(request: Request, lang: Lang = "") -> Response:
    """Show the first page."""
    visitor = visitor_of(request, lang)
    return page(
        request,
        visitor,
        "home.html",
        hours=delist_of(request).settings.review.hours,
        cannot_see=[visitor.words.say(sentence) for sentence in CANNOT_SEE],
    )
