"""Carrying rare false matches on to more signals."""

import numpy as np
import pytest

from delist.ops.evaluate.tails import extrapolate


def test_an_exponential_tail_is_carried_on() -> None:
    """Of distances that thin out by a known factor, the rate far below all of them is met."""
    random = np.random.default_rng(4)
    distances = 100 - random.exponential(5, 20_000)
    photos = np.arange(20_000) // 20

    found = extrapolate(distances, photos, [40.0, 60.0], growth=10, seed=1)

    for one, true in zip(found, np.exp(-np.array([60, 40]) / 5), strict=True):
        assert one.low < one.rate < one.high
        assert 10 * true / 4 < one.rate < 10 * true * 4
        assert one.low < 10 * true < 2 * one.high


def test_what_was_seen_is_counted() -> None:
    """Above the level where the tail begins, rates are what was observed."""
    distances = np.linspace(20, 120, 1000)

    found = extrapolate(distances, np.arange(1000), [70.0], growth=1, seed=1)

    assert found[0].observed == 500
    assert found[0].rate == pytest.approx(0.5)


def test_copies_of_few_photos_are_less_sure() -> None:
    """Copies that all come of the same few photos widen the interval."""
    distances = 100 - np.random.default_rng(5).exponential(5, 2_000)
    distances[:20] -= 20  # one photo's copies are near something

    narrow = extrapolate(distances, np.arange(2_000), [70.0], growth=1, seed=1)[0]
    wide = extrapolate(distances, np.arange(2_000) // 20, [70.0], growth=1, seed=1)[0]

    assert wide.high - wide.low > narrow.high - narrow.low


def test_nothing_seen_leaves_the_rule_of_three() -> None:
    """Where no stranger came near, what few photos allow is said, not zero."""
    distances = np.full(100, np.inf)

    found = extrapolate(distances, np.arange(100) // 10, [36.0], growth=2, seed=1)[0]

    assert (found.observed, found.rate, found.low) == (0, 0, 0)
    assert found.high == pytest.approx(0.6)
