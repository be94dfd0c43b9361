"""``/appeal``: a website's owner asks for another look.

(1) Asking is answered the same whatever the address is: nothing is looked up.
(2) Once control of the website is proved, the answer is the same whether there is a record or
    not. It goes to the contact that was given, from a person, or there is none. So nobody learns
    here which addresses are away from results, not even of their own website.
(3) Looking for a proof fetches from the website, never from a private address, and holds a thread:
    few at a time, so many an hour of one network, twenty for each appeal.
"""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from delist import appeals
from delist.errors import ProofError, TriesUsedError, UnknownAppealError, UsageError
from delist.site_proof import FILE_PATH, META_NAME
from delist.survivors.statement import read_address
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
from delist.web.public.words import wrong_in
from indexer.errors import InvalidUrlError

router = APIRouter(include_in_schema=False, tags=["public"])

_MOST = {"url": 8_000, "contact": 500, "text": 4_000}


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


_UNKNOWN = _("We do not know this number")
_LAPSED = _("It may be mistyped, or the time to show the proof is over. You can ask anew.")
_NOT_NOW = _("Not possible at the moment")
_LATER = _("There were too many tries, or too many requests of this website. Please come back.")


@router.get("/appeal")
def form(request: Request, lang: Lang = "") -> Response:
    """Show the form."""
    return _form(request, visitor_of(request, lang), {}, {})


@router.post("/appeal", dependencies=[Depends(form_guard)])
async def ask(request: Request) -> Response:
    """Take in what is asked, and give out a token."""
    fields = await fields_of(request)
    visitor = visitor_of(request, fields.text("lang"))
    return await run_in_threadpool(_ask, request, visitor, fields)


@router.post("/appeal/prove", dependencies=[Depends(form_guard)])
async def prove(request: Request) -> Response:
    """Look for the token on the website."""
    fields = await fields_of(request)
    visitor = visitor_of(request, fields.text("lang"))
    return await run_in_threadpool(_prove, request, visitor, fields.text("appeal").strip())


def _ask(request: Request, visitor: Visitor, fields: Fields) -> Response:
    given = {name: fields.text(name).replace("\r\n", "\n").strip() for name in _MOST}
    wrong = _wrong(given)
    if wrong:
        return _form(request, visitor, given, wrong, status=422)
    if public_of(request).appeals.take(network(request)):
        return _form(request, visitor, given, {"form": "wait"}, status=429)
    made = appeals.open_for_site(
        delist_of(request).appeal_desk, given["url"], contact=given["contact"], text=given["text"]
    )
    return page(
        request,
        visitor,
        "appeal_token.html",
        made=made,
        files=[place for place in made.places if place.endswith(FILE_PATH)],
        fronts=[place for place in made.places if not place.endswith(FILE_PATH)],
        meta_name=META_NAME,
        until=made.until.isoformat(),
        ways="",
    )


def _prove(request: Request, visitor: Visitor, appeal_id: str) -> Response:
    public, delist, say = public_of(request), delist_of(request), visitor.words.say
    if public.appeals.take(network(request)) or not public.proofs_now.acquire(timeout=2):  # (3)
        return _told(request, visitor, _NOT_NOW, _LATER, status=429)
    reasons: tuple[str, ...] = ()
    try:
        appeals.prove(delist.appeal_desk, appeal_id, public.fetch)
    except UnknownAppealError:
        return _told(request, visitor, _UNKNOWN, _LAPSED, status=404)
    except ProofError as error:
        reasons = tuple(str(error).partition(": ")[2].split("; ")) or (say(_NOT_NOW),)
    except TriesUsedError:
        return _told(request, visitor, _NOT_NOW, _LATER, status=429)
    except UsageError:
        # Proved, and one waits already, or the quota is used up: that would tell of a record.
        reasons = ()
    finally:
        public.proofs_now.release()
    return page(  # (2)
        request,
        visitor,
        "appeal_answer.html",
        status=409 if reasons else 200,
        reasons=reasons,
        appeal=appeal_id,
        days=delist.settings.appeals.days,
        ways="",
    )


def _form(
    request: Request,
    visitor: Visitor,
    given: dict[str, str],
    wrong: dict[str, str],
    *,
    status: int = 200,
) -> Response:
    return page(
        request,
        visitor,
        "appeal.html",
        status=status,
        given=dict.fromkeys(_MOST, "") | given,
        wrong=wrong_in(wrong, visitor.words),
        most=_MOST,
    )


def _wrong(given: dict[str, str]) -> dict[str, str]:
    wrong = {}
    for name in ("contact", "text"):
        text = given[name]
        if not text:
            wrong[name] = "needed"
        elif len(text) > _MOST[name]:
            wrong[name] = "too_long"
        elif any(_is_control(sign) for sign in text):
            wrong[name] = "not_plain"
    try:
        if len(given["url"]) > _MOST["url"]:
            wrong["url"] = "not_an_address"
        given["url"] = read_address(given["url"])
    except InvalidUrlError:
        wrong["url"] = "not_an_address"
    return wrong


def _is_control(sign: str) -> bool:
    """As ``delist.appeals`` has it."""
    control, half = "\x7f" <= sign <= "\x9f", "\ud800" <= sign <= "\udfff"
    return sign != "\n" and (sign < " " or control or half)


def _told(
    request: Request, visitor: Visitor, heading: str, sentence: str, *, status: int
) -> Response:
    say = visitor.words.say
    return message(
        request,
        visitor,
        heading=say(heading),
        sentences=(say(sentence),),
        status=status,
        back="/appeal",
    )
