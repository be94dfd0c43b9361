"""What belongs to a report that somebody made to us directly; sealed but for states and times."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from delist.store.tables import direct_reports


class ReportState(StrEnum):
    """Where a report stands."""

    HELD = "held"
    """Its pictures are not compared yet."""
    OPEN = "open"
    """It waits for a person."""
    DONE = "done"
    WITHDRAWN = "withdrawn"


WAITING = (ReportState.HELD, ReportState.OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectReport:
    """One report.

    Attributes:
        case_key: key of its case reference.
        form_key: of the form that it came on, which counts once.
        pictures, addresses: how many.
        payload: sealed contact and statement; None once they were erased.
        admitted_at: since when its pictures are compared.
        outcome: what a person found.
    """

    id: str
    case_key: str = field(repr=False)
    form_key: str = field(repr=False)
    state: ReportState
    received_at: datetime
    deadline_at: datetime
    pictures: int
    addresses: int
    payload: bytes | None = field(repr=False)
    admitted_at: datetime | None = None
    outcome: str = ""
    done_by: str = ""
    done_at: datetime | None = None


def add(connection: Connection, report: DirectReport) -> None:
    """Store a new report."""
    names = DirectReport.__dataclass_fields__
    connection.execute(insert(direct_reports).values({n: getattr(report, n) for n in names}))


def find(connection: Connection, report_id: str) -> DirectReport | None:
    """Find a report by its id."""
    if not (report_id.isascii() and report_id.isprintable()):  # no id of ours
        return None
    return _first(connection, direct_reports.c.id == report_id)


def find_by_case(connection: Connection, case_key: str) -> DirectReport | None:
    """Find the report that a case reference was given for."""
    return _first(connection, direct_reports.c.case_key == case_key)


def is_known_form(connection: Connection, form_key: str) -> bool:
    """Say whether a form has made a report already."""
    return _first(connection, direct_reports.c.form_key == form_key) is not None


def waiting(connection: Connection, *, limit: int) -> list[DirectReport]:
    """List the reports that wait for a person, the next deadline first."""
    chosen = select(direct_reports).where(direct_reports.c.state.in_([s.value for s in WAITING]))
    ordered = chosen.order_by(direct_reports.c.deadline_at, direct_reports.c.id).limit(limit)
    return [_report(row) for row in connection.execute(ordered)]


def held(connection: Connection, *, limit: int) -> list[DirectReport]:
    """List the reports whose pictures are not compared yet, the oldest first."""
    chosen = select(direct_reports).where(direct_reports.c.state == ReportState.HELD.value)
    ordered = chosen.order_by(direct_reports.c.received_at, direct_reports.c.id).limit(limit)
    return [_report(row) for row in connection.execute(ordered)]


def count_admitted(connection: Connection, *, since: datetime) -> int:
    """Count the reports whose pictures were taken in since a time."""
    chosen = select(func.count()).where(direct_reports.c.admitted_at >= since)
    return int(connection.scalar(chosen) or 0)


def move(
    connection: Connection, report: DirectReport, state: ReportState, **values: object
) -> bool:
    """Move a report on, unless somebody else has moved it meanwhile; says whether it moved."""
    done = connection.execute(
        update(direct_reports)
        .where(direct_reports.c.id == report.id, direct_reports.c.state == report.state.value)
        .values(state=state.value, **values)
    )
    return bool(done.rowcount)


def erase_received_before(connection: Connection, before: datetime) -> int:
    """Erase contact and statement of the reports received before a time; returns how many.

    Those that are not compared yet stay: nothing else has their pictures.
    """
    done = connection.execute(
        update(direct_reports)
        .where(
            direct_reports.c.received_at < before,
            direct_reports.c.payload.is_not(None),
            direct_reports.c.state != ReportState.HELD.value,
        )
        .values(payload=None),
        execution_options={"preserve_rowcount": True},
    )
    return done.rowcount


def _first(connection: Connection, condition: Any) -> DirectReport | None:  # noqa: ANN401 - an SQL expression
    found = connection.execute(select(direct_reports).where(condition)).first()
    return None if found is None else _report(found)


def _report(row: Row[Any]) -> DirectReport:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["state"] = ReportState(values["state"])
    return DirectReport(**values)
