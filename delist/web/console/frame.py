"""What every page of the console has: the shift, what can still be taken back, and the words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.build import Delist
from delist.errors import DelistError, UnknownCaseError
from delist.people import Person, Role
from delist.reporting import defang
from delist.review.shifts import Shift, shift_of
from delist.web.console import words
from delist.web.pages import render
from delist.web.people import signed_on
from delist.web.people.cookies import token_of

Reviewer = Annotated[Person, Depends(signed_on(Role.REVIEWER))]
Lead = Annotated[Person, Depends(signed_on(Role.LEAD))]
Auditor = Annotated[Person, Depends(signed_on(Role.AUDITOR))]
Anybody = Annotated[Person, Depends(signed_on(Role.REVIEWER, Role.AUDITOR, Role.ADMIN))]
Watcher = Annotated[Person, Depends(signed_on(Role.LEAD, Role.AUDITOR, Role.ADMIN))]
Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
_MOST_NOTICE = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """A decision that can be taken back.

    Attributes:
        left_s: seconds left.
    """

    case_id: str
    left_s: int


def delist_of(request: Request) -> Delist:
    """Return the open whole of the app."""
    found = request.app.state.delist
    assert isinstance(found, Delist)  # noqa: S101 - set by create_app
    return found


def page(
    request: Request,
    template: str,
    person: Person,
    collected: Mapping[str, object] = MappingProxyType({}),
    *,
    undo: str = "",
    status: int = 200,
    **values: object,
) -> HTMLResponse:
    """Write a page of the console.

    Args:
        collected: values beside ``values``.
        undo: id of the case that was decided just before.
    """
    delist = delist_of(request)
    everything: dict[str, Any] = {
        "shift": shift_now(request, person) if person.may(Role.REVIEWER) else None,
        "undo": _undo(delist, undo, person),
        "now": delist.clock(),
        "words": words,
        "defang": defang,
        "roles": Role,
    }
    everything |= dict(collected) | values
    return render(request, f"console/{template}", status=status, **everything)


def shift_now(request: Request, person: Person) -> Shift:
    """Say where the person's shift stands."""
    delist = delist_of(request)
    began_at: datetime = request.state.session.created_at
    return shift_of(
        delist.database,
        person.name,
        began_at=began_at,
        break_minutes=person.preferences.break_minutes,
        now=delist.clock(),
    )


def to(request: Request, path: str, *, notice: str = "", **query: str) -> RedirectResponse:
    """Send the browser on, with something to say there."""
    if notice:
        delist_of(request).sessions.tell(token_of(request), notice[:_MOST_NOTICE])
    asked = {name: value for name, value in query.items() if value}
    return RedirectResponse(f"{path}?{urlencode(asked)}" if asked else path, HTTPStatus.SEE_OTHER)


def said(error: DelistError | Exception) -> str:
    """Write an error of ours, whose words hold no values, as a sentence."""
    text = str(error)
    return f"Nothing was done: {text}." if text else "Nothing was done."


def first(entries: Sequence[str]) -> str:
    """Return the first of some, or nothing."""
    return entries[0] if entries else ""


def _undo(delist: Delist, case_id: str, person: Person) -> Undo | None:
    if not case_id:
        return None
    try:
        left_s = delist.desk.undo_left_s(case_id, person.name)
    except UnknownCaseError:
        return None
    return Undo(case_id=case_id, left_s=left_s) if left_s else None
