"""The survivor report: what was found and delisted for one case reference.

Addresses are shown only to the holder of the case's access code, and defanged, so
that nothing opens by accident. Everybody else gets hosts and counts. A case that has
ended is told just that: what other people reported is not its holder's to know.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import lmdb
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import Connection

from delist import emission
from delist.errors import UnknownCaseRefError
from delist.model import Case, CaseState, Support, SuppressionRecord
from delist.store import Database, appeals, cases, ledger, submissions
from indexer.match import MATCHED_KINDS
from indexer.model import Signal
from indexer.store import Store
from indexer.url import host_of

_STATUS = {
    CaseState.OPEN: "under_review",
    CaseState.SUPPRESSED: "delisted",
    CaseState.DISMISSED: "not_delisted",
    CaseState.WITHDRAWN: "ended",
    CaseState.QUARANTINED: "under_review",
}
_UNDER_REVIEW = CaseState.OPEN

CANNOT_SEE = (
    "Copies that were cropped, framed or turned by a few degrees may not be found.",
    "Only images and videos that this search engine has visited are compared.",
    "A video is found only if it is the very file that was reported: a copy that was cut, or"
    " saved anew by an app, may not be.",
    "Delisting takes an image out of these search results, not off the website.",
)
HELP = (
    ("StopNCII.org", "to check or withdraw your case"),
    ("Revenge Porn Helpline (UK)", "0345 6000 459, help@revengepornhelpline.org.uk"),
    ("Cyber Civil Rights Initiative (US)", "+1 844 878 2274"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCount:
    """How many images of one host have one status each."""

    host: str
    found: int
    delisted: int
    under_review: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedImage:
    """One image, addresses defanged.

    Attributes:
        since: when it was delisted (ISO 8601, UTC), or None; not before the case was reported.
    """

    image_urls: tuple[str, ...] = field(repr=False)
    page_urls: tuple[str, ...] = field(repr=False)
    status: str
    since: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivorReport:
    """What the holder of a case reference is told.

    Attributes:
        case_status: ``active``, or ``ended`` when the case was withdrawn or deleted.
        access: ``full`` with a valid access code, otherwise ``summary``.
        hashes: how many hashes of the case are of kinds that are compared.
        images: with full access only.
    """

    case_ref: str = field(repr=False)
    generated_at: str
    case_status: str
    access: str
    hashes: int = 0
    found: int = 0
    delisted: int = 0
    under_review: int = 0
    not_delisted: int = 0
    hosts: tuple[HostCount, ...] = ()
    images: tuple[ReportedImage, ...] | None = None
    cannot_see: tuple[str, ...] = CANNOT_SEE
    help: tuple[tuple[str, str], ...] = HELP


def survivor_report(
    store: Store, database: Database, case_ref: str, *, full: bool, now: datetime
) -> SurvivorReport:
    """Report on one case reference.

    Args:
        case_ref: as the feed writes it.
        full: whether a valid access code was given.

    Raises:
        UnknownCaseRefError: no feed has named this case reference.
    """
    generated_at = now.isoformat(timespec="seconds")
    access = "full" if full else "summary"
    with store.read() as txn:
        signals = store.signals.signals_of_case(txn, case_ref)
        if not signals:
            raise UnknownCaseRefError(
                "no feed names this case reference; check it, and sync the feed"
            )
        live = [key.hex() for key, is_live in signals.items() if is_live]
        if not live:
            return SurvivorReport(
                case_ref=case_ref, generated_at=generated_at, case_status="ended", access=access
            )
        compared = sum(
            _is_compared(store.signals.find(txn, key))
            for key, is_live in signals.items()
            if is_live
        )
        with database.read() as connection:
            # Also what only a hash of ours finds, which stands because of them (giving_back).
            behind = [*live, *submissions.derived_from(connection, live)]
            found = _cases_of(cases.supported_by(connection, behind), set(behind))
            status = _statuses(connection, found, store.signals.case_key(case_ref).hex())
            effective = {
                case.id: emission.effective(ledger.of_case(connection, case.id)) for case in found
            }
        linked = {case.id: _linked_at(store, txn, case_ref, case, live) for case in found}
        pages = {case.id: store.images.pages(txn, bytes.fromhex(case.image_key)) for case in found}
        aliases = {
            case.id: store.images.aliases(txn, bytes.fromhex(case.image_key)) for case in found
        }
    images = tuple(
        ReportedImage(
            image_urls=tuple(defang(url) for url in (case.image_url, *aliases[case.id])),
            page_urls=tuple(defang(url) for url in pages[case.id]),
            status=status[case.id],
            since=_since(effective[case.id].get(case.image_url), linked[case.id]),
        )
        for case in found
    )
    count = Counter(status.values())
    return SurvivorReport(
        case_ref=case_ref,
        generated_at=generated_at,
        case_status="active",
        access=access,
        hashes=compared,
        found=len(found),
        delisted=count["delisted"],
        under_review=count["under_review"],
        not_delisted=count["not_delisted"],
        hosts=_hosts(found, status),
        images=images if full else None,
    )


def as_json(report: SurvivorReport) -> dict[str, Any]:
    """Turn a report into JSON values; what needs an access code is left out without one."""
    values = asdict(report)
    if report.images is None:
        del values["images"]
    values["help"] = [{"name": name, "contact": contact} for name, contact in report.help]
    return values


def as_html(report: SurvivorReport) -> str:
    """Write a report as one HTML page that loads nothing from anywhere."""
    environment = Environment(
        loader=PackageLoader("delist"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    return environment.get_template("survivor_report.html").render(report=report)


def _moment(iso: str) -> str:
    """Write a time as people read it: ``21 November 2026, 21:50 UTC``."""
    return f"{datetime.fromisoformat(iso):%-d %B %Y, %H:%M} UTC"


def defang(url: str) -> str:
    """Write a URL so that it does not open: ``hxxp``, and ``[.]`` in the host."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    netloc = f"{userinfo}{at}{address.replace('.', '[.]')}"
    rest = url.split("://", 1)[1][len(parts.netloc) :]
    return f"{parts.scheme.replace('http', 'hxxp')}://{netloc}{rest}"


