"""The survivor report: what was found and delisted for one case reference.

Addresses are shown only to the holder of the case's access code, and defanged, so
that nothing opens by accident. Everybody else gets hosts and counts. A case that has
ended is told just that: what other people reported is not its holder's to know.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import lmdb
from markupsafe import Markup
from sqlalchemy import Connection

from delist import emission
from delist.errors import UnknownCaseRefError
from delist.model import Case, CaseMatch, CaseState, Support
from delist.policy import DIRECT_FEED
from delist.reporting import helplines, pages
from delist.reporting.addresses import defang
from delist.reporting.languages import Language, language
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


def _(message: str) -> str:
    """Mark a message for the catalogues."""
    return message


CANNOT_SEE = (
    _("Copies that were cropped, put in a frame, or turned a little may not be found."),
    _("We only check images and videos that this search engine has visited."),
    _(
        "We find a video only if it is exactly the file that was reported. If a video was cut,"
        " or saved again by an app, we may not find it."
    ),
    _(
        "We take a copy out of these search results. It is still on the website, and other search"
        " engines may show it."
    ),
)
NEXT_STEPS = {
    "active": (
        _("You do not have to do anything. We keep looking."),
        _("If you see a copy that we did not find, tell a helpline. You do not have to search."),
        _("A helpline can help you to ask a website to delete the copy."),
        _(
            "You can end your case at StopNCII.org at any time. Then we stop looking, and copies"
            " that are hidden only because of your case can show in results again."
        ),
        _("If you are in danger now, call the emergency number of your country."),
    ),
    "active_here": (
        _("You do not have to do anything. We keep looking."),
        _("If you see a copy that we did not find, tell a helpline. You do not have to search."),
        _("A helpline can help you to ask a website to delete the copy."),
        _(
            "You can end your case here at any time, with its access code. Then we stop looking,"
            " and copies that are hidden only because of your case can show in results again."
        ),
        _("If you are in danger now, call the emergency number of your country."),
    ),
    "ended": (
        _("If you want us to look again, make a new case at StopNCII.org."),
        _("If you did not end this case yourself, ask a helpline what happened."),
        _("If you are in danger now, call the emergency number of your country."),
    ),
}


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
        since: since when it has been delisted without a break (ISO 8601, UTC), or None; not before
            the case was reported.
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
        reported_here: whether it was reported to us directly; it ends here too, then.
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
    reported_here: bool = False


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
        found_signals = [store.signals.find(txn, bytes.fromhex(key)) for key in live]
        compared = sum(map(_is_compared, found_signals))
        reported_here = any(s is not None and s.feed == DIRECT_FEED for s in found_signals)
        with database.read() as connection:
            behind = signals_behind(connection, live)
            candidates = cases.supported_by(connection, behind)
            found = [case for case in candidates if is_told_of(case, behind)]
            status = _statuses(connection, found, store.signals.case_key(case_ref).hex())
            records = {case.id: ledger.of_case(connection, case.id) for case in found}
        linked = {case.id: _linked_at(store, txn, case_ref, case, live) for case in found}
        pages = {case.id: store.images.pages(txn, bytes.fromhex(case.image_key)) for case in found}
        aliases = {
            case.id: store.images.aliases(txn, bytes.fromhex(case.image_key)) for case in found
        }
    images = tuple(
        ReportedImage(
            image_urls=tuple(
                # Also what led to it, and is kept away although it leads elsewhere now.
                defang(url)
                for url in dict.fromkeys(
                    (case.image_url, *aliases[case.id], *emission.effective(records[case.id]))
                )
            ),
            page_urls=tuple(defang(url) for url in pages[case.id]),
            status=status[case.id],
            since=_since(emission.hidden_since(records[case.id], case.image_url), linked[case.id]),
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
        reported_here=reported_here,
    )


def as_json(
    report: SurvivorReport, words: Language | None = None, *, country: str | None = None
) -> dict[str, Any]:
    """Turn a report into JSON values; what needs an access code is left out without one.

    Args:
        words: language of the sentences in it; English by default.
        country: whose helplines to name, ISO 3166; by default those of the language.
    """
    words = words or language("en")
    values = asdict(report)
    if report.images is None:
        del values["images"]
    return values | {
        "lang": words.tag,
        "cannot_see": [words.say(sentence) for sentence in CANNOT_SEE],
        "next_steps": [words.say(sentence) for sentence in NEXT_STEPS[_next(report)]],
        "help": [helplines.as_json(line, words) for line in helplines.choose(words, country)],
    }


def as_html(
    report: SurvivorReport,
    words: Language | None = None,
    *,
    country: str | None = None,
    for_paper: bool = False,
) -> str:
    """Write a report as one HTML page that loads nothing from anywhere; see ``as_json``.

    Args:
        for_paper: without what only a browser has, the way to leave.
    """
    words = words or language("en")
    return pages.render(
        "survivor_report.html", words, for_paper=for_paper, **_values(report, words, country)
    )


def as_parts(
    report: SurvivorReport, words: Language, *, country: str | None = None
) -> tuple[Markup, Markup]:
    """Write what was found, and what comes next, as parts of a page."""
    values = _values(report, words, country)
    return (
        pages.fragment("survivor_found.html", words, **values),
        pages.fragment("survivor_next.html", words, **values),
    )


def _values(report: SurvivorReport, words: Language, country: str | None) -> dict[str, Any]:
    told = as_json(report, words, country=country)
    return {
        "report": report,
        "cannot_see": told["cannot_see"],
        "next_steps": told["next_steps"],
        "helplines": told["help"],
    }


def _next(report: SurvivorReport) -> str:
    here = report.reported_here and report.case_status == "active"
    return "active_here" if here else report.case_status


def _is_compared(signal: Signal | None) -> bool:
    return signal is not None and signal.kind in MATCHED_KINDS


def is_told_of(case: Case, signals: AbstractSet[str]) -> bool:
    """Say whether the holder of some live signals, hex keys, is told of a case.

    One of them stands behind it, or it is kept away because of one.
    """
    return any(
        match.signal_key in signals
        and (match.support is Support.ACTIVE or _is_kept_for(case, match))
        for match in case.matches
    )


def signals_behind(connection: Connection, live: Sequence[str]) -> set[str]:
    """Return live signals of a case reference, hex keys, and hashes of ours that they lead to.

    What only a hash of ours finds stands because of them (``feedback.giving_back``).
    """
    return {*live, *submissions.derived_from(connection, live)}


def _is_kept_for(case: Case, match: CaseMatch) -> bool:
    """Whether what a person confirmed stays away for a match, though nothing matches it now.

    A website may answer us with something else than it shows to people (``casework.confirmed``):
    its holder must not read that there is nothing.
    """
    return (
        case.state is CaseState.SUPPRESSED
        and not case.active_matches
        and match.support is Support.ENDED
        and match.content_sha256 == (case.confirmed_sha256 or case.content_sha256)
    )


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


def _since(hidden_since: datetime | None, linked_at: datetime | None) -> str | None:
    """Say since when, never before the holder's own report: that would tell of another's."""
    if hidden_since is None:
        return None
    since = hidden_since if linked_at is None else max(hidden_since, linked_at)
    return since.isoformat(timespec="seconds")
