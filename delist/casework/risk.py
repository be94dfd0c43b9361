"""How much hangs on a case while it waits: its place in the queue. Pure.

Two harms are weighed. What is still shown exposes somebody, the more so the nearer the match and
the more pages show it. What is hidden already, provisionally, may silence somebody: the more so
the further the match is away.
"""

from datetime import datetime, timedelta
from math import log2

from delist.model import CaseMatch, CaseState
from delist.policy.rules import MAX_BITS

_SHOWN, _HIDDEN, _HELD = 45, 15, 25
_MOST_FOR_DISTANCE, _MOST_FOR_REACH = 30, 15
_FOR_DISPUTE = 10
_SHARE_OF_THE_CLOCK = 0.5
_MOST = 100


def risk_of(
    state: CaseState, match: CaseMatch, *, reach: int, disputed: bool, urgency: int = 0
) -> int:
    """Return how much hangs on a case, 0-100.

    Args:
        match: the nearest one that stands behind it.
        reach: pages and near-duplicates that show the image.
        urgency: points that what pages say adds; see ``policy.pages``.
    """
    distance = match.weighted_bits if match.weighted_bits is not None else match.distance_bits
    far = min(1.0, distance / MAX_BITS)
    base, weight = {
        CaseState.OPEN: (_SHOWN, 1 - far),
        CaseState.SUPPRESSED: (_HIDDEN, far),
        CaseState.QUARANTINED: (_HELD, 1 - far),
    }.get(state, (0, 0.0))
    spread = min(1.0, log2(max(1, reach)) / 10)
    total = base + _MOST_FOR_DISTANCE * weight + _MOST_FOR_REACH * spread
    return min(_MOST, round(total + (_FOR_DISPUTE if disputed else 0) + (urgency if base else 0)))


def queue_place(deadline_at: datetime, risk: int, *, review_hours: int) -> datetime:
    """Return the place in the queue: the deadline, earlier by up to half the clock for risk."""
    return deadline_at - timedelta(hours=review_hours * _SHARE_OF_THE_CLOCK * risk / _MOST)
