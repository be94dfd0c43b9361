"""``/console/figures``: how the service does, as charts that are drawn here, tables and CSV."""

from datetime import timedelta

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from delist.reporting import operations
from delist.reporting.charts import Column, bars, columns
from delist.reporting.operations import DAYS, Operations
from delist.web.console.frame import Anybody, delist_of, page
from delist.web.console.words import SHORT, seconds
from delist.web.ready import Readiness

router = APIRouter(include_in_schema=False, tags=["console"])


@router.get("/console/figures")
def show_figures(request: Request, person: Anybody) -> HTMLResponse:
    """Show the figures of the last weeks, and how things are now."""
    delist = delist_of(request)
    readiness: Readiness = request.app.state.readiness
    found = operations.operations(delist.indexer.store, delist.database, now=delist.clock())
    since = delist.clock() - timedelta(days=DAYS)
    return page(
        request,
        "figures.html",
        person,
        found=found,
        state=readiness.look(),
        agreement=delist.desk.agreement(since),
        standings=delist.sinks.followers.standings(),
        suppression_chart=_suppression(found),
        decisions_chart=_decisions(found),
        ages_chart=bars("Cases that wait, by how long already", found.ages),
        days_shown=[day for day in found.days if day.decisions or day.suppression.count],
        window=DAYS,
    )


@router.get("/console/figures.csv")
def figures_csv(request: Request, person: Anybody) -> Response:
    """Write the days as CSV."""
    del person
    delist = delist_of(request)
    found = operations.operations(delist.indexer.store, delist.database, now=delist.clock())
    headers = {"Content-Disposition": 'attachment; filename="delist-figures.csv"'}
    return Response(operations.as_csv(found), media_type="text/csv", headers=headers)


def _suppression(found: Operations) -> Markup:
    top = max((day.suppression.p99_s or 0.0 for day in found.days), default=0.0)
    entries = [
        Column(
            label=f"{day.day:%d %b}",
            parts=_stacked(day.suppression.p50_s, day.suppression.p99_s),
            told=f"{day.day}: median {seconds(day.suppression.p50_s)}, "
            f"99 % within {seconds(day.suppression.p99_s)}",
        )
        for day in found.days
    ]
    return columns("Time from feed to suppression, by day", entries, most=seconds(top), top=top)


def _decisions(found: Operations) -> Markup:
    top = max((day.decisions for day in found.days), default=0)
    entries = [
        Column(
            label=f"{day.day:%d %b}",
            parts=[(verdict.value, float(count)) for verdict, count in day.verdicts.items()],
            told=f"{day.day}: "
            + ", ".join(f"{count} {SHORT[verdict]}" for verdict, count in day.verdicts.items()),
        )
        for day in found.days
    ]
    return columns("Decisions of people, by day", entries, most=f"{top}", top=float(top))


def _stacked(p50_s: float | None, p99_s: float | None) -> list[tuple[str, float]]:
    if p50_s is None or p99_s is None:
        return []
    return [("p50", p50_s), ("p99", max(0.0, p99_s - p50_s))]
