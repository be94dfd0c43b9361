"""``/console/cases/ID``: everything about one case on one screen, evidence first.

In a blind second review nothing is shown that says what others found.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from delist.build import Delist
from delist.model import Case, CaseState, Verdict
from delist.people import Person
from delist.review.deciding import said_of
from delist.review.desk import CaseView
from delist.review.dossier import dossier
from delist.rulings import person_key
from delist.survivors import reviewing
from delist.web.console.frame import Id, Reviewer, delist_of, page
from delist.web.console.queue import UndoOf
from delist.web.console.words import GROUNDS

router = APIRouter(include_in_schema=False, tags=["console"])

_MOST_PAGES, _MOST_MEMBERS = 50, 60


@router.get("/console/cases/{case_id}")
def show_case(
    request: Request,
    person: Reviewer,
    case_id: Id,
    undo: UndoOf = "",
    every: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query
) -> HTMLResponse:
    """Show a case; that is on record."""
    delist = delist_of(request)
    view = delist.desk.show(case_id, person.name)
    case = view.file.case
    claimant = case.claimant(delist.clock())
    mine = bool(claimant) and person_key(claimant) == person_key(person.name)
    is_blind = view.blind_review is not None
    values: dict[str, object] = {
        "view": view,
        "case": case,
        "claimant": claimant,
        "mine": mine,
        "can_decide": is_blind or (mine and case.state is not CaseState.WITHDRAWN),
        "evidence": delist.evidence(case),
        "grounds": GROUNDS,
        "verdicts": list(Verdict),
        "unseen": delist.viewing.may_decide_unseen(),
        "pages": view.file.page_urls[: None if every else _MOST_PAGES],
        "pages_left": 0 if every else max(0, len(view.file.page_urls) - _MOST_PAGES),
    }
    if is_blind:
        return page(request, "blind.html", person, values)
    opened = values | _open(delist, view, person)
    return page(request, "case.html", person, opened, undo=undo)


def _open(delist: Delist, view: CaseView, person: Person) -> dict[str, object]:
    """Collect what only an open view has."""
    case = view.file.case
    explained = delist.governance.explain(case.id, actor=person.name)
    beside = dossier(delist.indexer.store, delist.database, case, actor=person.name)
    return {
        "file": view.file,
        "beside": beside,
        "explained": explained,
        "checks": [check for check in explained.checks if not check.signal],
        "checks_of": {
            match.signal_key: [c for c in explained.checks if c.signal == match.signal_key]
            for match in case.matches
        },
        "said": said_of(case, view.file.decisions),
        "members": view.members[:_MOST_MEMBERS],
        "members_left": max(0, len(view.members) - _MOST_MEMBERS),
        "waiting_members": sum(member.awaits_person for member in view.members),
        "lifts": _lifts(case),
        "reports": [
            reviewing.show(delist.reports, report_id, actor=person.name)
            for report_id in beside.reports
        ],
    }


def _lifts(case: Case) -> bool:
    """Whether "something else" would bring the image back to results."""
    return case.state is CaseState.SUPPRESSED
