"""The deep tier: which signals an image matches once its edits are undone.

The steps, for a batch of images:

(1) Hash each image in the guesses of one set after the other (``hashing.guesses``), and look
    them up far beyond the threshold: a guess need not be right, only near. Sets are tried in
    order as long as the image's time lasts.
(2) Screen: the signals met, each by its nearest guess, by margin.
(3) Refine the best few: move the frame to where it fits best.
(4) A fit within the threshold on the weighted scale is a match, if what the copy lacks of the
    picture explains its distance (``allowed_bits``). It says which guess it was, and never
    acts alone: ``delist.policy`` sends it to a person.

What is found is probable and not complete: a signal may be missed, and one that comes later
meets the image at its next visit only, since guesses need pixels.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.borders import find_parts
from indexer.hashing.fitting import FIRST_STEPS, LAST_STEPS, Fit, digests_of_guesses, fit
from indexer.hashing.guesses import (
    CROPPED,
    PART_SET,
    SIDEWAYS,
    TURNED,
    WHOLE,
    WIDER,
    Guess,
    GuessSet,
    Rectangle,
    Reduced,
    guesses_of,
)
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.store import Store
from indexer.view import SignalView, SignalViews

_ROUNDS = (((CROPPED, PART_SET, TURNED), 80), ((WIDER, SIDEWAYS), 70))
"""Sets of guesses that are looked up together (the more at once, the cheaper each), and how
far one of them may be from a signal, in bits, to be looked at: photos that have nothing in
common hardly come closer, and a frame that lies inside the copy misses nothing."""

_SCREENED, _STARTS, _REFINED = 20, 2, 5
"""Signals of an image that are screened, from how many guesses each (of different parts of the
image), and how many of these are refined."""

_WORTH_REFINING, _WORTH_GOING_ON = 72.0, 54.0
"""Weighted bits beyond which refining a guess, or going on after the first moves, has hardly
ever helped."""


THRESHOLD_BITS = 36.0
"""Weighted bits up to which a fit is a match, unless it is told otherwise (docs/adr/0016)."""

_UNEXPLAINED, _FOR_ALL_MISSING = 24.0, 100.0


@dataclass(slots=True)
class _Search:
    """One image under way: the nearest guess by signal key and part, and what time is left."""

    reduced: Reduced
    parts: tuple[Rectangle, ...]
    seconds: float
    met: dict[bytes, dict[Rectangle, tuple[int, Guess]]]


class DeepSearch:
    """Finds signals whose picture an image shows, edited. Thread-safe."""

    def __init__(
        self,
        store: Store,
        views: SignalViews,
        *,
        threshold_bits: float = THRESHOLD_BITS,
        budget_s: float,
    ) -> None:
        """Search with a threshold on the weighted scale and a time for each image.

        Args:
            threshold_bits: largest weighted distance that is a match, inclusive.
            budget_s: seconds after which no further guesses are made for an image.
        """
        self._store = store
        self._views = views
        self._threshold_bits = threshold_bits
        self._budget_s = budget_s

    def find(self, images: Sequence[Reduced | None]) -> list[dict[bytes, Fit]]:
        """Find for each image the live signals that it matches, by key; none for None."""
        view = self._views.newest()
        if not view.count:
            return [{} for _ in images]
        closest = closest_signals(view, images, self._digests, budget_s=self._budget_s)
        return [
            {key: one for key, one in near.items() if is_match(one, self._threshold_bits)}
            for near in closest
        ]

    def _digests(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        with self._store.read() as txn:
            found = ((key, self._store.signals.find(txn, key)) for key in keys)
            return {
                key: signal.digest
                for key, signal in found
                if signal is not None and len(signal.digest) == DIGEST_BYTES
            }


def closest_signals(
    view: SignalView,
    images: Sequence[Reduced | None],
    digests_of: Callable[[Iterable[bytes]], dict[bytes, bytes]],
    *,
    budget_s: float,
) -> list[dict[bytes, Fit]]:
    """Find the few signals that come closest to each image, matches or not: steps (1) to (3).

    Args:
        view: where to look.
        images: none for None.
        digests_of: gives the digests of those keys whose signals live.
        budget_s: seconds after which no further guesses are made for an image.
    """
    started = time.perf_counter()
    searches = [
        None if image is None else _Search(image, find_parts(image), budget_s, {})
        for image in images
    ]
    under_way = [search for search in searches if search is not None]
    _spend(under_way, started)
    for sets, reach_bits in _ROUNDS:
        left = [search for search in under_way if search.seconds > 0]
        _guess(view, left, sets, reach_bits)  # (1)
    return [{} if search is None else _refined_best(search, digests_of) for search in searches]


def is_match(found: Fit, threshold_bits: float) -> bool:
    """Decide: within the threshold, inclusive, and explained by the guess."""
    return found.weighted_bits <= min(threshold_bits, allowed_bits(found.guess))  # (4)


def allowed_bits(guess: Guess) -> float:
    """Return the weighted distance that a guess explains: the more is missing, the more.

    A frame within the copy lacks nothing, so the true one fits well; what fits it badly is a
    picture of another, of simple shapes, that was moved until it came near.
    """
    return _UNEXPLAINED + _FOR_ALL_MISSING * guess.frame.missing_share


def _guess(
    view: SignalView,
    searches: list[_Search],
    sets: tuple[GuessSet, ...],
    reach_bits: int,
) -> None:
    started = time.perf_counter()
    digests: list[NDArray[np.uint8]] = []
    asked: list[tuple[_Search, tuple[Guess, ...]]] = []
    for search in searches:
        for guess_set in sets:
            for rectangle in search.parts if guess_set is PART_SET else (WHOLE,):
                digests.append(digests_of_guesses(search.reduced, guess_set, rectangle))
                asked.append((search, guesses_of(guess_set, rectangle)))
    if not asked:
        return
    ends = np.cumsum([len(made) for made in digests])
    rows, keys, distances = view.find_probable(np.concatenate(digests), threshold_bits=reach_bits)
    places = np.searchsorted(ends, rows, side="right")
    for row, place, key, distance in zip(
        (rows - ends[places]).tolist(), places.tolist(), keys, distances.tolist(), strict=True
    ):
        search, guesses = asked[place]
        held = search.met.setdefault(key.tobytes(), {})
        guess = guesses[row]
        if distance < held.get(guess.frame.rectangle, (DIGEST_BITS,))[0]:
            held[guess.frame.rectangle] = distance, guess
    _spend(searches, started)


def _refined_best(
    search: _Search, digests_of: Callable[[Iterable[bytes]], dict[bytes, bytes]]
) -> dict[bytes, Fit]:
    """Screen the signals that were met, each by its nearest guesses, and refine the best."""
    reduced = search.reduced
    starts = {
        key: sorted(held.values(), key=lambda start: start[0])[:_STARTS]
        for key, held in search.met.items()
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
    return found


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


def _spend(searches: list[_Search], started: float) -> None:
    """Take what a step took from the time of the images, in equal parts."""
    share = (time.perf_counter() - started) / max(len(searches), 1)
    for search in searches:
        search.seconds -= share
