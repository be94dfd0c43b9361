"""When a soak calls a series flat, growing, or neither."""

import numpy as np
import pytest

from tests.benchmarks.soak.verdict import Word, trend

HOUR_S, EVERY_S = 3600, 5
LIMIT = 8.0


def noise(seed: int, *, sigma: float) -> np.ndarray:
    """Noise in which one look resembles the last, as memory does."""
    dice = np.random.default_rng(seed)
    values = np.zeros(HOUR_S // EVERY_S)
    for at in range(1, len(values)):
        values[at] = 0.95 * values[at - 1] + dice.normal(0, sigma)
    return values


def judged(values: np.ndarray, *, warm_up_s: float = 900) -> Word:
    times = (np.arange(len(values)) * float(EVERY_S)).tolist()
    found = trend(times, values.tolist(), warm_up_s=warm_up_s, limit=LIMIT)
    assert found is not None
    return found.word


@pytest.mark.parametrize("seed", range(5))
def test_noise_around_a_level_is_flat(seed: int) -> None:
    """What goes up and down, one look like the last, does not grow."""
    assert judged(200 + noise(seed, sigma=0.3)) is Word.FLAT


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_seen_through_noise(seed: int) -> None:
    """Growth of five times the limit an hour is called so, though single looks hide it."""
    hours = np.arange(HOUR_S // EVERY_S) * EVERY_S / HOUR_S
    assert judged(200 + 40 * hours + noise(seed, sigma=0.5)) is Word.GROWS


def test_what_is_too_noisy_is_not_called_flat() -> None:
    """Where growth beyond the limit cannot be excluded, nobody says that there is none."""
    assert judged(200 + noise(3, sigma=20.0)) is not Word.FLAT


def test_the_warm_up_does_not_count() -> None:
    """A process that loads for ten minutes and is level from then on is flat."""
    times = np.arange(HOUR_S // EVERY_S) * float(EVERY_S)
    loaded = np.minimum(times, 600) / 600 * 300

    assert judged(loaded + noise(1, sigma=0.1)) is Word.FLAT
    assert judged(loaded + noise(1, sigma=0.1), warm_up_s=0) is Word.GROWS


def test_too_little_is_not_judged() -> None:
    """Three minutes say nothing."""
    times = [float(at) for at in range(0, 180, EVERY_S)]
    assert trend(times, [1.0] * len(times), warm_up_s=0, limit=LIMIT) is None
