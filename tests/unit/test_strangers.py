"""How many strangers are to be expected as near to an image as a signal is."""

from math import log

import numpy as np
import pytest
from PIL import Image

from delist.ops.pictures import draw_photo
from indexer.hashing.explained import MOST_LOG_STRANGERS, allowed_bits, is_explained, is_match
from indexer.hashing.fitting import Fit, fit, weights_of
from indexer.hashing.guesses import Frame, Guess
from indexer.hashing.strangers import LEAST_SIGNALS, SAMPLE_ROWS, Strangers
from indexer.hashing.variants import HASHED, transform
from indexer.model import DIGEST_BYTES, Variant
from tests.fakes.crowds import cross, near, random_digests, relatives
from tests.fakes.edits import digest_of, distance, reduced

NEAR_BITS = 24
"""Turned pixels hash as near to turned bits: the median moves."""


def fitted(picture: Image.Image, digest: bytes, variant: Variant = Variant.UPRIGHT) -> Fit:
    return fit(reduced(picture), Guess(frame=Frame(), variant=variant), digest)


@pytest.mark.parametrize("variant", HASHED)
def test_weights_add_up_to_the_weighted_distance_of_any_digest(variant: Variant) -> None:
    """Whichever way the guess is turned, bits are counted as a fit counts them."""
    picture = draw_photo(4)
    weights = weights_of(fitted(picture, digest_of(picture), variant))

    for digest in random_digests(8):
        bits = np.unpackbits(digest).astype(np.bool_)
        added = weights[weights > 0].sum() - weights[bits].sum()
        assert added == pytest.approx(fitted(picture, digest.tobytes(), variant).weighted_bits)


def test_an_ordinary_sample_expects_next_to_none() -> None:
    """Before random digests a photo's own hash is beyond chance, another's is not."""
    picture, strangers = draw_photo(1), Strangers(random_digests(LEAST_SIGNALS))
    own, other = digest_of(picture), digest_of(draw_photo(2))

    assert strangers.log_expected(fitted(picture, own), own, met=1) < MOST_LOG_STRANGERS
    far = strangers.log_expected(fitted(picture, other), other, met=1)
    assert -5 < far <= log(0.01)


def test_a_crowd_takes_away_what_a_distance_says() -> None:
    """A picture of few shapes lies among many signals of few shapes; a photo does not."""
    shapes = relatives(digest_of(cross()), 400)
    crowd = Strangers(np.concatenate([random_digests(LEAST_SIGNALS), shapes]))
    expected = {}
    for name, picture in (("cross", cross()), ("photo", draw_photo(1))):
        digest = digest_of(picture)
        edited = near(digest, 24, 1)[0].tobytes()
        found = fitted(picture, edited)
        expected[name] = crowd.log_expected(found, edited, met=1) + found.weighted_bits / 4

    assert expected["cross"] > expected["photo"] + 5


def test_copies_of_the_signal_are_no_strangers() -> None:
    """That a picture was reported in many versions does not make it common."""
    picture = draw_photo(1)
    digest, others = digest_of(picture), random_digests(LEAST_SIGNALS)
    found = fitted(picture, digest)
    alone = Strangers(others).log_expected(found, digest, met=1)

    copies = Strangers(np.concatenate([others, near(digest, 20, 120)]))
    assert copies.log_expected(found, digest, met=1) == pytest.approx(alone, abs=2)
    apart = Strangers(np.concatenate([others, near(digest, 66, 120)]))
    assert apart.log_expected(found, digest, met=1) > alone + 5


def test_where_all_that_is_near_resembles_the_signal_nothing_is_said_for_the_match() -> None:
    """No tail, no estimate: every signal that was met is to be expected."""
    digest = digest_of(draw_photo(1))
    strangers = Strangers(near(digest, 10, LEAST_SIGNALS))

    found = fitted(draw_photo(1), digest)

    assert strangers.log_expected(found, digest, met=7) == pytest.approx(log(7))


def test_each_signal_that_was_met_is_a_trial() -> None:
    """Ten times as many signals met are ten times as many strangers to expect."""
    digest, strangers = digest_of(draw_photo(1)), Strangers(random_digests(LEAST_SIGNALS))
    found = fitted(draw_photo(1), digest)

    once = strangers.log_expected(found, digest, met=2)

    assert strangers.log_expected(found, digest, met=20) == pytest.approx(once + log(10))


def test_few_signals_stand_in_their_mirrorings_and_turns() -> None:
    """A stranger counts as the search sees it: as its picture mirrored or turned as well."""
    picture = draw_photo(3)
    signals = random_digests(LEAST_SIGNALS)
    signals[0] = np.frombuffer(digest_of(picture), np.uint8)

    sample = np.frombuffer(Strangers(signals)._rows, np.uint8).reshape(8, -1, DIGEST_BYTES)

    for variant in HASHED:
        turned = np.ascontiguousarray(transform(np.asarray(picture), variant))
        digest = digest_of(Image.fromarray(turned))
        assert min(distance(made[0], digest) for made in sample) <= NEAR_BITS


def test_the_sample_is_bounded_and_the_same_each_time() -> None:
    """Many signals cost no more, and an image gets one answer."""
    signals = random_digests(SAMPLE_ROWS + 5_000)
    digest = digest_of(draw_photo(1))
    found = fitted(draw_photo(1), digest)

    one, other = Strangers(signals), Strangers(signals)

    assert len(one._rows) == SAMPLE_ROWS
    assert one.log_expected(found, digest, met=1) == other.log_expected(found, digest, met=1)


def test_too_few_signals_are_refused() -> None:
    """Fewer cannot tell what is common."""
    with pytest.raises(ValueError, match="too few"):
        Strangers(random_digests(LEAST_SIGNALS - 1))


def test_a_match_is_near_explained_and_beyond_chance() -> None:
    """Each of the conditions takes a match away, and its bound is inclusive."""

    def made(weighted_bits: float, log_strangers: float | None, turn_deg: float = 0.0) -> Fit:
        return Fit(
            guess=Guess(frame=Frame(turn_deg=turn_deg), variant=Variant.UPRIGHT),
            distance_bits=30,
            weighted_bits=weighted_bits,
            values=np.zeros((16, 16), np.float32),
            log_strangers=log_strangers,
        )

    assert is_match(made(20, MOST_LOG_STRANGERS), 20)
    assert is_match(made(20, None), 20)
    assert not is_match(made(20.1, None), 20)
    assert not is_match(made(20, MOST_LOG_STRANGERS + 0.01), 20)
    assert not is_explained(made(24.1, MOST_LOG_STRANGERS))
    assert is_explained(made(20, None, turn_deg=-6.9))
    assert not is_explained(made(20, None, turn_deg=-7.1))
    assert allowed_bits(made(20, None).guess) == 24
