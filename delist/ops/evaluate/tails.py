"""How often strangers would match among more signals than were looked at.

The nearest stranger of each copy is known. Below a level that a tenth of the copies reach,
the distances thin out about exponentially (a peaks-over-threshold estimate with the shape
held at zero), so

    share of copies with a stranger within T  =  share below the level * exp(-(level - T) / scale)

with the scale the mean depth below the level. More signals give as many more strangers.
Copies of one photo are alike, so the uncertainty comes from drawing whole photos again and
again (a bootstrap). Where too few copies came near anything for a slope, there is no estimate
but what was seen, and the upper end is what nothing seen among so many photos still allows
(three over their number, "the rule of three"): to learn more, bring more photos and signals.

What this cannot know: whether the tail keeps its slope beyond what was seen.

Sources: J. Pickands, "Statistical inference using extreme order statistics" (1975);
B. Efron, "Bootstrap methods" (1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEVEL_SHARE, _LEAST_COUNT = 0.1, 20
_DRAWS = 400
_RULE_OF_THREE = 3.0
_LEAST_SCALE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FalseMatches:
    """Expected false matches of one image.

    Attributes:
        observed: copies that had a stranger within the threshold.
        rate: expected number among the signals asked for.
        low, high: its 95 % interval.
    """

    threshold_bits: float
    observed: int
    rate: float
    low: float
    high: float


def extrapolate(
    distances: NDArray[np.float64],
    photos: NDArray[np.int64],
    thresholds: Sequence[float],
    *,
    growth: float,
    seed: int,
) -> list[FalseMatches]:
    """Estimate false matches at each threshold.

    Args:
        distances: float64[n], bits, of each copy's nearest stranger; infinite where none was.
        photos: int64[n]: which photo each copy was made of.
        thresholds: in bits, inclusive.
        growth: signals asked for, through signals looked at.
        seed: of the bootstrap.
    """
    limits = np.array(thresholds, np.float64)
    observed = [int((distances <= threshold).sum()) for threshold in thresholds]
    groups = [distances[photos == photo] for photo in np.unique(photos)]
    if np.isfinite(distances).sum() < _LEAST_COUNT:
        rates = low = np.array(observed) / len(distances)
        high = np.minimum((np.array(observed) + _RULE_OF_THREE) / len(groups), 1.0)
    else:
        random = np.random.default_rng(seed)
        rates = _shares(distances, limits)
        draws = random.integers(0, len(groups), (_DRAWS, len(groups)))
        drawn = [_shares(np.concatenate([groups[one] for one in some]), limits) for some in draws]
        low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    return [
        FalseMatches(
            threshold_bits=threshold,
            observed=observed[place],
            rate=float(rates[place]) * growth,
            low=float(low[place]) * growth,
            high=float(high[place]) * growth,
        )
        for place, threshold in enumerate(thresholds)
    ]


def _shares(distances: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of copies with a stranger within each threshold, of the fitted tail."""
    ordered = np.sort(distances[np.isfinite(distances)])
    if not len(ordered):
        return np.zeros(len(thresholds))
    count = min(max(int(_LEVEL_SHARE * len(distances)), _LEAST_COUNT), len(ordered))
    level = float(ordered[count - 1])
    scale = max(float((level - ordered[:count]).mean()), _LEAST_SCALE)
    fitted = count / len(distances) * np.exp(np.minimum((thresholds - level) / scale, 0.0))
    # What was seen needs no formula.
    seen = np.searchsorted(ordered, thresholds, side="right") / len(distances)
    return np.maximum(fitted, seen)
