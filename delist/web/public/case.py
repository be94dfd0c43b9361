"""``/case``: one's own case.

(1) It opens with two things that only its holder has (``survivors.opening``). A wrong try is
    answered with the same words, the same status, and not sooner than a right one.
(2) From then on pages hand each other a ticket, good for some minutes, in a form. Nothing secret
    stands in an address or is kept in the browser.
(3) Withdrawing wants the access code again: a page that was left open is not enough.
"""

import asyncio
from time import monotonic
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from delist import access
from delist.errors import AccessError, ReportError, UnknownCaseRefError, UsageError
from delist.reporting import as_html, survivor
from delist.reporting.pdf import as_pdf_apart
from delist.survivors import holding
from delist.survivors.opening import Opened, Way
from delist.survivors.statement import read_picture
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
from delist.web.public.tries import TriesSpentError
from delist.web.public.words import hashing_in

router = APIRouter(include_in_schema=False, tags=["public"])

TICKET_MINUTES = 15
_TICKET = "case"


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_NO_FIT = _(
    "These do not fit together. Please check both, and try again. For your safety we do not say"
    " which of them is wrong."
)
_WAIT = _("Please wait a little")
_SPENT = _(
    "There were many tries in a short time, perhaps not by you. Your case is not locked, and"
    " nothing has happened to it. You can try again in:"
)
_CLOSED = _("Your case is closed on this screen")
_TOO_OLD = _("That happens after some minutes, for your safety. Please open it again.")
_ASKED = _("We have what you asked for. Another person looks at the copy by:")
_NOT_ASKED = _(
    "That could not be done: perhaps you have asked already, or something has changed meanwhile."
    " Please look at the page again."
)
_NOT_ENDED = _("Your case was not ended: the access code does not fit, or the box is not ticked.")
_ENDED = _("You have ended your case. What you told us is erased, and we look for nothing more.")
_NO_PAPER = _("A PDF file cannot be made at the moment. You can print this page instead.")


@router.get("/case")
def form(request: Request, lang: Lang = "") -> Response:
    """Show both ways to open a case."""
    return _form(request, visitor_of(request, lang))


@router.post("/case", dependencies=[Depends(form_guard)])
async def open_case(request: Request) -> Response:
    """Open a case, or do not."""
    started = monotonic()
    fields = await fields_of(request)
    visitor = visitor_of(request, fields.text("lang"))
    try:
        opened = await run_in_threadpool(_open, request, fields)
    except TriesSpentError as error:
        return _spent(request, visitor, error.wait_s)
    except AccessError:
        opened = None
    least_s = delist_of(request).settings.web.case_answer_s
    await asyncio.sleep(max(0.0, started + least_s - monotonic()))  # (1)
    if opened is None:
        return _form(request, visitor, wrong=visitor.words.say(_NO_FIT), status=403)
    return await run_in_threadpool(_case, request, visitor, opened)


@router.post("/case/view", dependencies=[Depends(form_guard)])
async def view(request: Request) -> Response:
    """Show an open case again, perhaps in another language."""
    return await _with_ticket(request, lambda visitor, opened, _: _case(request, visitor, opened))


@router.post("/case/pdf", dependencies=[Depends(form_guard)])
async def paper(request: Request) -> Response:
    """Hand out the report as a file."""
    return await _with_ticket(request, lambda *given: _paper(request, *given))


@router.post("/case/again", dependencies=[Depends(form_guard)])
async def again(request: Request) -> Response:
    """Ask to look again at one copy."""
    return await _with_ticket(request, lambda *given: _again(request, *given))


@router.post("/case/withdraw", dependencies=[Depends(form_guard)])
async def withdraw(request: Request) -> Response:
    """End a case."""
    return await _with_ticket(request, lambda *given: _withdraw(request, *given))


def _open(request: Request, fields: Fields) -> Opened:
    """Try to open a case.

    Raises:
        AccessError: it does not open.
        TriesSpentError: too many tries.
    """
    door, reference = delist_of(request).door, fields.text("reference")
    with public_of(request).tries.one(network(request), access.as_written(reference)):
        picture = fields.text("picture")
        if not picture:
            return door.open_with_code(reference, fields.text("code"))
        try:
            image = read_picture(picture)
        except UsageError as error:
            raise AccessError(str(error)) from None
        return door.open_with_image(reference, image)


