"""From the signals that an image met to how near each comes.

Steps (2) to (4) of the deep tier, as ``indexer.deep`` numbers them.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from indexer.hashing.explained import allowed_bits
from indexer.hashing.fitting import FIRST_STEPS, LAST_STEPS, Fit, fit
from indexer.hashing.guesses import Guess, Rectangle, Reduced
from indexer.hashing.strangers import Strangers

Met = dict[bytes, dict[Rectangle, tuple[int, Guess]]]
"""By signal key and part of the image: the nearest guess, and its distance in bits."""

DigestsOf = Callable[[Iterable[bytes]], dict[bytes, bytes]]

_SCREENED, _STARTS, _REFINED = 20, 2, 5
"""Signals of an image that are screened, from how many guesses each (of different parts of the
image), and how many of these are refined."""

_WORTH_REFINING, _WORTH_GOING_ON = 72.0, 54.0
"""Weighted bits beyond which refining a guess, or going on after the first moves, has hardly
ever helped."""


def refined_best(
    reduced: Reduced, met: Met, digests_of: DigestsOf, strangers: Strangers | None
) -> dict[bytes, Fit]:
    """Screen the signals that were met, each by its nearest guesses, and refine the best.

    Args:
        reduced: the image; what was cut out of it is let go.
        met: the signals.
        digests_of: gives the digests of those keys whose signals live.
        strangers: says of those that come near how many would; None leaves that out.
    """
    starts = {
        key: sorted(held.values(), key=lambda start: start[0])[:_STARTS]
        for key, held in met.items()
    }
    nearest = sorted(starts, key=lambda key: starts[key][0][0])[:_SCREENED]
    digests = digests_of(nearest)
    screened = sorted(
        (
            (fit(reduced, guess, digests[key]), key)
            for key in nearest
            if key in digests
            for _, guess in starts[key]
        ),
        key=lambda entry: entry[0].weighted_bits,
    )  # (2)
    found: dict[bytes, Fit] = {}
    for rough, key in screened[:_REFINED]:
        if rough.weighted_bits > _WORTH_REFINING:
            break
        best = _refined(reduced, rough, digests[key])  # (3)
        found[key] = min(found.get(key, best), best, key=_rank)
    reduced.parts.clear()
    if strangers is None:
        return found
    return {
        key: replace(
            one, log_strangers=strangers.log_expected(one, digests[key], met=len(met))
        )  # (4)
        if one.weighted_bits <= allowed_bits(one.guess)
        else one
        for key, one in found.items()
    }


def _rank(found: Fit) -> tuple[bool, float]:
    """Order fits: one that its guess does not explain comes after all that are explained."""
    return found.weighted_bits > allowed_bits(found.guess), found.weighted_bits


def _refined(reduced: Reduced, rough: Fit, digest: bytes) -> Fit:
    best = rough
    for steps in (FIRST_STEPS, LAST_STEPS):
        moved = fit(reduced, best.guess, digest, steps=steps)
        best = min(best, moved, key=lambda one: one.weighted_bits)
        if best.weighted_bits > _WORTH_GOING_ON:
            break
    return best
