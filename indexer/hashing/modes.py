"""From Pillow's many pixel modes to RGB, transparent images on white and on black.

The public Python hasher reads palette indices as grey, ink as light and drops
alpha; it is wrong on such files by up to 248 of 256 bits.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from indexer.model import Background

Pixels = NDArray[np.uint32]
"""uint32[height, width], contiguous: red, green and blue from the lowest byte up; the highest
is not looked at. (RGBX in memory on every machine that numba compiles for.)"""

_COLOURS = {Background.WHITE: (255, 255, 255), Background.BLACK: (0, 0, 0)}
_OPAQUE = 255
_WIDE_GREY = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_GREY_MAX = 255
_SIXTEEN_BITS_MAX = 65535
_STRIP_PIXELS = 1 << 18


def flattened(image: Image.Image) -> tuple[tuple[Background, Image.Image], ...]:
    """Convert to RGB, with one entry for each background that can show.

    Raises:
        ValueError: a mode that cannot be converted.
    """
    if not image.has_transparency_data or image.mode in _WIDE_GREY:
        return ((Background.WHITE, _opaque(image)),)
    if image.mode in {"La", "PA"}:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    layer = image.convert("RGBA")
    alpha = layer.getchannel("A")
    if alpha.getextrema()[0] == _OPAQUE:
        return ((Background.WHITE, layer.convert("RGB")),)
    return tuple((background, _on(layer, alpha, background)) for background in Background)


def packed(image: Image.Image | Pixels) -> Pixels:
    """Copy a picture of mode RGB to an array, strip by strip: Pillow hands out copies only."""
    if isinstance(image, np.ndarray):
        return image
    pixels = np.empty((image.height, image.width), np.uint32)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom)).tobytes("raw", "RGBX")
        pixels[top:bottom] = np.frombuffer(strip, "<u4").reshape(bottom - top, image.width)
    return pixels


def _on(layer: Image.Image, alpha: Image.Image, background: Background) -> Image.Image:
    canvas = Image.new("RGB", layer.size, _COLOURS[background])
    canvas.paste(layer.convert("RGB"), mask=alpha)
    return canvas


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_GREY:
        return _eight_bits(image).convert("RGB")
    if image.mode == "LAB":
        return _from_lab(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring wide grey values to 8 bits, so that a copy in 8 bits looks the same.

    Integers up to 65535 are 16 bits: the upper byte counts. Floats within 0-1
    or 0-255 are taken at their word. Anything else has no agreed white, and is
    stretched from its lowest to its highest value. (Pillow would clip at 255.)
    """
    values = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= _GREY_MAX:
        grey = values * (_GREY_MAX if high <= 1 else 1)
    elif image.mode != "F" and low >= 0 and high <= _SIXTEEN_BITS_MAX:
        grey = values // (_GREY_MAX + 1)
    else:
        grey = (values - low) * (_GREY_MAX / ((high - low) or 1))
    return Image.fromarray(grey.astype(np.uint8))


def _from_lab(image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, _lab_to_srgb())
    if converted is None:
        raise ValueError("LAB image was not converted")
    return converted


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
