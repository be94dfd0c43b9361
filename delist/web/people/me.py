"""``/me``: one's own sessions, and how one likes the pages."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from delist.build import Delist
from delist.people import Person, Preferences, Theme
from delist.web.pages import render
from delist.web.people.cookies import token_of
from delist.web.people.guards import signed_on

router = APIRouter(include_in_schema=False, tags=["people"])

_Somebody = Annotated[Person, Depends(signed_on())]


@router.get("/me")
def me(request: Request, person: _Somebody) -> Response:
    """Show both."""
    delist: Delist = request.app.state.delist
    return render(
        request,
        "me.html",
        sessions=delist.sessions.of(person),
        here=request.state.session.id,
        liked=person.preferences,
        themes=list(Theme),
    )


class _Liked(BaseModel):
    """The form of ``Preferences``. Without ``by_press`` an image shows only while it is held."""

    grey: bool = False
    mute: bool = False
    blur_px: int = Field(ge=0, le=60)
    break_minutes: int = Field(ge=0, le=240)
    theme: Theme = Theme.SYSTEM
    by_press: bool = False
    shown_s: int = Field(5, ge=3, le=60)


@router.post("/me/preferences")
def prefer(request: Request, person: _Somebody, form: Annotated[_Liked, Form()]) -> Response:
    """Keep how the person likes the pages."""
    delist: Delist = request.app.state.delist
    liked = Preferences(
        grey=form.grey,
        mute=form.mute,
        blur_px=form.blur_px,
        break_minutes=form.break_minutes,
        theme=form.theme,
        shown_s=form.shown_s if form.by_press else 0,
    )
    delist.accounts.prefer(person.id, liked)
    return _back(request, "Saved.")


@router.post("/me/sessions/end")
def end(
    request: Request,
    person: _Somebody,
    session: Annotated[str, Form(max_length=16)] = "",
) -> Response:
    """Sign out of one browser, or of all."""
    delist: Delist = request.app.state.delist
    delist.sessions.end(person, session_id=session or None)
    if session and session != request.state.session.id:
        return _back(request, "That browser is signed out.")
    return RedirectResponse("/login", HTTPStatus.SEE_OTHER)


def _back(request: Request, notice: str) -> Response:
    delist: Delist = request.app.state.delist
    delist.sessions.tell(token_of(request), notice)
    return RedirectResponse("/me", HTTPStatus.SEE_OTHER)
