"""What a reviewer needs of reports: a list without contents, one report, and its end."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from delist.errors import UnknownReportError, UsageError
from delist.model import ReportOutcome
from delist.review import checked_actor
from delist.store import audit
from delist.store import direct_reports as table
from delist.store.direct_reports import DirectReport, ReportState

if TYPE_CHECKING:
    from delist.survivors.taking import Reports


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """A report without what it says."""

    id: str
    state: ReportState
    received_at: datetime
    deadline_at: datetime
    pictures: int
    addresses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReport(ReportSummary):
    """A report as the person who decides on it sees it. No case reference.

    Attributes:
        erased: whether contact and statement are gone; then all the rest is empty.
    """

    erased: bool
    role: str = ""
    name: str = field(default="", repr=False)
    contact: str = field(default="", repr=False)
    details: str = field(default="", repr=False)
    urls: tuple[str, ...] = field(default=(), repr=False)
    outcome: str = ""
    done_by: str = ""
    done_at: datetime | None = None


def waiting(reports: "Reports", *, limit: int = 100) -> list[ReportSummary]:
    """List the reports that wait for a person, the next deadline first."""
    with reports.database.read() as connection:
        return [_summary(report) for report in table.waiting(connection, limit=limit)]


def show(reports: "Reports", report_id: str, *, actor: str) -> ShownReport:
    """Show everything about a report; that is on record.

    Raises:
        UnknownReportError: no report has this id.
        UsageError: the name is missing, too long or no text.
    """
    actor = checked_actor(actor)
    with reports.database.write() as connection:
        report = _get(connection, report_id)
        audit.append(
            connection,
            actor=actor,
            act="report.viewed",
            subject=report.id,
            now=reports.clock(),
        )
    document = reports.opened(report)
    said = document or {}
    return ShownReport(
        id=report.id,
        state=report.state,
        received_at=report.received_at,
        deadline_at=report.deadline_at,
        pictures=report.pictures,
        addresses=report.addresses,
        erased=document is None,
        **{name: said.get(name, "") for name in ("role", "name", "contact", "details")},
        urls=tuple(said.get("addresses", ())),
        outcome=report.outcome,
        done_by=report.done_by,
        done_at=report.done_at,
    )


def close(
    reports: "Reports", report_id: str, outcome: ReportOutcome, *, actor: str
) -> ReportSummary:
    """Note what came of a report. Verdicts on images are given on their cases, not here.

    Raises:
        UnknownReportError: no report has this id.
        UsageError: it does not wait any more, or its pictures are not compared yet.
    """
    actor = checked_actor(actor)
    now = reports.clock()
    with reports.database.write() as connection:
        report = _get(connection, report_id)
        if report.state is ReportState.HELD:
            raise UsageError("its pictures are not compared yet; `delist run` does it")
        moved = report.state is ReportState.OPEN and table.move(
            connection,
            report,
            ReportState.DONE,
            outcome=outcome.value,
            done_by=actor,
            done_at=now,
        )
        if not moved:
            raise UsageError("this report does not wait for a person any more")
        audit.append(
            connection,
            actor=actor,
            act="report.closed",
            subject=report.id,
            now=now,
            detail={"outcome": outcome.value},
        )
        return _summary(_get(connection, report_id))


def _get(connection: Connection, report_id: str) -> DirectReport:
    report = table.find(connection, report_id)
    if report is None:
        raise UnknownReportError("no report has this id")
    return report


def _summary(report: DirectReport) -> ReportSummary:
    names = ReportSummary.__dataclass_fields__
    return ReportSummary(**{name: getattr(report, name) for name in names})
