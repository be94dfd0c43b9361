"""Draws pictures for the demo, benchmarks and tests: varied, and the same everywhere."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_EVEN_ODDS = 0.5
_OCTAVES = ((5, 0.8), (9, 0.7), (17, 0.6), (33, 0.5))
"""Cells along a side, and how strongly they show."""

Pixels = NDArray[np.uint8]
"""uint8[height, width, 3]."""


def draw_photo(seed: int, *, width: int = 320, height: int = 240) -> Image.Image:
    """Draw a picture with soft light, hard edges and grain; its PDQ quality is high."""
    rng = np.random.default_rng(seed)
    canvas = _soft_light(rng, width, height)
    _hard_edges(rng, canvas)
    grain = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(canvas) + grain, 0, 255).astype(np.uint8))


def draw_pixels(seed: int, *, width: int = 320, height: int = 240) -> Pixels:
    """Draw the same as an array."""
    return np.asarray(draw_photo(seed, width=width, height=height))


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's own
    """Encode a picture in memory."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def _soft_light(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Mix light and shade of every size, the finer the fainter, as photographs have them."""
    light = np.zeros((height, width, 3))
    for cells, strength in _OCTAVES:
        grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        light += strength * (np.asarray(layer, dtype=np.float64) - 128)
    return Image.fromarray(np.clip(light + 128, 0, 255).astype(np.uint8))


def _hard_edges(rng: np.random.Generator, canvas: Image.Image) -> None:
    draw = ImageDraw.Draw(canvas)
    for _ in range(7):
        left, right = sorted(float(x) for x in rng.uniform(0, canvas.width, 2))
        top, bottom = sorted(float(y) for y in rng.uniform(0, canvas.height, 2))
        red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < _EVEN_ODDS else draw.rectangle
        shape((left, top, right, bottom), fill=(red, green, blue))
