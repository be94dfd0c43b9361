"""Brakes that the machine sets itself: a signal that does what no true signal does.

*Blast radius*: within a window it newly matches more different sites than the policy's limit.
*Incoherence*: the images that match it do not resemble each other, so it is a collision, or was
poisoned. Either way the signal is stopped and everything it did is looked at again: what rests
on it alone goes on hold, until a person has released it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from delist.policy import CaseFacts, Policy
from delist.policy.facts import MatchFacts
from delist.store import audit, brakes, cases, reassessments
from delist.store.brakes import BrakeKind

BLAST_RADIUS = "blast_radius"
INCOHERENT = "incoherent"
ACTOR = "policy"
"""Who sets brakes here: no person."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripped:
    """A brake that has to be set.

    Attributes:
        code: ``blast_radius`` or ``incoherent``.
        detail: the figures.
    """

    signal_key: str
    code: str
    detail: str


def find_tripped(
    connection: Connection, facts: CaseFacts, site: str, *, policy: Policy, now: datetime
) -> list[Tripped]:
    """Find the signals of a case that have to be stopped.

    Args:
        facts: of the case.
        site: of the case, which is perhaps not stored yet.
    """
    found = []
    for match in facts.matches:
        if match.signal.brake is None:
            tripped = _blast(connection, match, site, policy=policy, now=now) or _incoherent(
                connection, match, policy
            )
            if tripped is not None:
                found.append(tripped)
    return found


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


def _blast(
    connection: Connection, match: MatchFacts, site: str, *, policy: Policy, now: datetime
) -> Tripped | None:
    rules, signal_key = policy.brakes, match.match.signal_key
    since = now - timedelta(hours=rules.blast_window_hours)
    released = brakes.last_release(connection, signal_key)
    # What was there when a person released the signal was looked at.
    since = since if released is None else max(since, released)
    limit = rules.blast_sites + 1
    sites = set(cases.matched_sites(connection, signal_key, since=since, limit=limit))
    if match.match.matched_at >= since:
        sites.add(site)
    if len(sites) <= rules.blast_sites:
        return None
    return Tripped(
        signal_key=signal_key,
        code=BLAST_RADIUS,
        detail=f"more than {rules.blast_sites} sites in {rules.blast_window_hours} hours",
    )


def _incoherent(connection: Connection, match: MatchFacts, policy: Policy) -> Tripped | None:
    rules, signal = policy.brakes, match.signal
    if signal.coherence is None or signal.compared < rules.incoherent_from:
        return None
    if signal.coherence >= rules.least_coherence:
        return None
    released = brakes.last_release(connection, match.match.signal_key)
    if released is not None:
        # A person has seen those images and let the signal go on: only as many others count.
        least, signal_key = rules.incoherent_from, match.match.signal_key
        new = cases.matched_contents(connection, signal_key, since=released, limit=least)
        if match.match.matched_at >= released:
            new.append(match.match.content_sha256)
        if len(set(new)) < least:
            return None
    return Tripped(
        signal_key=match.match.signal_key,
        code=INCOHERENT,
        detail=f"{signal.coherence:.0%} of the pairs of {signal.compared} images resemble "
        "each other",
    )
