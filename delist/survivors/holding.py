"""What the holder of a case can do once it is open: look, ask to look again, withdraw."""

from dataclasses import dataclass, field
from hashlib import blake2b

from delist import access, appeals, reporting
from delist.appeal_record import Appeal, Asks
from delist.appeals.desk import AppealDesk
from delist.errors import AccessError, UnknownCaseRefError, UsageError
from delist.reporting import ReportedImage, SurvivorReport, refang
from delist.store import direct_reports
from delist.store.direct_reports import DirectReport, ReportState
from delist.survivors.opening import HOLDER, Opened
from delist.survivors.taking import Reports

_ASKS = {"not_delisted": Asks.KEEP, "delisted": Asks.LIFT}
_ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Askable:
    """An image that can be asked to be looked at again.

    Attributes:
        id: names it on this case's pages only.
        url: defanged.
    """

    id: str
    url: str = field(repr=False)
    asks: Asks


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """What its holder sees of a case.

    Attributes:
        report: None while there are no hashes to find anything by.
        direct: what was reported to us, where it was.
        can_withdraw: whether it can be ended here.
    """

    report: SurvivorReport | None
    direct: DirectReport | None
    askable: tuple[Askable, ...]
    can_withdraw: bool


def view(reports: Reports, opened: Opened) -> CaseView:
    """Look at a case."""
    case_key = reports.store.signals.case_key(opened.case_ref)
    with reports.database.read() as connection:
        direct = direct_reports.find_by_case(connection, case_key.hex())
    report = _report(reports, opened)
    images = () if report is None or report.images is None else report.images
    withdrawn = direct is not None and direct.state is ReportState.WITHDRAWN
    ended = report is not None and report.case_status == _ENDED
    return CaseView(
        report=report,
        direct=direct,
        askable=tuple(_askable(image, case_key) for image in images if image.status in _ASKS),
        can_withdraw=not withdrawn
        and not ended
        and (direct is not None or (report is not None and report.reported_here)),
    )


def ask_again(
    reports: Reports, desk: AppealDesk, opened: Opened, image_id: str, *, text: str
) -> Appeal:
    """Ask to look again at one image of the case.

    Raises:
        UsageError: no image of this case is named so, the text is missing or too long, it
            waits for a decision already, or the quota is used up.
    """
    chosen = [image for image in view(reports, opened).askable if image.id == image_id]
    if not chosen:
        raise UsageError("no image of this case is named so now")
    url, asks = refang(chosen[0].url), chosen[0].asks
    return appeals.open_for_holder(
        desk, opened.case_ref, url, asks=asks, text=text, proof=opened.way.value
    )


def withdraw(reports: Reports, opened: Opened, *, code: str) -> None:
    """End the case, for good. An open page is not enough: the access code is asked for again.

    Raises:
        AccessError: the code does not fit.
        UnknownCaseRefError: it was not reported to us, so it ends where it was reported.
    """
    if not access.is_valid(reports.store, reports.database, reports.secret, opened.case_ref, code):
        raise AccessError("these do not fit together")
    reports.withdraw(opened.case_ref, actor=HOLDER)


def _report(reports: Reports, opened: Opened) -> SurvivorReport | None:
    try:
        return reporting.survivor_report(
            reports.store, reports.database, opened.case_ref, full=True, now=reports.clock()
        )
    except UnknownCaseRefError:
        return None


def _askable(image: ReportedImage, case_key: bytes) -> Askable:
    url = image.image_urls[0]
    name = blake2b(url.encode(), key=case_key, digest_size=8).hexdigest()
    return Askable(id=name, url=url, asks=_ASKS[image.status])
