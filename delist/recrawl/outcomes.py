"""What a look came to, and when the next one is. Pure.

The schedule decays: every look that comes to the same as the one before doubles the time to the
next. A change starts it anew.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from delist.settings import RecrawlSettings
from delist.store.recrawls import Recrawl


class LookOutcome(StrEnum):
    """What became of a suppressed URL; beside these there are the crawler's refusal codes."""

    UNCHANGED = "unchanged"
    """The bytes that are known."""
    GONE = "gone"
    """There is nothing (404, 410). The record stays, so a copy that comes back is hidden."""
    CHANGED = "changed"
    """Other bytes: they were hashed, and the case is decided anew."""
    MOVED = "moved"
    """It leads to another URL than before, or to itself again."""


HOST_NOT_FOUND = "host_not_found"
_GONE = frozenset({"http_404", "http_410"})
_ANEW = frozenset({LookOutcome.CHANGED, LookOutcome.MOVED})


@dataclass(frozen=True, slots=True)
class Held:
    """What the indexer holds for a URL: of which image, with which bytes."""

    image_key: bytes
    sha256: bytes = field(repr=False)


def outcome_of(code: str | None, before: Held | None, after: Held | None) -> str:
    """Say what a look came to.

    Args:
        code: why the URL was refused, or None when it was answered.
        before: what was held before the look.
        after: what is held now.
    """
    if code is not None:
        return LookOutcome.GONE if code in _GONE else code
    if before == after:
        return LookOutcome.UNCHANGED
    if before is not None and after is not None and before.image_key != after.image_key:
        return LookOutcome.MOVED
    return LookOutcome.CHANGED


def is_other(held: Held | None, content_sha256: str) -> bool:
    """Say whether other bytes are held now than those that a case is about, hex."""
    return held is not None and held.sha256.hex() != content_sha256


def looked(entry: Recrawl, outcome: str, settings: RecrawlSettings, *, now: datetime) -> Recrawl:
    """Return a URL's place on the schedule after a look."""
    same = outcome == entry.outcome and outcome not in _ANEW
    streak = entry.streak + 1 if same else 0
    wait = timedelta(hours=settings.first_hours) * 2.0 ** min(streak, 32)
    return replace(
        entry,
        outcome=outcome,
        streak=streak,
        since=entry.since if same else now,
        looked_at=now,
        next_at=now + min(wait, timedelta(days=settings.longest_days)),
    )


def counts_as(entry: Recrawl, settings: RecrawlSettings, *, now: datetime) -> str:
    """Say what the last look counts as: a name that has not resolved for long is gone."""
    long_ago = now - timedelta(days=settings.host_gone_days)
    if entry.outcome == HOST_NOT_FOUND and entry.since is not None and entry.since <= long_ago:
        return LookOutcome.GONE
    return entry.outcome
