"""The written set of edits: what people do to pictures before they post them again.

Each is drawn from its own generator, seeded by the run's seed, the edit's name and the
photo's number, so that a photo has the same copies in every run and in any company.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Random = np.random.Generator
_Change = Callable[[Image.Image, Random], Image.Image]

LONGEST_SIDE = 2048
"""Copies are made of the photo as sites keep it: scaled down to this many pixels."""

_QUALITY = 80
_SIDEWAYS, _ORIENTATION = 6, 0x0112
_EVEN_ODDS = 0.5
_SCREEN = (720, 1480)
_DARK, _LIGHT = ((18, 18, 18), (230, 230, 230)), ((250, 250, 250), (30, 30, 30))
_LEAST_SIDE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit.

    Attributes:
        words: what is done, for people.
        change: from a photo in RGB to the edited picture.
        quality: JPEG quality of the copy.
        orientation: EXIF orientation that the copy claims; 1 is none.
    """

    name: str
    words: str
    change: _Change
    quality: int = _QUALITY
    orientation: int = 1

    def copy_of(self, photo: Image.Image, *, seed: int, number: int) -> bytes:
        """Make the JPEG file of an edited copy.

        Args:
            photo: of mode RGB.
            seed: of the run.
            number: of the photo.
        """
        random = np.random.default_rng([seed, number, zlib.crc32(self.name.encode())])
        edited = self.change(photo, random)
        out = io.BytesIO()
        exif = Image.Exif()
        if self.orientation != 1:
            exif[_ORIENTATION] = self.orientation
        edited.save(out, "JPEG", quality=self.quality, exif=exif)
        return out.getvalue()


def prepared(photo: Image.Image) -> Image.Image:
    """Return a photo as copies are made of it: RGB, upright, not above ``LONGEST_SIDE``."""
    upright = ImageOps.exif_transpose(photo).convert("RGB")
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return upright


def _same(photo: Image.Image, _random: Random) -> Image.Image:
    return photo


def _turned_quarter(photo: Image.Image, _random: Random) -> Image.Image:
    return photo.transpose(Image.Transpose.ROTATE_90)


def _mirrored(photo: Image.Image, _random: Random) -> Image.Image:
    return ImageOps.mirror(photo)


def _scaled(photo: Image.Image, factor: float) -> Image.Image:
    width, height = (max(round(side * factor), _LEAST_SIDE) for side in photo.size)
    return photo.resize((width, height), Image.Resampling.LANCZOS)


def _thumbnail(photo: Image.Image, _random: Random) -> Image.Image:
    return _scaled(photo, min(1.0, 150 / max(photo.size)))