async def _with_ticket(request: Request, do: Any) -> Response:  # noqa: ANN401 - a function of three
    fields = await fields_of(request)
    visitor = visitor_of(request, fields.text("lang"))
    try:
        values = public_of(request).tickets.read(
            _TICKET, fields.text("ticket"), minutes=TICKET_MINUTES
        )
    except TicketError:
        say = visitor.words.say
        return message(
            request,
            visitor,
            heading=say(_CLOSED),
            sentences=(say(_TOO_OLD),),
            status=403,
            back="/case",
        )
    opened = Opened(case_ref=values["ref"], way=Way(values["way"]))
    answer: Response = await run_in_threadpool(do, visitor, opened, fields)
    return answer


def _again(request: Request, visitor: Visitor, opened: Opened, fields: Fields) -> Response:
    delist = delist_of(request)
    try:
        appeal = holding.ask_again(
            delist.reports,
            delist.appeal_desk,
            opened,
            fields.text("image"),
            text=fields.text("text"),
        )
    except (UsageError, AccessError):
        return _case(request, visitor, opened, bad=_NOT_ASKED)
    return _case(request, visitor, opened, good=_ASKED, until=appeal.deadline_at.isoformat())


def _withdraw(request: Request, visitor: Visitor, opened: Opened, fields: Fields) -> Response:
    if fields.text("sure") != "yes":
        return _case(request, visitor, opened, bad=_NOT_ENDED)
    try:
        with public_of(request).tries.one(network(request), opened.case_ref):
            code = fields.text("code")
            holding.withdraw(delist_of(request).reports, opened, code=code)  # (3)
    except TriesSpentError as error:
        return _spent(request, visitor, error.wait_s)
    except (AccessError, UnknownCaseRefError):
        return _case(request, visitor, opened, bad=_NOT_ENDED)
    return _case(request, visitor, opened, good=_ENDED)


def _paper(request: Request, visitor: Visitor, opened: Opened, _fields: Fields) -> Response:
    public, delist = public_of(request), delist_of(request)
    seen = holding.view(delist.reports, opened)
    wait_s = public.papers.take(network(request))
    if seen.report is None or wait_s or not public.papers_now.acquire(timeout=5):
        return _case(request, visitor, opened, bad=_NO_PAPER)
    try:
        text = as_html(seen.report, visitor.words, for_paper=True)
        content = as_pdf_apart(text, visitor.words)
    except ReportError:
        return _case(request, visitor, opened, bad=_NO_PAPER)
    finally:
        public.papers_now.release()
    # A name that says nothing, among other people's downloads.
    headers = {"Content-Disposition": 'attachment; filename="document.pdf"'}
    return Response(content, media_type="application/pdf", headers=headers)


def _case(
    request: Request,
    visitor: Visitor,
    opened: Opened,
    *,
    good: str = "",
    bad: str = "",
    until: str = "",
) -> Response:
    """Show an open case; ``good`` or ``bad`` is what came of what was asked for."""
    words = visitor.words
    seen = holding.view(delist_of(request).reports, opened)
    told = words.say(good or bad) if good or bad else ""
    return page(
        request,
        visitor,
        "case_view.html",
        status=422 if bad else 200,
        told=f"{told} {words.moment(until)}" if until else told,
        is_bad=bool(bad),
        seen=seen,
        parts=None if seen.report is None else survivor.as_parts(seen.report, words),
        ticket=public_of(request).tickets.make(_TICKET, ref=opened.case_ref, way=opened.way.value),
        minutes=TICKET_MINUTES,
        ways="form",
    )


def _form(request: Request, visitor: Visitor, *, wrong: str = "", status: int = 200) -> Response:
    return page(
        request,
        visitor,
        "case.html",
        status=status,
        wrong=wrong,
        sentences=hashing_in(visitor.words),
    )


def _spent(request: Request, visitor: Visitor, wait_s: int) -> Response:
    say = visitor.words.say
    minutes = -(-wait_s // 60)
    return message(
        request,
        visitor,
        heading=say(_WAIT),
        sentences=(f"{say(_SPENT)} {minutes} min",),
        status=429,
        back="/case",
        wait_s=wait_s,
    )
