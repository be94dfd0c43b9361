"""``/console/reports``: what people have reported to us directly, and what came of it."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.errors import UsageError
from delist.model import ReportOutcome
from delist.store.direct_reports import ReportState
from delist.survivors import reviewing
from delist.web.console.frame import Id, Reviewer, delist_of, page, said, to

router = APIRouter(include_in_schema=False, tags=["console"])

OUTCOMES = {
    ReportOutcome.ACTED: "What could be found was looked at and decided on",
    ReportOutcome.NOT_FOUND: "There was no such image where the report says",
    ReportOutcome.DECLINED: "It is nothing that this search engine decides on",
}


@router.get("/console/reports")
def list_reports(request: Request, person: Reviewer) -> HTMLResponse:
    """List reports that wait, the next deadline first; nothing of what they say."""
    return page(
        request, "reports.html", person, found=reviewing.waiting(delist_of(request).reports)
    )


@router.get("/console/reports/{report_id}")
def show_report(request: Request, person: Reviewer, report_id: Id) -> HTMLResponse:
    """Show one; that is on record."""
    report = reviewing.show(delist_of(request).reports, report_id, actor=person.name)
    return page(
        request,
        "report.html",
        person,
        report=report,
        outcomes=OUTCOMES,
        is_open=report.state is ReportState.OPEN,
    )


@router.post("/console/reports/{report_id}/close")
def close_report(
    request: Request, person: Reviewer, report_id: Id, outcome: Annotated[ReportOutcome, Form()]
) -> RedirectResponse:
    """Note what came of one."""
    try:
        reviewing.close(delist_of(request).reports, report_id, outcome, actor=person.name)
    except UsageError as error:
        return to(request, f"/console/reports/{report_id}", notice=said(error))
    return to(request, "/console/reports", notice="The report is closed; its holder can see it.")
