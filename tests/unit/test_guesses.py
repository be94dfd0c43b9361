"""Guesses of edits: the reduction, the frames, the variants, and the search from one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from delist.ops.pictures import draw_photo
from indexer.hashing.fitting import digests_of_guesses, fit, margin_weights
from indexer.hashing.guesses import (
    GUESS_SETS,
    REDUCED_SIDE,
    WHOLE,
    Frame,
    Guess,
    GuessSet,
    guesses_of,
)
from indexer.hashing.variants import HASHED, transform
from indexer.model import Variant
from tests.fakes.edits import cropped, digest_of, distance, reduced

ALONE = GuessSet(name="alone", axis=((0.0, 0.0),), variants=HASHED)
EVERY_STEP = slice(0, 4)
NEAR_BITS = 20
"""The small reduction comes this close to the reference's hash."""


def plain_reduction(luma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over equal parts, or the neighbourhood of one sample, one axis after the other."""

    def shares(count: int) -> NDArray[np.float64]:
        wide = max(count / REDUCED_SIDE, 1.0)
        centre = (np.arange(REDUCED_SIDE) + 0.5) * count / REDUCED_SIDE
        low, top = np.maximum(centre - wide / 2, 0), np.minimum(centre + wide / 2, count)
        place = np.arange(count)
        cover = np.minimum(top[:, None], place + 1) - np.maximum(low[:, None], place)
        return np.asarray(np.clip(cover, 0, None) / (top - low)[:, None])

    return np.asarray(shares(luma.shape[0]) @ luma @ shares(luma.shape[1]).T)


@settings(max_examples=40, deadline=None)
@given(
    width=st.one_of(st.integers(1, 700), st.sampled_from([255, 256, 257, 512, 511, 1])),
    height=st.one_of(st.integers(1, 700), st.sampled_from([255, 256, 257, 512, 511, 1])),
    seed=st.integers(0, 99),
)
def test_the_reduction_is_the_mean_over_equal_parts(width: int, height: int, seed: int) -> None:
    """Every sample is its part's mean, in odd sizes and in images smaller than the reduction."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    small = reduced(Image.fromarray(pixels))

    expected = plain_reduction(pixels @ np.array([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(small.luma, expected, atol=0.01)
    assert small.aspect == pytest.approx(width / height)


@pytest.mark.parametrize("variant", HASHED)
def test_a_guess_of_the_right_variant_is_near_the_original(variant: Variant) -> None:
    """Whatever was done to the copy, the guess that names what undoes it hashes as the original."""
    photo = draw_photo(3, width=640, height=480)
    pixels = np.asarray(photo)
    signal = digest_of(Image.fromarray(np.ascontiguousarray(transform(pixels, variant))))

    found = digests_of_guesses(reduced(photo), ALONE)

    nearest = min(range(8), key=lambda number: distance(found[number], signal))
    assert guesses_of(ALONE)[nearest].variant is variant
    assert distance(found[nearest], signal) <= NEAR_BITS


@pytest.mark.parametrize("seed", range(6))
def test_a_guess_with_the_true_frame_is_nearer_than_the_copy(seed: int) -> None:
    """Edges continued to where the picture ended bring back most of the hash."""
    photo = draw_photo(seed, width=600, height=500)
    copy = cropped(photo, left=0.06, top=0.04)
    true = GuessSet(
        name="true", axis=((0.04 / 0.96, 0.0), (0.06 / 0.94, 0.0)), variants=(Variant.UPRIGHT,)
    )
    signal = digest_of(photo)

    found = digests_of_guesses(reduced(copy), true)

    guess = guesses_of(true)[1].frame
    assert (guess.top, guess.left) == (0.04 / 0.96, 0.06 / 0.94)
    assert distance(found[1], signal) <= 44
    assert distance(found[1], signal) < distance(digest_of(copy), signal)


def test_a_turned_copy_is_turned_back() -> None:
    """An angle in a guess is the one by which the copy was turned, anticlockwise."""
    photo = draw_photo(8, width=600, height=400)
    copy = photo.rotate(4, resample=Image.Resampling.BICUBIC)
    turns = GuessSet(
        name="turns", axis=((0.0, 0.0),), variants=(Variant.UPRIGHT,), turns_deg=(-4.0, 0.0, 4.0)
    )

    found = digests_of_guesses(reduced(copy), turns)

    distances = [distance(digest, digest_of(photo)) for digest in found]
    assert distances[2] == min(distances) <= 44


@pytest.mark.parametrize("guess_set", GUESS_SETS, ids=lambda one: one.name)
def test_guesses_stand_in_the_order_of_their_digests(guess_set: GuessSet) -> None:
    """What a guess fits, unrefined, is what its digest differs by."""
    small = reduced(draw_photo(5))
    signal = digest_of(draw_photo(6))
    digests = digests_of_guesses(small, guess_set)
    guesses = guesses_of(guess_set)

    assert len(digests) == len(guesses) == len(guess_set)
    for number in range(0, len(guesses), 7):
        found = fit(small, guesses[number], signal)
        assert abs(found.distance_bits - distance(digests[number], signal)) <= 8


@pytest.mark.parametrize("variant", [Variant.UPRIGHT, Variant.MIRROR, Variant.TURN_90])
def test_refining_finds_a_planted_frame(variant: Variant) -> None:
    """From a guess some percent off, the search moves to where the picture ended."""
    photo = draw_photo(11, width=600, height=600)
    whole = Image.fromarray(np.ascontiguousarray(transform(np.asarray(photo), variant)))
    copy = cropped(photo, left=0.08, bottom=0.05)
    start = Guess(frame=Frame(left=0.06, bottom=0.06, top=0.02), variant=variant)

    found = fit(reduced(copy), start, digest_of(whole), steps=EVERY_STEP)

    assert found.weighted_bits < 25
    assert found.guess.variant is variant
    frame = found.guess.frame
    assert frame.left == pytest.approx(0.08 / 0.92, abs=0.025)
    assert frame.bottom == pytest.approx(0.05 / 0.95, abs=0.025)
    assert abs(frame.top) < 0.02
    assert abs(frame.right) < 0.02


def test_refining_strangers_leaves_them_strangers() -> None:
    """However a frame is moved, another picture's hash stays far away."""
    small = reduced(draw_photo(20))
    guess = Guess(frame=Frame(), variant=Variant.UPRIGHT)

    worst = min(
        fit(small, guess, digest_of(draw_photo(seed)), steps=EVERY_STEP).weighted_bits
        for seed in range(21, 51)
    )

    assert worst > 50


def test_weights_have_the_mean_one_and_grow_with_the_margin() -> None:
    """A bit that nearly was the other way counts little, the less the lower its frequency."""
    values = np.random.default_rng(1).normal(0, 9, (16, 16)).astype(np.float32)

    weights = margin_weights(values)

    assert weights.mean() == pytest.approx(1)
    axis = np.arange(1, 17)
    scales = np.hypot(axis[:, None], axis)
    margins = (np.abs(values - np.sort(values.ravel())[127]) * scales).ravel()
    assert np.all(np.diff(weights[np.argsort(margins)]) >= 0)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame(), "whole"),
        (Frame(left=0.05, top=-0.031), "t-3,l+5"),
        (Frame(turn_deg=-2.24), "turn-2.2"),
        (Frame(right=0.004, turn_deg=0.01), "whole"),
        (Frame(rectangle=(0.1, 0.25, 0.5, 0.5)), "part10/25/50/50"),
    ],
)
def test_a_guess_names_itself(frame: Frame, words: str) -> None:
    """A match says in words what was undone."""
    assert str(frame) == words
    assert Guess(frame=frame, variant=Variant.MIRROR).name == f"deep:mirror:{words}"


def test_the_name_of_a_guess_is_short() -> None:
    """However much a guess changes, its name fits where a match keeps it."""
    frame = Frame(
        top=-0.3, bottom=-0.3, left=-0.3, right=-0.3, turn_deg=-17.2,
        rectangle=(0.15, 0.15, 0.85, 0.85),
    )  # fmt: skip
    assert len(Guess(frame=frame, variant=Variant.TRANSVERSE).name) < 96


def test_a_flat_image_is_hashed_and_refined_without_warnings() -> None:
    """An image of one colour has no margins; it is no error, and no match."""
    small = reduced(Image.new("RGB", (40, 30), (9, 9, 9)))
    signal = digest_of(draw_photo(1))

    digests_of_guesses(small, GUESS_SETS[0], WHOLE)
    found = fit(small, Guess(frame=Frame(), variant=Variant.UPRIGHT), signal, steps=EVERY_STEP)

    assert found.weighted_bits > 60


def test_pixels_do_not_show() -> None:
    """What is left of an image does not print itself."""
    assert "luma" not in repr(reduced(draw_photo(1)))
