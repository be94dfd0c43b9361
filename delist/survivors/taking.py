"""Taking reports in, from the form to the comparison, and erasing what they say in time.

(1) A form counts once: sent again, it makes no second report.
(2) Report, access code and audit entry are written in one transaction. From then on nothing is
    lost, whatever happens.
(3) Its pictures are taken in as signals of the feed ``direct``, which goes on from there. A day
    takes ``per_day`` of them; later ones wait for the next day, and their people are told so.
(4) What was cut off between (2) and (3) is taken up by ``catch_up``, which every feed cycle runs.
(5) Hashes leave the report when (3) is done: then the store has them, which erases them on
    withdrawal. Contact and statement are erased after ``report_days``, or on withdrawal.
"""

import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from delist import access
from delist.direct import DirectReports, ReportedHash
from delist.errors import FormError, UnknownCaseRefError, UnreadableReportError
from delist.policy import DIRECT_FEED
from delist.settings import ReviewSettings, WebSettings
from delist.store import Database, audit
from delist.store import direct_reports as table
from delist.store.direct_reports import DirectReport, ReportState
from delist.survivors.sealing import Sealer
from delist.survivors.statement import Statement, as_document, read_picture
from indexer.store import Store
from indexer.sync import SyncReport

REPORTER = "reporter"
_GROUPS = 3
_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What whoever reported is told, once.

    Attributes:
        deadline_at: until when a person has looked.
        is_held: whether its pictures wait for another day.
    """

    reference: str = field(repr=False)
    code: str = field(repr=False)
    received_at: datetime
    deadline_at: datetime
    is_held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The open stores, and what reports are kept with.

    Attributes:
        direct: takes pictures in.
        secret: that access codes are hashed with.
        sealer: seals what people tell of themselves.
    """

    store: Store
    database: Database
    direct: DirectReports
    secret: bytes = field(repr=False)
    sealer: Sealer
    review: ReviewSettings
    web: WebSettings
    clock: Callable[[], datetime]

    def take(self, statement: Statement, *, form: str) -> Acknowledgement:
        """Take a report in.

        Args:
            form: what names the form that it came on.

        Raises:
            FormError: this form has made a report already.
        """
        reference = access.new_reference(groups=_GROUPS)
        code = access.new_code()
        case_key = self.store.signals.case_key(reference).hex()
        now = self.clock()
        report_id = secrets.token_hex(16)
        report = DirectReport(
            id=report_id,
            case_key=case_key,
            form_key=hmac.digest(self.secret, b"form\0" + form.encode(), "sha256").hex(),
            state=ReportState.HELD if statement.pictures else ReportState.OPEN,
            received_at=now,
            deadline_at=now + timedelta(hours=self.review.hours),
            pictures=len(statement.pictures),
            addresses=len(statement.addresses),
            payload=self._sealed(report_id, _document(statement, reference)),
        )
        with self.database.write() as connection:  # (2)
            if table.is_known_form(connection, report.form_key):  # (1)
                raise FormError({"form": "sent_before"})
            table.add(connection, report)
            access.put_code(connection, self.secret, case_key, code, now=now)
            self._note(connection, report, "report.received", actor=REPORTER)
        admitted = not statement.pictures or self._admit(report)
        return Acknowledgement(
            reference=reference,
            code=code,
            received_at=now,
            deadline_at=report.deadline_at,
            is_held=not admitted,
        )

    def catch_up(self) -> int:
        """Take in the pictures that wait, as many as the day allows; returns how many reports.

        Raises:
            UnreadableReportError: one cannot be opened; those behind it were taken in.
        """
        with self.database.read() as connection:
            held = table.held(connection, limit=_BATCH)
        taken, unreadable = 0, None
        for report in held:
            try:
                if not self._admit(report):
                    break
            except UnreadableReportError as error:
                unreadable = error
                continue
            taken += 1
        if unreadable is not None:
            raise unreadable
        return taken

    def erase_old(self) -> int:
        """Erase contact and statement of reports that are old enough; returns how many."""
        before = self.clock() - timedelta(days=self.web.report_days)
        with self.database.write() as connection:
            erased = table.erase_received_before(connection, before)
            if erased:
                audit.append(
                    connection,
                    actor="delist",
                    act="report.erased",
                    subject="direct",
                    now=self.clock(),
                    detail={"reports": erased},
                )
        return erased

    def withdraw(self, reference: str, *, actor: str) -> SyncReport:
        """End a case: its hashes leave the store, and what was said is erased.

        Raises:
            UnknownCaseRefError: nothing was reported to us under this reference.
        """
        case_key = self.store.signals.case_key(reference).hex()
        with self.database.read() as connection:
            report = table.find_by_case(connection, case_key)
        done = SyncReport(feed=DIRECT_FEED)
        try:
            done = self.direct.withdraw(reference, actor=actor)
        except UnknownCaseRefError:  # of a report without pictures
            if report is None:
                raise
        with self.database.write() as connection:
            report = table.find_by_case(connection, case_key)
            if report is not None and report.state is not ReportState.WITHDRAWN:
                table.move(connection, report, ReportState.WITHDRAWN, payload=None)
                self._note(connection, report, "report.withdrawn", actor=actor)
        return done

    def opened(self, report: DirectReport) -> dict[str, Any] | None:
        """Open what a report says; None once it was erased.

        Raises:
            UnreadableReportError: it cannot be opened.
        """
        if report.payload is None:
            return None
        document: dict[str, Any] = json.loads(self.sealer.open(report.payload, row=report.id))
        return document

    def _admit(self, report: DirectReport) -> bool:
        """Take a report's pictures in, if the day allows it; says whether they are in."""
        day = self.clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with self.database.read() as connection:
            if table.count_admitted(connection, since=day) >= self.web.reports_per_day:
                return False
        document = self.opened(report)
        if document is None:
            return True
        reference, hashes = document["reference"], document.pop("pictures")
        self.direct.add(list(map(read_picture, hashes)), reference=reference, actor=REPORTER)
        with self.database.write() as connection:
            moved = table.move(
                connection,
                report,
                ReportState.OPEN,
                admitted_at=self.clock(),
                payload=self._sealed(report.id, document),  # (5)
            )
            now = table.find(connection, report.id)
        if not moved and now is not None and now.state is ReportState.WITHDRAWN:
            self.direct.withdraw(reference, actor=REPORTER)  # it was, between the two
        return True

    def _sealed(self, report_id: str, document: dict[str, Any]) -> bytes:
        return self.sealer.seal(json.dumps(document).encode(), row=report_id)

    def _note(self, connection: Connection, report: DirectReport, act: str, *, actor: str) -> None:
        audit.append(
            connection,
            actor=actor,
            act=act,
            subject=report.id,
            now=self.clock(),
            detail={"pictures": report.pictures, "addresses": report.addresses},
        )


def _document(statement: Statement, reference: str) -> dict[str, Any]:
    pictures = [_written(picture) for picture in statement.pictures]
    return {**as_document(statement), "reference": reference, "pictures": pictures}


def _written(picture: ReportedHash) -> str:
    second = bytes(picture.second).hex() if picture.second is not None else ""
    return f"{picture.value}:{second}"
