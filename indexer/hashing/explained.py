"""When a fit of the deep tier is a match (docs/adr/0016).

(1) Its weighted distance is within the threshold, inclusive.
(2) What the copy lacks of the picture explains that distance, and the copy is hardly turned:
    guesses are of turns up to five degrees, and a frame that ends far beyond was turned to fit.
(3) Strangers do not explain it: where enough signals are held to tell, next to none is to be
    expected so near to such an image.
"""

from indexer.hashing.fitting import Fit
from indexer.hashing.guesses import Guess

THRESHOLD_BITS = 36.0
"""Weighted bits up to which a fit is a match, unless it is told otherwise."""

MOST_LOG_STRANGERS = -24.5
"""Natural logarithm of the most strangers (``strangers``) that a match may have to expect."""

_UNEXPLAINED, _FOR_ALL_MISSING = 24.0, 100.0
_MOST_TURN_DEG = 7.0


def is_match(found: Fit, threshold_bits: float) -> bool:
    """Decide by (1) to (3)."""
    return found.weighted_bits <= threshold_bits and is_explained(found)


def is_explained(found: Fit) -> bool:
    """Decide by (2) and (3): whether it is a match at any threshold that is as far."""
    beyond_chance = found.log_strangers is None or found.log_strangers <= MOST_LOG_STRANGERS
    return found.weighted_bits <= allowed_bits(found.guess) and beyond_chance


def allowed_bits(guess: Guess) -> float:
    """Return the weighted distance that a guess explains: the more is missing, the more.

    A frame within the copy lacks nothing, so the true one fits well; what fits it badly is a
    picture of another, of simple shapes, that was moved until it came near. Nothing where the
    copy would have been turned by more than is looked for.
    """
    if abs(guess.frame.turn_deg) > _MOST_TURN_DEG:
        return 0.0
    return _UNEXPLAINED + _FOR_ALL_MISSING * guess.frame.missing_share
