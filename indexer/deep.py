"""The deep tier: which signals an image matches once its edits are undone.

The steps, for a batch of images:

(1) Hash each image in the guesses of one set after the other (``hashing.guesses``), and look
    them up far beyond the threshold: a guess need not be right, only near. Sets are tried in
    order as long as the image's time lasts.
(2) Screen: the signals met, each by its nearest guess, by margin.
(3) Refine the best few: move the frame to where it fits best.
(4) Ask of those that are near how many strangers would be (``hashing.strangers``): a picture
    of few shapes comes near to many. (2) to (4) are ``hashing.refining``.
(5) What is a match says ``hashing.explained``. It names the guess, and never acts alone:
    ``delist.policy`` sends it to a person.

What is found is probable and not complete: a signal may be missed, and one that comes later
meets the image at its next visit only, since guesses need pixels.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.hashing.borders import find_parts
from indexer.hashing.explained import THRESHOLD_BITS, is_match
from indexer.hashing.fitting import Fit, digests_of_guesses
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
from indexer.hashing.refining import DigestsOf, Met, refined_best
from indexer.hashing.strangers import LEAST_SIGNALS, Strangers
from indexer.model import DIGEST_BITS, DIGEST_BYTES
from indexer.store import Store
from indexer.view import SignalView, SignalViews

_ROUNDS = (((CROPPED, PART_SET, TURNED), 80), ((WIDER, SIDEWAYS), 70))
"""Sets of guesses that are looked up together (the more at once, the cheaper each), and how
far one of them may be from a signal, in bits, to be looked at: photos that have nothing in
common hardly come closer, and a frame that lies inside the copy misses nothing."""

_SAMPLED_CHUNKS = 64
"""Chunks of the signals' hash column, of 4,096 each, from which strangers are sampled."""


@dataclass(slots=True)
class _Search:
    """One image under way: the nearest guess by signal key and part, and what time is left."""

    reduced: Reduced
    parts: tuple[Rectangle, ...]
    seconds: float
    met: Met


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
        self._strangers: tuple[tuple[int, int], Strangers | None] | None = None

    def find(self, images: Sequence[Reduced | None]) -> list[dict[bytes, Fit]]:
        """Find for each image the live signals that it matches, by key; none for None."""
        view = self._views.newest()
        if not view.count:
            return [{} for _ in images]
        closest = closest_signals(
            view,
            images,
            self._digests,
            budget_s=self._budget_s,
            strangers=self._strangers_in(view),
        )
        return [
            {key: one for key, one in near.items() if is_match(one, self._threshold_bits)}
            for near in closest
        ]

    def _strangers_in(self, view: SignalView) -> Strangers | None:
        """Return a sample of the signals; a new one where the base is new or they have doubled.

        None where there are too few.
        """
        state = view.parts[0].version, view.count.bit_length()
        held = self._strangers
        if held is None or held[0] != state:
            digests = self._sample()
            held = state, Strangers(digests) if len(digests) >= LEAST_SIGNALS else None
            self._strangers = held
        return held[1]

    def _sample(self) -> NDArray[np.uint8]:
        """Copy the live digests of up to ``_SAMPLED_CHUNKS`` chunks of the hash column."""
        column = self._store.signals.column
        with self._store.read() as txn:
            count = column.chunk_count(txn)
            chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED_CHUNKS)).astype(int))
            chunks = (column.chunk(txn, number) for number in chosen.tolist())
            return np.concatenate(
                [
                    np.empty((0, DIGEST_BYTES), np.uint8),
                    *(chunk.digests[chunk.flags != 0, 0] for chunk in chunks),
                ]
            )

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
    digests_of: DigestsOf,
    *,
    budget_s: float,
    strangers: Strangers | None = None,
) -> list[dict[bytes, Fit]]:
    """Find the few signals that come closest to each image, matches or not: steps (1) to (4).

    Args:
        view: where to look.
        images: none for None.
        digests_of: gives the digests of those keys whose signals live.
        budget_s: seconds after which no further guesses are made for an image.
        strangers: a sample of the signals; None leaves out step (4).
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
    return [
        {} if search is None else refined_best(search.reduced, search.met, digests_of, strangers)
        for search in searches
    ]


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


def _spend(searches: list[_Search], started: float) -> None:
    """Take what a step took from the time of the images, in equal parts."""
    share = (time.perf_counter() - started) / max(len(searches), 1)
    for search in searches:
        search.seconds -= share
