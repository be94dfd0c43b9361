"""``/login``, ``/login/oidc`` and ``/logout``."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from delist.build import Delist
from delist.errors import (
    ProviderError,
    SignOnDelayedError,
    SignOnRefusedError,
    UsageError,
)
from delist.people.signing_on import Credentials, SignedOn
from delist.settings import is_private_enough
from delist.web.limits import RateLimiter, network_of
from delist.web.pages import render
from delist.web.people import cookies
from delist.web.people.browsers import described
from delist.web.people.guards import find_session, safe_next, signed_on_or_none, strict_form_guard
from delist.web.people.provider import NoRoleError, Provider

BACK = "/login/oidc/back"
UNSENT = (
    "Your session had ended, so the last form was not sent. Nothing was done; please do it again."
)
_KNOWN_S = 90 * 24 * 3600
_PENDING_S = 600
_MOST = 300

router = APIRouter(include_in_schema=False, tags=["people"])

_WORDS = {
    "no_role": "You are signed on at your organisation, but none of your groups may use Delist. Ask"
    " whoever looks after it for a group that may.",
    "domain": "Your e-mail address is not of a domain that may use Delist.",
    "name": "Your organisation did not say who you are. Tell whoever looks after its sign-on.",
    "name_taken": "Somebody else here has your name already. Ask an administrator of Delist.",
    "disabled": "Your account here is disabled. Ask an administrator of Delist.",
    "too_late": "That took too long, or began in another browser. Please begin again.",
    "state": "That answer does not belong to your sign-on. Please begin again.",
    "unreachable": "Your organisation's sign-on does not answer. Try again in a while.",
    "many": "There were too many tries from your network. Wait a minute and begin again.",
    "denied": "Your organisation did not sign you on.",
}
_ELSE = (
    "Your organisation's sign-on answered in a way that cannot be trusted. Try again; if it stays"
    " so, tell whoever looks after it."
)


@router.get("/login")
def login(request: Request, next: str = "", unsent: str = "") -> Response:  # noqa: A002 - its name in the URL
    """Show the form, or lead on who has signed on already."""
    if find_session(request) is not None:
        return RedirectResponse(safe_next(next), HTTPStatus.SEE_OTHER)
    return _page(request, then=safe_next(next), unsent=bool(unsent))


@router.post("/login", dependencies=[Depends(strict_form_guard)])
def sign_on(
    request: Request,
    name: Annotated[str, Form(max_length=_MOST)] = "",
    password: Annotated[str, Form(max_length=_MOST)] = "",
    code: Annotated[str, Form(max_length=_MOST)] = "",
    next: Annotated[str, Form(max_length=_MOST * 2)] = "",  # noqa: A002 - the field's name
    unsent: Annotated[str, Form(max_length=1)] = "",
) -> Response:
    """Sign on with an account."""
    delist, then = _delist(request), safe_next(next)
    given = Credentials(
        name=name,
        password=password,
        code=code,
        known=cookies.read(request, cookies.KNOWN),
        browser=described(request.headers.get("user-agent", "")),
    )
    try:
        _hold_back(request)
        done = delist.signing_on.with_account(given, notice=UNSENT if unsent else "")
    except SignOnRefusedError:
        wrong = "Name, password or code is wrong. A code can be used once; wait for the next one."
        return _page(request, then=then, unsent=bool(unsent), wrong=wrong, name=name, status=401)
    except SignOnDelayedError as error:
        wrong = f"Too many tries. Wait {_spoken(error.retry_s)}, then try again."
        answer = _page(request, then=then, unsent=bool(unsent), wrong=wrong, name=name, status=429)
        answer.headers["Retry-After"] = str(error.retry_s)
        return answer
    return _signed_on(request, done, then)


@router.get("/login/oidc")
def to_provider(request: Request, next: str = "", unsent: str = "") -> Response:  # noqa: A002 - as above
    """Lead to the organisation's sign-on."""
    provider = _provider(request)
    if provider is None:
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    try:
        url, sealed = provider.begin(back=_back(request), then=safe_next(next), unsent=bool(unsent))
    except ProviderError as error:
        return _refused(request, error.code, status=503)
    answer = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    cookies.put(answer, cookies.PENDING, sealed, max_age_s=_PENDING_S)
    return answer


@router.get(BACK)
def from_provider(
    request: Request, state: str = "", code: str = "", iss: str = "", error: str = ""
) -> Response:
    """Sign on whom the provider names."""
    provider, delist = _provider(request), _delist(request)
    if provider is None:
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    try:
        pending = provider.pending(cookies.read(request, cookies.PENDING), state=state)
        if error or not code:
            return _refused(request, "denied", status=403)
        _hold_back(request)  # what follows asks the issuer; state and cookie can be sent again
        named = provider.finish(pending, code=code, issuer=iss, back=_back(request))
        done = delist.signing_on.as_named(
            named,
            browser=described(request.headers.get("user-agent", "")),
            notice=UNSENT if pending.unsent else "",
        )
    except NoRoleError as refused:
        return _refused(request, refused.code, status=403)
    except ProviderError as failed:
        return _refused(request, failed.code, status=503 if failed.code == "unreachable" else 403)
    except SignOnDelayedError:
        return _refused(request, "many", status=429)
    except SignOnRefusedError:
        return _refused(request, "disabled", status=403)
    except UsageError:
        return _refused(request, "name_taken", status=403)
    return _signed_on(request, done, pending.then)


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """Sign out of this browser."""
    person = await signed_on_or_none(request)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    if person is not None:
        _delist(request).sessions.end(person, session_id=request.state.session.id)
    cookies.drop(answer, cookies.SESSION)
    return answer


def _page(
    request: Request,
    *,
    then: str,
    unsent: bool,
    wrong: str = "",
    name: str = "",
    status: int = 200,
) -> Response:
    return render(
        request,
        "login.html",
        status=status,
        then=then,
        unsent=unsent,
        wrong=wrong,
        name=name,
        oidc=_provider(request) is not None,
        private=is_private_enough(str(request.url)),
    )


def _refused(request: Request, code: str, *, status: int) -> Response:
    answer = render(
        request, "login_refused.html", status=status, words=_WORDS.get(code, _ELSE), number=status
    )
    cookies.drop(answer, cookies.PENDING)
    return answer


def _signed_on(request: Request, done: SignedOn, then: str) -> Response:
    """Give the browser its new session; the one before, if any, ends."""
    before = find_session(request)
    if before is not None:
        _delist(request).sessions.end(before.person, session_id=before.id)
    answer = RedirectResponse(then, HTTPStatus.SEE_OTHER)
    cookies.put(answer, cookies.SESSION, done.token)
    if done.known:
        cookies.put(answer, cookies.KNOWN, done.known, max_age_s=_KNOWN_S)
    cookies.drop(answer, cookies.PENDING)
    return answer


def _hold_back(request: Request) -> None:
    limit: RateLimiter = request.app.state.sign_on_limit
    wait_s = limit.take(network_of(request.client.host if request.client else ""))
    if wait_s:
        raise SignOnDelayedError(int(wait_s) + 1)


def _spoken(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 100 else f"{round(seconds / 60)} minutes"  # noqa: PLR2004 - reads better


def _back(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{BACK}"


def _provider(request: Request) -> Provider | None:
    found: Provider | None = request.app.state.provider
    return found


def _delist(request: Request) -> Delist:
    found: Delist = request.app.state.delist
    return found
