"""The deep tier: which signals an image matches once its edits are undone.

The steps, for a batch of images:

(1) Hash each image in the guesses of one set after the other (``hashing.guesses``), and look
    them up far beyond the threshold: a guess need not be right, only near. Sets are tried in
    order as long as the image's time lasts.
(2) Screen: the signals met, each by its nearest guess, by margin.
(3) Refine the best few: move the frame to where it fits best.
(4) A fit within the threshold on the weighted scale is a match. It says which guess it was,
    and never acts alone: ``delist.policy`` sends it to a person.

What is found is probable and not complete: a signal may be missed, and one that comes later
meets the image at its next visit only, since guesses need pixels.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import lmdb
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
from indexer.model import DIGEST_BYTES
from indexer.store import Store
from indexer.view import SignalView, SignalViews

_ROUNDS = (((CROPPED, PART_SET, TURNED), 80), ((WIDER, SIDEWAYS), 70))
"""Sets of guesses that are looked up together (the more at once, the cheaper each), and how
far one of them may be from a signal, in bits, to be looked at: photos that have nothing in
common hardly come closer, and a frame that lies inside the copy misses nothing."""

_SCREENED, _REFINED = 20, 4
"""Signals of an image that are screened, and that are refined."""

_WORTH_REFINING, _WORTH_GOING_ON = 72.0, 54.0
"""Weighted bits beyond which refining a guess, or going on after the first moves, has hardly
ever helped."""


@dataclass(slots=True)
class _Search:
    """One image under way: the nearest guess by signal key, and what its time is."""

    reduced: Reduced
    parts: tuple[Rectangle, ...]
    seconds: float
    met: dict[bytes, tuple[int, Guess]]


class DeepSearch:
    """Finds signals whose picture an image shows, edited. Thread-safe."""

    def __init__(
        self, store: Store, views: SignalViews, *, threshold_bits: float, budget_s: float
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
        started = time.perf_counter()
        searches = [None if image is None else self._begin(image) for image in images]
        under_way = [search for search in searches if search is not None]
        if under_way:
            _spend(under_way, started)
        for sets, reach_bits in _ROUNDS:
            left = [search for search in under_way if search.seconds > 0]
            self._guess(view, left, sets, reach_bits)  # (1)
        return [{} if search is None else self._judge(search) for search in searches]

    def _begin(self, reduced: Reduced) -> _Search:
        return _Search(reduced, find_parts(reduced), self._budget_s, {})

    def _guess(
        self,
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
        rows, keys, distances = view.find_probable(
            np.concatenate(digests), threshold_bits=reach_bits
        )
        places = np.searchsorted(ends, rows, side="right")
        for row, place, key, distance in zip(
            (rows - ends[places]).tolist(), places.tolist(), keys, distances.tolist(), strict=True
        ):
            search, guesses = asked[place]
            held = search.met.get(key.tobytes())
            if held is None or distance < held[0]:
                search.met[key.tobytes()] = distance, guesses[row]
        _spend(searches, started)

    def _judge(self, search: _Search) -> dict[bytes, Fit]:
        """Screen, refine and decide."""
        reduced = search.reduced
        nearest = sorted(search.met.items(), key=lambda entry: entry[1][0])[:_SCREENED]
        with self._store.read() as txn:
            digests = {key: digest for key, _ in nearest if (digest := self._digest(txn, key))}
        screened = sorted(
            (
                (fit(reduced, guess, digests[key]), key)
                for key, (_, guess) in nearest
                if key in digests
            ),
            key=lambda entry: entry[0].weighted_bits,
        )  # (2)
        found: dict[bytes, Fit] = {}
        for rough, key in screened[:_REFINED]:
            if rough.weighted_bits > _WORTH_REFINING:
                break
            best = _refined(reduced, rough, digests[key])  # (3)
            if best.weighted_bits <= self._threshold_bits:  # (4)
                found[key] = best
        reduced.parts.clear()
        return found

    def _digest(self, txn: lmdb.Transaction, key: bytes) -> bytes | None:
        signal = self._store.signals.find(txn, key)
        return signal.digest if signal is not None and len(signal.digest) == DIGEST_BYTES else None


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
