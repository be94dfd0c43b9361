"""Brakes that the machine sets itself: a signal that does what no true signal does.

*Blast radius*: within a window it newly matches more different sites than the policy's limit.
*Incoherence*: the images that match it do not resemble each other, so it is a collision, or was
poisoned. *Collision*: two different files have one MD5, so somebody made them so (docs/adr/0020).
In each case the signal is stopped and everything it did is looked at again: what rests
on it alone goes on hold, until a person has released it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection

from delist.model import BrakeKind, CaseMatch
from delist.policy import WHOLE_FILE, CaseFacts, MatchFacts, Policy
from delist.store import audit, brakes, cases, reassessments

BLAST_RADIUS = "blast_radius"
INCOHERENT = "incoherent"
COLLISION = "md5_collision"
ACTOR = "policy"
"""Who sets brakes here: no person."""
_EVER = datetime.min.replace(tzinfo=UTC)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A brake that has to be set.

    Attributes:
        code: ``blast_radius``, ``incoherent`` or ``md5_collision``.
        detail: the figures.
    """

    signal_key: str
    code: str
    detail: str


def stop(connection: Connection, tripped: Tripped, *, now: datetime) -> None:
    """Stop a signal, ask for everything that it supports, and say so."""
    signal_key = tripped.signal_key
    if not brakes.put(
        connection,
        kind=BrakeKind.SIGNAL,
        name=signal_key,
        code=tripped.code,
        detail=tripped.detail,
        actor=ACTOR,
        now=now,
    ):
        return
    reassessments.ask_for_signal(connection, signal_key, reason=tripped.code, now=now)
    detail = {"code": tripped.code, "detail": tripped.detail}
    audit.append(
        connection, actor=ACTOR, act="signal.stopped", subject=signal_key, now=now, detail=detail
    )
    _log.error("signal.stopped", signal=signal_key, code=tripped.code, detail=tripped.detail)


class Breaker:
    """Finds signals that have to be stopped, for one assessor: each is asked for once."""

    def __init__(self, connection: Connection, *, policy: Policy, now: datetime) -> None:
        self._connection = connection
        self._rules = policy.brakes
        self._now = now
        self._released: dict[str, datetime | None] = {}
        self._sites: dict[str, set[str]] = {}

    def find_tripped(self, facts: CaseFacts, site: str) -> list[Tripped]:
        """Find the signals of a case that have to be stopped.

        Args:
            facts: of the case, which is stored next.
            site: of the case.
        """
        found = []
        for match in facts.matches:
            if match.signal.brake is None:
                tripped = (
                    self._blast(match.match, site)
                    or self._incoherent(match)
                    or self._collision(match.match)
                )
                if tripped is not None:
                    found.append(tripped)
        return found

    def _last_release(self, signal_key: str) -> datetime | None:
        if signal_key not in self._released:
            self._released[signal_key] = brakes.last_release(self._connection, signal_key)
        return self._released[signal_key]

    def _blast(self, match: CaseMatch, site: str) -> Tripped | None:
        rules, signal_key = self._rules, match.signal_key
        since = self._now - timedelta(hours=rules.blast_window_hours)
        released = self._last_release(signal_key)
        # What was there when a person released the signal was looked at.
        since = since if released is None else max(since, released)
        if signal_key not in self._sites:
            found = cases.matched_sites(
                self._connection, signal_key, since=since, limit=rules.blast_sites + 1
            )
            self._sites[signal_key] = set(found)
        sites = self._sites[signal_key]
        if match.matched_at >= since:
            sites.add(site)
        if len(sites) <= rules.blast_sites:
            return None
        return Tripped(
            signal_key=signal_key,
            code=BLAST_RADIUS,
            detail=f"more than {rules.blast_sites} sites in {rules.blast_window_hours} hours",
        )

    def _incoherent(self, match: MatchFacts) -> Tripped | None:
        rules, signal = self._rules, match.signal
        if signal.coherence is None or signal.compared < rules.incoherent_from:
            return None
        if signal.coherence >= rules.least_coherence:
            return None
        released = self._last_release(match.match.signal_key)
        if released is not None and self._few_since(match.match, released):
            return None
        return Tripped(
            signal_key=match.match.signal_key,
            code=INCOHERENT,
            detail=f"{signal.coherence:.0%} of the pairs of {signal.compared} images resemble "
            "each other",
        )

    def _collision(self, match: CaseMatch) -> Tripped | None:
        if match.hasher != WHOLE_FILE:
            return None
        since = self._last_release(match.signal_key) or _EVER
        contents = cases.matched_contents(self._connection, match.signal_key, since=since, limit=2)
        if match.matched_at < since or {*contents, match.content_sha256} == {match.content_sha256}:
            return None
        return Tripped(
            signal_key=match.signal_key, code=COLLISION, detail="two different files have its MD5"
        )

    def _few_since(self, match: CaseMatch, released: datetime) -> bool:
        """Whether a person has seen the images and let the signal go on, and few came since."""
        least = self._rules.incoherent_from
        new = cases.matched_contents(
            self._connection, match.signal_key, since=released, limit=least
        )
        if match.matched_at >= released:
            new.append(match.content_sha256)
        return len(set(new)) < least
