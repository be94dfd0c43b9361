"""The deep tier over a real store: planted edits are found, and nothing else is."""

import logging
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from PIL import Image, ImageOps

from delist.ops.pictures import draw_photo
from indexer.ann import ExactIndexes
from indexer.deep import DeepSearch
from indexer.hashing.explained import THRESHOLD_BITS, allowed_bits
from indexer.hashing.guesses import Frame, Guess
from indexer.hashing.strangers import LEAST_SIGNALS
from indexer.model import Variant
from indexer.store import Store
from indexer.view import SignalViews
from tests.fakes.crowds import cross, near, relatives
from tests.fakes.edits import cropped, digest_of, placed, reduced
from tests.fakes.signals import SETTINGS, add_signals, key_of, make_digest, withdraw

PHOTOS = range(24)
Make = Callable[..., DeepSearch]


@cache
def photo(seed: int) -> Image.Image:
    return draw_photo(seed, width=480, height=400)


@cache
def digest_of_photo(seed: int) -> bytes:
    return digest_of(photo(seed))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "mirror": ImageOps.mirror,
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped": lambda image: cropped(image, left=0.05, top=0.02, right=0.03, bottom=0.06),
    "one side": lambda image: cropped(image, bottom=0.1),
    "border": lambda image: placed(image, (600, 560), (70, 90), (30, 60, 30)),
    "letter-box": lambda image: placed(image, (480, 640), (0, 120), (0, 0, 0)),
    "turned": lambda image: image.rotate(3.5, resample=Image.Resampling.BICUBIC),
    "mirrored crop": lambda image: ImageOps.mirror(cropped(image, left=0.06, bottom=0.04)),
    "small": lambda image: cropped(image, top=0.05).resize((120, 100)),
    "survivor's is the crop": lambda image: placed(image, (528, 440), (24, 20), (99, 80, 70)),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "data", SETTINGS) as opened:
        yield opened


@pytest.fixture
def make(store: Store, tmp_path: Path) -> Make:
    def make_search(*, threshold_bits: float = THRESHOLD_BITS, budget_s: float = 10) -> DeepSearch:
        views = SignalViews(store, ExactIndexes(), tmp_path / "index")
        return DeepSearch(store, views, threshold_bits=threshold_bits, budget_s=budget_s)

    return make_search


@pytest.fixture
def filled(store: Store) -> dict[int, bytes]:
    """Add the signals of the photos, and strangers; returns the photos' keys."""
    digests = {seed: digest_of_photo(seed) for seed in PHOTOS}
    add_signals(store, [*digests.values(), *map(make_digest, range(2_000))])
    return {seed: key_of(store, digest) for seed, digest in digests.items()}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_copy_finds_its_signal_and_no_other(
    make: Make, filled: dict[int, bytes], name: str
) -> None:
    """Of eight copies seven are found at least; none meets another's signal."""
    copies = [reduced(EDITS[name](photo(seed))) for seed in range(8)]

    found = make().find(copies)

    assert sum(filled[seed] in found[seed] for seed in range(8)) >= 7
    for seed in range(8):
        assert set(found[seed]) <= {filled[seed]}
        for match in found[seed].values():
            assert 0 <= match.weighted_bits <= THRESHOLD_BITS
            assert match.guess.name.startswith("deep:")


def test_a_stranger_finds_nothing(make: Make, filled: dict[int, bytes]) -> None:
    """A picture that nobody reported matches nothing."""
    assert filled
    strangers = [reduced(draw_photo(seed, width=500)) for seed in range(900, 912)]

    assert make().find(strangers) == [{}] * 12


def test_each_image_has_its_own_answer(make: Make, filled: dict[int, bytes]) -> None:
    """A batch answers as its images would alone; an image that was refused has none."""
    copies = [reduced(EDITS["cropped"](photo(1))), None, reduced(EDITS["border"](photo(2)))]

    found = make().find(copies)

    assert [set(one) for one in found] == [{filled[1]}, set(), {filled[2]}]
    assert found == [make().find([copy])[0] for copy in copies]


