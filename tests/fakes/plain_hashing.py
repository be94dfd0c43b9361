"""The two hashing paths in plain NumPy and Pillow: what the kernels are held against.

Slow, step by step, and written before the kernels (docs/adr/0002, 0008). Each
block is made from transformed pixels in turn; nothing is shared between them.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WORKING_SIDE = 512


def plain_cpp_block(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Hash what is given as Meta's reference does: pick, luma, filter, decimate."""
    height, width = pixels.shape[:2]
    if max(height, width) > WORKING_SIDE:
        rows = np.arange(WORKING_SIDE) * height // WORKING_SIDE
        columns = np.arange(WORKING_SIDE) * width // WORKING_SIDE
        pixels = pixels[rows][:, columns]
    red, green, blue = (pixels[:, :, band].astype(np.float32) for band in range(3))
    luma = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    rows_filter, columns_filter = (_filter(side) for side in luma.shape)
    return np.asarray(rows_filter @ luma.astype(np.float64) @ columns_filter.T)


def plain_web_block(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Hash what is given as the browser hasher does: canvas, blur twice, sample, cut."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    while min(image.size) >= 2 * WORKING_SIDE:
        image = _halved(image)
    across, down = image.width / WORKING_SIDE, image.height / WORKING_SIDE
    luma = image.convert("L").transform(
        (WORKING_SIDE, WORKING_SIDE),
        Image.Transform.AFFINE,
        (across, 0.0, 0.0, 0.0, down, 0.0),
        Image.Resampling.BILINEAR,
    )
    total = np.asarray(luma).astype(np.int64)
    for _ in range(2):
        total = _added(_added(total).T).T
    return np.floor(total[4::8, 4::8] / 625)


def plain_digest(block: NDArray[np.float64]) -> bytes:
    """Compare the frequencies 1-16 of a block with their lower median."""
    frequency, sample = np.arange(1, 17)[:, np.newaxis], 2 * np.arange(64) + 1
    cosines = np.sqrt(2 / 64) * np.cos(np.pi / 128 * frequency * sample)
    values = (cosines @ block @ cosines.T).ravel()
    return np.packbits((values > np.sort(values)[127])[::-1]).tobytes()


def plain_traits(block: NDArray[np.float64], digest: bytes) -> bytes:
    """Describe a block in 34 bytes: layout, lattice, and which cells are brighter than around."""
    cells = block.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    padded = np.pad(cells, 3, mode="symmetric")
    around = np.lib.stride_tricks.sliding_window_view(padded, (7, 7)).mean(axis=(2, 3))
    frequency, sample = np.arange(1, 17)[:, np.newaxis], 2 * np.arange(64) + 1
    cosines = np.sqrt(2 / 64) * np.cos(np.pi / 128 * frequency * sample)
    values = cosines @ block @ cosines.T
    seen, power = (values**2).sum(), ((block - block.mean()) ** 2).sum()
    signs = np.unpackbits(np.frombuffer(digest, np.uint8)).reshape(16, 16) * 2.0 - 1.0
    pitch = np.hypot.outer(np.arange(1, 17), np.arange(1, 17))
    score = (
        6.7 * max(0.0, 1 - seen / (power + 1e-9) - 0.7) + 4.3 * _product_share(values * pitch)
        - 0.6 * np.log1p(np.sqrt(seen / 256)) + 3.9 * _product_share(signs) - 1.4
    )  # fmt: skip
    lattice = round(float(255 / (1 + np.exp(-score))))
    return bytes((1, lattice)) + np.packbits(cells > around + 0.5).tobytes()


def plain_quality(block: NDArray[np.float64]) -> int:
    """Add up the steps between neighbours in whole percent, in 32 bits as the reference."""
    stored = block.astype(np.float32)
    steps = 0
    for axis in (0, 1):
        percent = np.diff(stored, axis=axis) * np.float32(100) / np.float32(255)
        steps += int(np.abs(percent.astype(int)).sum())
    return min(100, steps // 90)


def _product_share(values: NDArray[np.float64]) -> float:
    """Share of a matrix's power in its largest singular value, by powers of its Gram matrix."""
    gram = values @ values.T
    if np.trace(gram) <= 1e-9:
        return 0.0
    gram = gram / np.trace(gram)
    raised = np.linalg.matrix_power(gram, 32)
    return float((raised * gram).sum() / np.trace(raised))


def _filter(length: int) -> NDArray[np.float64]:
    """float64[64, length]: two box filters and the sampling of the reference, as a matrix."""
    window = (length + 127) // 128
    right = window // 2
    offsets = np.arange(length)[np.newaxis, :] - np.arange(length)[:, np.newaxis]
    inside = (offsets >= -(window - 1 - right)) & (offsets <= right)
    box = inside / inside.sum(axis=1, keepdims=True)
    return np.asarray((box @ box)[((np.arange(64) + 0.5) * length / 64).astype(int)])


def _added(luma: NDArray[np.int64]) -> NDArray[np.int64]:
    padded = np.vstack([luma[:1], luma[:1], luma, luma[-1:], luma[-1:]])
    return np.asarray(sum(padded[k : k + len(luma)] for k in range(5)))


def _halved(image: Image.Image) -> Image.Image:
    width, height = (side // 2 * 2 for side in image.size)
    halves = [
        image.reduce(2, box=(left, top, left + width, top + height))
        for left in range(image.width % 2 + 1)
        for top in range(image.height % 2 + 1)
    ]
    total = np.sum([np.asarray(half, dtype=np.uint16) for half in halves], axis=0)
    return Image.fromarray((total // len(halves)).astype(np.uint8))
