"""Is it flat? A slope with its uncertainty, over all that came after the warm-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_DRAWS = 2_000
_BLOCK = 5
"""Minutes that are drawn together: what happens in one goes on in the next."""
_LEAST_MINUTES = 4


class Word(StrEnum):
    """What is said of one series."""

    FLAT = "flat"
    GROWS = "grows"
    UNSURE = "unsure"
    """What was seen is too noisy, or too short, to exclude that it grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How a series goes.

    Attributes:
        level: median after the warm-up.
        slope: of a straight line through the medians of minutes, an hour.
        low, high: where the slope lies with 95 % confidence, by a block bootstrap.
        limit: growth an hour that counts as none.
    """

    level: float
    slope: float
    low: float
    high: float
    limit: float

    @property
    def word(self) -> Word:
        """Say whether growth beyond the limit is excluded, sure, or neither."""
        if self.high <= self.limit:
            return Word.FLAT
        return Word.GROWS if self.low > self.limit else Word.UNSURE


def trend(
    times_s: Sequence[float], values: Sequence[float], *, warm_up_s: float, limit: float
) -> Trend | None:
    """Fit a series; None where there is too little of it.

    Args:
        times_s: of the looks, ascending; the warm-up counts from the first.
        limit: growth an hour, in the values' unit, that counts as none.
    """
    at = np.asarray(times_s, np.float64)
    seen = np.asarray(values, np.float64)
    after = at - at[0] >= warm_up_s if len(at) else np.zeros(0, np.bool_)
    if not after.any():
        return None
    minutes, medians = _minutes(at[after], seen[after])
    if len(minutes) < _LEAST_MINUTES:
        return None
    hours = minutes / 60
    slope, start = np.polyfit(hours, medians, 1)
    rests = medians - (start + slope * hours)
    slopes = _bootstrapped(hours, rests) + slope
    low, high = np.percentile(slopes, (2.5, 97.5))
    return Trend(
        level=float(np.median(medians)),
        slope=float(slope),
        low=float(low),
        high=float(high),
        limit=limit,
    )


def _minutes(
    at: NDArray[np.float64], seen: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    number = np.floor((at - at[0]) / 60).astype(np.int64)
    kept = np.unique(number)
    return kept.astype(np.float64), np.array([np.median(seen[number == one]) for one in kept])


def _bootstrapped(hours: NDArray[np.float64], rests: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slopes of what is left without the line, put together anew from blocks of minutes."""
    dice = np.random.default_rng(1)
    size = min(_BLOCK, max(1, len(rests) // 3))
    starts = dice.integers(0, len(rests) - size + 1, (_DRAWS, -(-len(rests) // size)))
    places = (starts[..., np.newaxis] + np.arange(size)).reshape(_DRAWS, -1)[:, : len(rests)]
    centred = hours - hours.mean()
    drawn = rests[places]
    found: NDArray[np.float64] = (drawn @ centred) / (centred @ centred)
    return found