def test_no_images_and_no_signals_are_no_error(make: Make) -> None:
    """An empty store matches nothing, and so does an empty batch."""
    assert make().find([]) == []
    assert make().find([reduced(photo(1)), None]) == [{}, {}]


def test_the_threshold_is_inclusive(make: Make, filled: dict[int, bytes]) -> None:
    """A fit at the threshold is a match; below it is none."""
    copy = reduced(EDITS["cropped"](photo(3)))
    at = make().find([copy])[0][filled[3]].weighted_bits

    assert filled[3] in make(threshold_bits=at).find([copy])[0]
    assert filled[3] not in make(threshold_bits=at - 0.01).find([copy])[0]


@pytest.mark.parametrize(
    ("frame", "least_bits", "most_bits"),
    [
        (Frame(), 20, 26),
        (Frame(left=-0.1, top=-0.1), 20, 26),
        (Frame(left=0.1, bottom=0.1), 36, 45),
        (Frame(turn_deg=5), 26, 32),
    ],
)
def test_a_distance_has_to_be_explained(frame: Frame, least_bits: float, most_bits: float) -> None:
    """What lies within the copy must fit well; what is missing excuses some distance."""
    allowed = allowed_bits(Guess(frame=frame, variant=Variant.UPRIGHT))

    assert least_bits <= allowed <= most_bits


def test_a_picture_of_few_shapes_matches_nobody_in_a_crowd(make: Make, store: Store) -> None:
    """What many unrelated signals come near to says nothing; a photo is found all the same.

    The crowd counts from when there are enough signals to tell, in a search that is open too.
    """
    plain, detailed = near(digest_of(cross()), 12, 1)[0].tobytes(), digest_of(photo(1))
    add_signals(store, [plain, detailed])
    copies = [reduced(cross()), reduced(EDITS["cropped"](photo(1)))]
    search = make()
    alone = [set(found) for found in search.find(copies)]
    assert alone == [{key_of(store, plain)}, {key_of(store, detailed)}]

    add_signals(store, [row.tobytes() for row in relatives(plain, LEAST_SIGNALS + 500)])

    for one in (search, make()):
        assert [set(found) for found in one.find(copies)] == [set(), alone[1]]


def test_a_withdrawn_signal_is_not_found(
    make: Make, store: Store, filled: dict[int, bytes]
) -> None:
    """What the feed took back no guess brings back, whether the view knows already or not."""
    copy = reduced(EDITS["cropped"](photo(4)))
    search = make()
    assert set(search.find([copy])[0]) == {filled[4]}

    withdraw(store, digest_of(photo(4)))

    assert search.find([copy]) == [{}]
    assert make().find([copy]) == [{}]


def test_a_new_signal_is_found_at_once(make: Make, store: Store, filled: dict[int, bytes]) -> None:
    """A search that is open meets what the feed brings later."""
    search = make()
    copy = reduced(EDITS["cropped"](photo(77)))
    assert search.find([copy]) == [{}]

    add_signals(store, [digest_of(photo(77))])

    assert len(search.find([copy])[0]) == 1
    assert filled


def test_without_time_the_search_ends_at_once(make: Make, filled: dict[int, bytes]) -> None:
    """A budget of nothing makes no guesses, and is no error; a batch ends as well."""
    copies = [reduced(EDITS["cropped"](photo(seed))) for seed in PHOTOS]
    patient = make()
    patient.find(copies[:1])
    started = time.thread_time()
    patient.find(copies)
    whole_s = time.thread_time() - started
    started = time.thread_time()

    assert make(budget_s=0).find(copies) == [{}] * len(copies)

    assert time.thread_time() - started < whole_s / 2
    assert filled


def test_nothing_that_is_said_holds_a_digest(
    make: Make, filled: dict[int, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither logs nor the answers print a signal's digest."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as events:
        found = make().find([reduced(EDITS["cropped"](photo(5)))])

    said = repr(found) + repr(events) + caplog.text
    assert found[0]
    assert digest_of(photo(5)).hex() not in said
    assert repr(digest_of(photo(5))) not in said
    assert filled
