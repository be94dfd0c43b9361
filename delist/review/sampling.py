"""Which decisions a second reviewer makes again, and how well people agree. Pure."""

import hmac
from dataclasses import dataclass
from math import sqrt

_WHOLE = 2**64
_Z_95 = 1.959964


def is_drawn(key: bytes, decision_id: int, *, percent: float) -> bool:
    """Whether a decision is in the sample. Nobody without the key can tell beforehand.

    Args:
        percent: share of decisions that are drawn, 0-100.
    """
    drawn = hmac.digest(key, f"blind {decision_id}".encode(), "sha256")
    return int.from_bytes(drawn[:8]) < _WHOLE * percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share with its Wilson interval at 95 %, all 0-1."""

    value: float
    low: float
    high: float


def share_of(part: int, whole: int) -> Share | None:
    """Return a share and how sure it is; None of nothing."""
    if not whole:
        return None
    value, square = part / whole, _Z_95**2
    centre = value + square / (2 * whole)
    spread = _Z_95 * sqrt(value * (1 - value) / whole + square / (4 * whole**2))
    scale = 1 + square / whole
    return Share(
        value=value,
        low=max(0.0, (centre - spread) / scale),
        high=min(1.0, (centre + spread) / scale),
    )