def _cut(photo: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    width, height = photo.size
    return photo.crop((
        round(left * width), round(top * height),
        round((1 - right) * width), round((1 - bottom) * height),
    ))  # fmt: skip


def _one_side(photo: Image.Image, random: Random) -> Image.Image:
    shares = [0.0] * 4
    shares[random.integers(4)] = random.uniform(0, 0.12)
    return _cut(photo, *shares)


def _cropped(photo: Image.Image, random: Random, most: float = 0.08) -> Image.Image:
    return _cut(photo, *random.uniform(0, most, 4))


def _turned(photo: Image.Image, random: Random) -> Image.Image:
    return photo.rotate(float(random.uniform(-5, 5)), resample=Image.Resampling.BICUBIC)


def _bordered(photo: Image.Image, random: Random) -> Image.Image:
    width, height = photo.size
    left, right, top, bottom = random.uniform(0.02, 0.25, 4)
    size = (round(width * (1 + left + right)), round(height * (1 + top + bottom)))
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    ground = Image.new("RGB", size, (red, green, blue))
    ground.paste(photo, (round(left * width), round(top * height)))
    return ground


def _box(photo: Image.Image, random: Random, least: float, most: float) -> tuple[int, int]:
    width, height = photo.size
    more = 1 + random.uniform(least, most)
    if random.random() < _EVEN_ODDS:
        return width, round(height * more)
    return round(width * more), height


def _in_the_middle(photo: Image.Image, ground: Image.Image) -> Image.Image:
    place = ((ground.width - photo.width) // 2, (ground.height - photo.height) // 2)
    ground.paste(photo, place)
    return ground


def _letter_box(photo: Image.Image, random: Random) -> Image.Image:
    return _in_the_middle(photo, Image.new("RGB", _box(photo, random, 0.1, 0.8)))


def _blurred_surroundings(photo: Image.Image, random: Random) -> Image.Image:
    box = _box(photo, random, 0.3, 0.8)
    ground = ImageOps.fit(photo, box).filter(ImageFilter.GaussianBlur(max(box) / 40))
    return _in_the_middle(photo, ground)


def _screenshot(photo: Image.Image, random: Random) -> Image.Image:
    width, height = _SCREEN
    ground, ink = _DARK if random.random() < _EVEN_ODDS else _LIGHT
    screen = Image.new("RGB", _SCREEN, ground)
    draw = ImageDraw.Draw(screen)
    shown = photo.resize((width, min(round(photo.height * width / photo.width), 1000)))
    top = round(random.uniform(140, max(height - shown.height - 200, 141)))
    screen.paste(shown, (0, top))
    draw.text((20, 15), "12:41", fill=ink)
    draw.ellipse((20, 60, 90, 130), fill=(120, 80, 160))
    draw.text((110, 80), "somebody posted   2 h", fill=ink, font_size=28)
    below = top + shown.height + 20
    for number in range(4):
        draw.ellipse((20 + 90 * number, below, 70 + 90 * number, below + 50), outline=ink, width=4)
    for line in range(below + 80, height - 40, 40):
        draw.text((20, line), "words that people write below it " * 2, fill=ink, font_size=24)
    return screen


def _captioned(photo: Image.Image, random: Random) -> Image.Image:
    drawn = photo.copy()
    size = max(photo.width // 12, 10)
    place = (photo.width * 0.08, photo.height * random.uniform(0.1, 0.8))
    ImageDraw.Draw(drawn).text(
        place, "look who it is", fill="white", stroke_fill="black", stroke_width=2, font_size=size
    )
    return drawn


EDITS = (
    Edit(name="unchanged", words="saved again, JPEG 80", change=_same),
    Edit(name="jpeg40", words="JPEG quality 40", change=_same, quality=40),
    Edit(name="jpeg30", words="JPEG quality 30", change=_same, quality=30),
    Edit(name="half", words="half the size", change=lambda photo, _: _scaled(photo, 0.5)),
    Edit(
        name="quarter", words="a quarter of the size",
        change=lambda photo, _: _scaled(photo, 0.25),
    ),
    Edit(name="thumbnail", words="150 pixels", change=_thumbnail),
    Edit(name="mirror", words="mirrored", change=_mirrored),
    Edit(name="quarter-turn", words="turned by 90 degrees", change=_turned_quarter),
    Edit(name="exif", words="sideways by EXIF", change=_same, orientation=_SIDEWAYS),
    Edit(name="caption", words="a line of words across it", change=_captioned),
    Edit(name="border", words="border, 2-25 % a side", change=_bordered),
    Edit(name="letter-box", words="black bars, 10-80 %", change=_letter_box),
    Edit(name="blurred", words="before a blurred copy of itself", change=_blurred_surroundings),
    Edit(name="screenshot", words="in a phone's screenshot", change=_screenshot),
    Edit(
        name="crop95", words="95 % of each side kept",
        change=lambda photo, _: _cut(photo, 0.025, 0.025, 0.025, 0.025),
    ),
    Edit(
        name="crop90", words="90 % of each side kept",
        change=lambda photo, _: _cut(photo, 0.05, 0.05, 0.05, 0.05),
    ),
    Edit(name="side12", words="up to 12 % off one side", change=_one_side),
    Edit(name="random8", words="up to 8 % off every side", change=_cropped),
    Edit(
        name="random12", words="up to 12 % off every side",
        change=lambda photo, random: _cropped(photo, random, 0.12),
    ),
    Edit(name="rotation", words="turned by up to 5 degrees", change=_turned),
    Edit(
        name="crop+half+jpeg40", words="up to 8 % off, half the size, JPEG 40", quality=40,
        change=lambda photo, random: _scaled(_cropped(photo, random), 0.5),
    ),
    Edit(
        name="crop+mirror", words="up to 8 % off, mirrored",
        change=lambda photo, random: ImageOps.mirror(_cropped(photo, random)),
    ),
    Edit(
        name="rotation+crop", words="turned, then up to 8 % off",
        change=lambda photo, random: _cropped(_turned(photo, random), random),
    ),
    Edit(
        name="border+crop", words="up to 8 % off, then a border",
        change=lambda photo, random: _bordered(_cropped(photo, random), random),
    ),
)  # fmt: skip
"""In the order of the report."""
