"""Finding the picture in the picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from delist.ops.pictures import draw_photo
from indexer.hashing.borders import find_parts
from indexer.hashing.guesses import Rectangle
from tests.fakes.edits import placed, reduced

NEAR = 0.02
Colour = tuple[int, int, int]


def is_found(picture: Image.Image, true: Rectangle, *, within: float = NEAR) -> bool:
    """Say whether a part has all its edges where they belong."""

    def ends(part: Rectangle) -> tuple[float, float, float, float]:
        left, top, width, height = part
        return left, top, left + width, top + height

    return any(
        max(abs(a - b) for a, b in zip(ends(part), ends(true), strict=True)) <= within
        for part in find_parts(reduced(picture))
    )


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize("at", [(40, 60), (0, 100), (200, 0), (5, 7)])
def test_a_plain_border_is_cut(colour: Colour, at: tuple[int, int]) -> None:
    """A border of any colour, on all sides or some, is found to one part in fifty."""
    photo = draw_photo(4, width=400, height=300)
    copy = placed(photo, (640, 480), at, colour)

    assert is_found(copy, (at[0] / 640, at[1] / 480, 400 / 640, 300 / 480))


@pytest.mark.parametrize("seed", range(8))
def test_a_letter_box_is_cut(seed: int) -> None:
    """Black bars above and below, as a film has them."""
    photo = draw_photo(seed, width=640, height=300)

    assert is_found(placed(photo, (640, 480), (0, 90), (0, 0, 0)), (0, 90 / 480, 1, 300 / 480))


def test_blurred_surroundings_are_cut() -> None:
    """Of most pictures that stand before a blurred copy of themselves, the sharp part is found."""
    found = 0
    for seed in range(12):
        photo = draw_photo(seed, width=300, height=400)
        ground = photo.resize((600, 800)).crop((0, 200, 600, 600))
        ground = ground.filter(ImageFilter.GaussianBlur(20))
        ground.paste(photo, (150, 0))
        found += is_found(ground, (0.25, 0, 0.5, 1), within=0.03)

    assert found >= 8


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_is_found_in_a_screenshot(dark: bool) -> None:
    """Words and buttons above and below do not count."""
    ground, ink = ((18, 18, 18), "white") if dark else ((250, 250, 250), "black")
    found = 0
    for seed in range(10):
        photo = draw_photo(seed, width=480, height=420)
        screen = placed(photo, (480, 900), (0, 180), ground)
        draw = ImageDraw.Draw(screen)
        draw.ellipse((10, 60, 60, 110), fill=(90, 60, 190))
        for line in range(6):
            draw.text((15, 640 + 35 * line), "some words below a picture " * 2, fill=ink)
        found += is_found(screen, (0, 0.2, 1, 420 / 900))

    assert found >= 9


def test_a_whole_photo_has_few_parts() -> None:
    """Parts cost time: most pictures without straight lines have two at most."""
    counts = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        layers = [rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (5, 9, 17, 33)]
        large = [
            Image.fromarray(one).resize((400, 400), Image.Resampling.BICUBIC) for one in layers
        ]
        soft = np.mean([np.asarray(one) for one in large], axis=0).astype(np.uint8)
        counts.append(len(find_parts(reduced(Image.fromarray(soft)))))

    assert np.median(counts) <= 2


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (256, 256)])
def test_any_image_is_looked_at(size: tuple[int, int]) -> None:
    """Flat, thin and tiny images have parts that lie within them, or none."""
    noise = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for picture in (Image.new("RGB", size, (7, 7, 7)), Image.fromarray(noise)):
        for left, top, width, height in find_parts(reduced(picture)):
            assert 0 <= left <= left + width <= 1
            assert 0 <= top <= top + height <= 1
            assert min(width, height) > 0.1
