"""What the console says of a match, in words that a reviewer reads."""

import pytest

from delist.web.console import words
from indexer.hashing.guesses import Frame, Guess
from indexer.model import Background, Variant, variant_name


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        (Guess(frame=Frame(), variant=Variant.UPRIGHT), "as an edited copy"),
        (
            Guess(frame=Frame(left=0.05, top=-0.03), variant=Variant.MIRROR),
            (
                "as an edited copy, mirrored, 3 % more are there at the top,"
                " 5 % are missing at the left"
            ),
        ),
        (
            Guess(frame=Frame(turn_deg=-2.14), variant=Variant.UPRIGHT),
            "as an edited copy, turned by 2.1° clockwise",
        ),
        (
            Guess(
                frame=Frame(right=0.12, turn_deg=3, rectangle=(0.1, 0, 0.8, 0.95)),
                variant=Variant.TURN_90,
            ),
            (
                "as an edited copy, turned by 90°, 12 % are missing at the right,"
                " turned by 3.0° anticlockwise,"
                " in the part that begins 10 % from the left and 0 % from the top"
                " and is 80 % wide and 95 % high"
            ),
        ),
    ],
)
def test_a_guess_of_the_deep_tier_is_said_in_words(guess: Guess, said: str) -> None:
    """A person has to see what was taken for what before they call two pictures the same."""
    assert words.variant(guess.name) == said


def test_what_a_guess_was_made_of_is_said_too() -> None:
    """Where the first picture of an animation shows nothing, guesses are made of another."""
    name = Guess(frame=Frame(left=0.05), variant=Variant.UPRIGHT).name + "+frame2+black"
    assert words.variant(name) == (
        "as an edited copy, 5 % are missing at the left,"
        " picture 2 of an animation or video, on black"
    )


def test_a_frame_and_a_background_are_said_in_words() -> None:
    """Which picture of an animation, on which ground."""
    name = variant_name(1, Background.BLACK, frame=12)
    assert words.variant(name) == "mirrored, picture 12 of an animation or video, on black"
