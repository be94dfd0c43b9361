"""What public pages of one app share: limits in memory, and tickets."""

import threading
from dataclasses import dataclass, field

from delist.build import Delist
from delist.site_proof import SiteFetch
from delist.web.limits import RateLimiter
from delist.web.public.tickets import Tickets
from delist.web.public.tries import Tries

_REPORTS_PER_HOUR, _REPORTS_AT_ONCE = 10, 10
_APPEALS_PER_HOUR, _APPEALS_AT_ONCE = 30, 15
_PAPERS_PER_HOUR, _PAPERS_AT_ONCE = 30, 5
_PAPERS_NOW, _PROOFS_NOW = 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """Numbers of a process count for each of its workers.

    Attributes:
        reports, appeals, papers: of one network. A shelter has one address for many.
        papers_now, proofs_now: at the same time, since each holds a thread for seconds.
        fetch: looks for proofs on websites.
    """

    tickets: Tickets
    tries: Tries = field(default_factory=Tries)
    reports: RateLimiter = field(
        default_factory=lambda: RateLimiter(per_s=_REPORTS_PER_HOUR / 3600, burst=_REPORTS_AT_ONCE)
    )
    appeals: RateLimiter = field(
        default_factory=lambda: RateLimiter(per_s=_APPEALS_PER_HOUR / 3600, burst=_APPEALS_AT_ONCE)
    )
    papers: RateLimiter = field(
        default_factory=lambda: RateLimiter(per_s=_PAPERS_PER_HOUR / 3600, burst=_PAPERS_AT_ONCE)
    )
    papers_now: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_PAPERS_NOW)
    )
    proofs_now: threading.Semaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_PROOFS_NOW)
    )
    fetch: SiteFetch = field(default_factory=SiteFetch)


def public_of(delist: Delist) -> Public:
    """Make the state of an app."""
    return Public(tickets=Tickets(delist.reports.secret, delist.clock))