def _is_compared(signal: Signal | None) -> bool:
    return signal is not None and signal.kind in MATCHED_KINDS


def _cases_of(candidates: Sequence[Case], live: set[str]) -> list[Case]:
    """Keep the cases that a live signal still stands behind."""
    return [
        case
        for case in candidates
        if any(m.signal_key in live and m.support is Support.ACTIVE for m in case.matches)
    ]


def _statuses(connection: Connection, found: Sequence[Case], case_key: str) -> dict[str, str]:
    """Say how each case stands. What its holder asked to look at again is under review."""
    again = appeals.cases_asked_to_keep(connection, case_key, [case.id for case in found])
    return {case.id: _STATUS[_UNDER_REVIEW if case.id in again else case.state] for case in found}


def _hosts(found: Sequence[Case], status: Mapping[str, str]) -> tuple[HostCount, ...]:
    by_host: dict[str, Counter[str]] = {}
    for case in found:
        by_host.setdefault(host_of(case.image_url), Counter())[status[case.id]] += 1
    return tuple(
        HostCount(
            host=host,
            found=count.total(),
            delisted=count["delisted"],
            under_review=count["under_review"],
        )
        for host, count in sorted(by_host.items())
    )


def _linked_at(
    store: Store, txn: lmdb.Transaction, case_ref: str, case: Case, live: Sequence[str]
) -> datetime | None:
    """Return when the case reference was first named behind a signal that matches.

    Where none of its own does, but a hash that was derived from them: behind any of its signals.
    """
    for keys in ([match.signal_key for match in case.active_matches], live):
        times = [store.signals.linked_at(txn, case_ref, bytes.fromhex(key)) for key in keys]
        known = [time for time in times if time is not None]
        if known:
            return min(known)
    return None


def _since(record: SuppressionRecord | None, linked_at: datetime | None) -> str | None:
    """Say since when, never before the holder's own report: that would tell of another's."""
    if record is None:
        return None
    since = record.effective_at if linked_at is None else max(record.effective_at, linked_at)
    return since.isoformat(timespec="seconds")
