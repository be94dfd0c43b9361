"""A faster way through most JPEG files: libjpeg-turbo without Pillow's detours.

Pillow has read the header, and limits, mode and orientation are known. The
pixels are Pillow's to the bit: both ask libjpeg-turbo for its accurate DCT and
smooth chroma. Whatever is unusual goes Pillow's way: other colours than RGB, YCbCr
and grey, any warning of the decoder, a header that the two read differently, and
all of them where simplejpeg is not installed: it changes the time, nothing else.
"""

import numpy as np
from PIL import ImageFile, JpegImagePlugin

from indexer.hashing.modes import Pixels

try:
    import simplejpeg
except ImportError:  # pragma: no cover - no wheel for this machine
    simplejpeg = None

_MODES = frozenset({"RGB", "L"})
_CHANNELS = "RGBX"


def decode_jpeg(data: bytes, image: ImageFile.ImageFile) -> Pixels | None:
    """Decode a whole and sound JPEG file, without the GIL.

    Args:
        data: encoded bytes.
        image: the same, opened by Pillow and within all limits, not yet loaded.

    Returns:
        uint32[height, width], or None: Pillow must decode it, or say what is wrong.
    """
    if simplejpeg is None or image.mode not in _MODES:
        return None
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if (width, height) != image.size:
            return None  # never larger than what the limits were held against
        decoded = simplejpeg.decode_jpeg(data, _CHANNELS, strict=True)
    except (ValueError, RuntimeError, MemoryError):
        return None
    return np.asarray(np.ascontiguousarray(decoded).view(np.uint32)[:, :, 0])
