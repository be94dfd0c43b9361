"""``/report``: an image is reported to us.

(1) Adults only. Whoever says otherwise is told where to go, before anything else is looked at:
    nothing is counted, stored or logged, and the form's other fields are not read.
(2) A form has a ticket, and counts once.
(3) What is not as it should be is said beside its field, and the rest stays as it was typed.
(4) Reference and code are shown in the answer to the form, and nowhere again.
"""

import secrets

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from delist.errors import FormError
from delist.survivors.statement import (
    MOST_CONTACT,
    MOST_DETAILS,
    MOST_NAME,
    MOST_PICTURES,
    Written,
    check,
)
from delist.web.people import form_guard
from delist.web.public.frame import (
    Fields,
    Visitor,
    delist_of,
    fields_of,
    message,
    network,
    page,
    public_of,
    visitor_of,
)
from delist.web.public.home import Lang
from delist.web.public.tickets import TicketError
from delist.web.public.words import hashing_in, wrong_in

router = APIRouter(include_in_schema=False, tags=["public"])

_FORM, _FORM_MINUTES = "report", 24 * 60
_ADULT, _YOUNG = "adult", "young"


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_TWICE = _("This report is with us already")
_COUNTS_ONCE = _("It came twice, and counts once.")
_NOT_AGAIN = _(
    "Its case reference and access code were shown when it came, and cannot be shown again. If"
    " you did not save them, you can make a new report. It does no harm when an image is reported"
    " twice."
)


@router.get("/report")
def form(request: Request, lang: Lang = "") -> Response:
    """Show the form."""
    return _form(request, visitor_of(request, lang), Written(), {})


@router.post("/report", dependencies=[Depends(form_guard)])
async def send(request: Request) -> Response:
    """Take a report in."""
    fields = await fields_of(request)
    visitor = visitor_of(request, fields.text("lang"))
    age = fields.text("age")
    if age == _YOUNG:  # (1)
        return page(request, visitor, "young.html")
    return await run_in_threadpool(_send, request, visitor, fields, age)


def _send(request: Request, visitor: Visitor, fields: Fields, age: str) -> Response:
    written = _written(fields)
    if age != _ADULT:
        wrong = {"age": "choose"} | _wrong(written)
        return _form(request, visitor, written, wrong, status=422)
    try:
        statement = check(written)
        ticket = public_of(request).tickets.read(_FORM, fields.text("form"), minutes=_FORM_MINUTES)
        if public_of(request).reports.take(network(request)):
            return _form(request, visitor, written, {"form": "wait"}, status=429, age=age)
        made = delist_of(request).reports.take(statement, form=ticket["id"])
    except TicketError:
        return _form(request, visitor, written, {"form": "too_old"}, status=422, age=age)
    except FormError as error:
        if error.wrong.get("form") == "sent_before":
            return _sent_before(request, visitor)
        return _form(request, visitor, written, error.wrong, status=422, age=age)
    return page(request, visitor, "received.html", made=made, ways="")  # (4)


def _form(
    request: Request,
    visitor: Visitor,
    written: Written,
    wrong: dict[str, str],
    *,
    status: int = 200,
    age: str = "",
) -> Response:
    settings = delist_of(request).settings
    return page(
        request,
        visitor,
        "report.html",
        status=status,
        written=written,
        age=age,
        wrong=wrong_in(wrong, visitor.words),
        form=public_of(request).tickets.make(_FORM, id=secrets.token_hex(16)),  # (2)
        sentences=hashing_in(visitor.words),
        most={
            "pictures": MOST_PICTURES,
            "contact": MOST_CONTACT,
            "name": MOST_NAME,
            "details": MOST_DETAILS,
        },
        hours=settings.review.hours,
        days=settings.web.report_days,
    )


def _written(fields: Fields) -> Written:
    return Written(
        role=fields.text("role"),
        pictures=fields.texts("picture"),
        addresses=fields.text("addresses"),
        details=fields.text("details"),
        good_faith=fields.text("good_faith") == "yes",
        contact=fields.text("contact"),
        name=fields.text("name"),
    )


def _wrong(written: Written) -> dict[str, str]:
    try:
        check(written)
    except FormError as error:
        return error.wrong
    return {}


def _sent_before(request: Request, visitor: Visitor) -> Response:
    say = visitor.words.say
    return message(
        request,
        visitor,
        heading=say(_TWICE),
        sentences=(say(_COUNTS_ONCE), say(_NOT_AGAIN)),
        status=409,
        back="/case",
    )
