"""``/console/audit``: who looked at what and did what; for auditors, who decide nothing."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from delist.errors import LedgerError
from delist.web.console.frame import Auditor, delist_of, page, to

router = APIRouter(include_in_schema=False, tags=["console"])

_ON_PAGE = 100


@router.get("/console/audit")
def list_entries(
    request: Request,
    person: Auditor,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    subject: Annotated[str, Query(max_length=64, pattern=r"^[0-9A-Za-z_.-]*$")] = "",
) -> HTMLResponse:
    """List entries, the newest first."""
    found = delist_of(request).audit_entries_before(before, subject=subject, limit=_ON_PAGE)
    more = found[-1].sequence if len(found) == _ON_PAGE else None
    return page(request, "audit.html", person, found=found, more=more, subject=subject)


@router.post("/console/audit/verify")
def verify(request: Request, person: Auditor) -> RedirectResponse:
    """Check that nothing was edited or left out."""
    del person
    try:
        number = delist_of(request).verify_audit_log()
    except LedgerError as error:
        return to(request, "/console/audit", notice=f"Not as it was written: {error}.")
    return to(request, "/console/audit", notice=f"All {number} entries are as they were written.")
