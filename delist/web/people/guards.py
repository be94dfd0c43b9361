"""``signed_on`` and ``form_guard``: the two questions before a page does anything.

1. Who is it? The session's cookie says; without one the answer leads to ``/login`` and back.
2. May this role do that? Else a 403 page.
3. Does the request come from a page of ours? ``Sec-Fetch-Site`` says so where the browser sends
   it, else ``Origin``. Our pages send no referrer, so ``Origin`` may be ``null``, which says
   nothing.
4. Was the form made for this session? Its field ``csrf``, or the header ``X-CSRF-Token``.

Public forms have no session to steal: for them (3) is all, and only what is known to come from
elsewhere is refused, so that nobody with an old browser is kept from reporting.
"""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from delist.build import Delist
from delist.people import Person, Role
from delist.people.sessions import Session, is_csrf
from delist.web.people.cookies import token_of

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_MOST_NEXT = 500
_HERE = "/console"


class SignOnNeeded(HTTPException):
    """Nobody is signed on, or the session has ended.

    Attributes:
        location: where to sign on, and what comes after.
    """

    def __init__(self, *, then: str, unsent: bool) -> None:
        super().__init__(401, "sign on first")
        asked = {"next": then} | ({"unsent": "1"} if unsent else {})
        self.location = f"/login?{urlencode(asked)}"


class NotForThis(HTTPException):
    """The person's role is not for that page."""

    def __init__(self) -> None:
        super().__init__(403, "wrong_role")


class ForgedForm(HTTPException):
    """The form was not made by a page of ours, or for another session."""

    def __init__(self) -> None:
        super().__init__(403, "forged_form")


def signed_on(*roles: Role) -> "SignOnGuard":
    """Make the dependency that gives the person who has signed on, of one of these roles.

    Without roles anybody who has signed on may.
    """
    return SignOnGuard(roles)


@dataclass(frozen=True)
class SignOnGuard:
    """Gives the person who has signed on.

    A method that changes something is let through with a form or header of this session only.
    ``request.state`` gets ``person``, ``session``, ``csrf`` and ``take_notice``, which ``render``
    looks at.

    Attributes:
        roles: of which the person must have one; empty for anybody.
    """

    roles: tuple[Role, ...]

    async def __call__(self, request: Request) -> Person:
        """Answer.

        Raises:
            SignOnNeeded, NotForThis, ForgedForm: see there.
        """
        session = await run_in_threadpool(find_session, request)
        changes = request.method not in _SAFE
        if changes:
            _check_origin(request, strictly=False)  # (3)
        if session is None:  # (1)
            raise SignOnNeeded(then=await _page_of(request), unsent=changes)
        _remember(request, session)
        if changes and not is_csrf(session, await _sent(request, "csrf")):  # (4)
            raise ForgedForm
        if self.roles and not session.person.may(*self.roles):  # (2)
            raise NotForThis
        return session.person


async def signed_on_or_none(request: Request) -> Person | None:
    """Return who has signed on, None where nobody has; the form is checked all the same.

    Raises:
        ForgedForm: see there.
    """
    try:
        return await signed_on()(request)
    except SignOnNeeded:
        return None


async def form_guard(request: Request) -> None:
    """Refuse a public form that comes from a page of somebody else.

    Raises:
        ForgedForm: see there.
    """
    if request.method not in _SAFE:
        _check_origin(request, strictly=False)


async def strict_form_guard(request: Request) -> None:
    """Refuse a form that is not known to come from a page of ours: signing on itself.

    Else a stranger's page could sign a person on as the stranger.

    Raises:
        ForgedForm: see there.
    """
    _check_origin(request, strictly=True)


def safe_next(given: str) -> str:
    """Return where to go after signing on: a path of ours, ``/console`` for anything else."""
    path = given.partition("?")[0]
    plain = given.isascii() and given.isprintable() and "\\" not in given and " " not in given
    ours = given.startswith("/") and not given.startswith("//") and len(given) <= _MOST_NEXT
    around = path in {"/login", "/logout"} or path.startswith("/login/")
    return given if plain and ours and not around else _HERE


def find_session(request: Request) -> Session | None:
    """Find the open session of a browser; for pages that are there without one too."""
    delist: Delist = request.app.state.delist
    token = token_of(request)
    return delist.sessions.find(token) if token else None


def _remember(request: Request, session: Session) -> None:
    delist: Delist = request.app.state.delist
    request.state.session = session
    request.state.person = session.person
    request.state.csrf = session.csrf
    if session.notice:
        request.state.take_notice = lambda: delist.sessions.take_notice(token_of(request))


def _check_origin(request: Request, *, strictly: bool) -> None:
    fetched = request.headers.get("sec-fetch-site")
    if fetched is not None:
        if fetched != "same-origin":
            raise ForgedForm
        return
    origin = request.headers.get("origin", "null")
    if origin == "null":
        if strictly:
            raise ForgedForm
        return
    parts = _split(origin)
    if parts is None or parts.netloc != request.headers.get("host"):
        raise ForgedForm


def _split(address: str) -> SplitResult | None:
    """Take apart what a header says is an address; None for what is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


async def _sent(request: Request, name: str) -> str:
    """Return a header or field of a form."""
    if name == "csrf" and (header := request.headers.get("x-csrf-token")):
        return header
    if not request.headers.get("content-type", "").startswith(_FORMS):
        return ""
    value = (await request.form()).get(name)
    return value if isinstance(value, str) else ""


async def _page_of(request: Request) -> str:
    """Name the page that somebody is on: where to come back to."""
    if current := request.headers.get("hx-current-url"):
        parts = _split(current)
        if parts is None:
            return _HERE
        return safe_next(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    if request.method in _SAFE:
        query = request.url.query
        return safe_next(f"{request.url.path}?{query}" if query else request.url.path)
    return safe_next(await _sent(request, "page"))
