"""The compiled hasher: equal to plain NumPy, exact under every turn, robust at start-up."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from delist.ops.pictures import Pixels, draw_photo, draw_pixels, encode
from indexer.errors import ImageRefusedError
from indexer.hashing import jpeg
from indexer.hashing.decode import decode_here
from indexer.hashing.modes import packed
from indexer.hashing.opening import Limits
from indexer.hashing.parts import Layer
from indexer.hashing.paths import cpp_blocks, web_blocks
from indexer.hashing.pdq import digests_of_blocks, quality_of
from indexer.hashing.variants import digests_of, transform
from indexer.model import VARIANTS
from tests.fakes.plain_hashing import (
    plain_cpp_block,
    plain_digest,
    plain_quality,
    plain_web_block,
)

ROOT = Path(__file__).parents[2]
SIZES = [
    (17, 17), (64, 64), (127, 129), (129, 257), (300, 200), (385, 130), (511, 512), (512, 512),
    (512, 17), (513, 512),
    (40, 3000), (800, 600), (1023, 1023), (1024, 1024), (1025, 1027), (1030, 1028), (2048, 1536),
    (2051, 2054), (2056, 2100), (4100, 1027), (513, 4098),
]  # fmt: skip
JPEGS = [
    *(
        encode(draw_photo(22, width=67, height=45), "JPEG", progressive=progressive, **options)
        for progressive in (False, True)
        for options in ({"quality": 30}, {"quality": 95, "subsampling": 0}, {"subsampling": 1})
    ),
    encode(draw_photo(22, width=67, height=45).convert("L"), "JPEG"),
    encode(draw_photo(22, width=67, height=45).convert("CMYK"), "JPEG"),
    encode(draw_photo(22, width=67, height=45), "JPEG", keep_rgb=True),
    encode(draw_photo(22, width=67, height=45), "JPEG", restart_marker_blocks=2),
]
TWICE = """
from numba import types
from indexer.hashing.compiled import array, kernel
@kernel(array(types.int64, 1))
def twice(numbers):
    for at in range(len(numbers)):
        numbers[at] *= 2
"""
RUN_TWICE = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
from doubling import twice
numbers = np.arange(5)
twice(numbers)
print(numbers.tolist(), sum(twice.stats.cache_hits.values()))
"""


def flat_pixels(width: int, height: int) -> Pixels:
    """Nothing but two faint ramps: coefficients that differ by rounding alone."""
    ramp = np.add.outer(np.arange(height) // 40, np.arange(width) // 40) % 7
    return np.repeat((100 + ramp).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_kernels_equal_the_plain_paths(width: int, height: int) -> None:
    """Blocks, digests and quality of both paths and all mirrorings are the plain ones'."""
    pixels = draw_pixels(width + height, width=width, height=height)
    cpp, web = (path(Image.fromarray(pixels)) for path in (cpp_blocks, web_blocks))
    mirrorings = (pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1])

    for position, mirrored in enumerate(mirrorings):
        plain = plain_cpp_block(mirrored)
        np.testing.assert_allclose(cpp.stack[position], plain, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(web.stack[position], plain_web_block(mirrored))
        for block in (plain, web.stack[position]):
            digest, turned = digests_of_blocks(block[np.newaxis])
            assert digest.tobytes() == plain_digest(block)
            assert turned.tobytes() == plain_digest(block.T)
    assert quality_of(cpp.upright) == plain_quality(plain_cpp_block(pixels))


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(17, 1300), height=st.integers(17, 1300), seed=st.integers(0, 999),
    flat=st.booleans(),
)  # fmt: skip
def test_blocks_turn_with_the_pixels_to_the_last_bit(
    width: int, height: int, seed: int, flat: bool
) -> None:
    """No rounding depends on how an image is turned: not even where digests are noise."""
    pixels = flat_pixels(width, height) if flat else draw_pixels(seed, width=width, height=height)
    for path in (cpp_blocks, web_blocks):
        blocks = path(Image.fromarray(pixels))
        digests = digests_of(blocks)
        turned = path(Image.fromarray(np.ascontiguousarray(np.swapaxes(pixels, 0, 1))))
        np.testing.assert_array_equal(turned.stack[0], blocks.stack[0].T)
        for position, variant in enumerate(VARIANTS):
            seen = Image.fromarray(np.ascontiguousarray(transform(pixels, variant)))
            assert digests_of(path(seen))[0] == digests[position], variant


@settings(max_examples=60, deadline=None)
@given(
    block=st.integers(0, 10**6).map(
        lambda seed: np.random.default_rng(seed).integers(0, 3, (1, 64, 64)).astype(np.float64)
    )
)
def test_a_turned_block_has_the_turned_digest(block: NDArray[np.float64]) -> None:
    """Rows before columns or columns before rows: the same bits, ties included."""
    upright, turned = digests_of_blocks(block)
    again = digests_of_blocks(np.ascontiguousarray(block.transpose(0, 2, 1)))

    assert (again[0].tobytes(), again[1].tobytes()) == (turned.tobytes(), upright.tobytes())


def test_pillows_pictures_are_packed_whole() -> None:
    """Packing strip by strip loses no row, whatever the width."""
    for width, height in ((17, 40_000), (40_000, 17), (700, 1100)):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        array = packed(Image.fromarray(pixels))
        np.testing.assert_array_equal(
            array.view(np.uint8).reshape(height, width, 4)[..., :3], pixels
        )


LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 20, max_frames=8, timeout_s=20)


def outcome(data: bytes) -> object:
    try:
        parts = list(decode_here(data, LIMITS))
    except ImageRefusedError as error:
        return error.code, str(error)
    return [
        (part.frame, part.background, part.partial, (part.pixels & 0xFFFFFF).tobytes())
        if isinstance(part, Layer)
        else part
        for part in parts
    ]


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(JPEGS),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
    head=st.booleans(),
    share=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_the_fast_way_through_jpeg_changes_nothing(
    data: bytes, edits: list[tuple[float, int]], head: bool, share: float
) -> None:
    """Whole, cut or damaged: pixels, refusals and words are the same as Pillow's alone."""
    damaged = bytearray(data)
    for at, value in edits:
        damaged[int(at * (min(700, len(data)) if head else len(data)))] = value
    given_ = bytes(damaged[: int(share * len(data))])
    with pytest.MonkeyPatch.context() as patch:
        found = outcome(given_)
        patch.setattr(jpeg, "simplejpeg", None)
        assert found == outcome(given_)


def test_whole_jpegs_take_the_fast_way() -> None:
    """Colour and grey files do; ink is left to Pillow."""
    pytest.importorskip("simplejpeg")
    for mode, fast in (("RGB", True), ("L", True), ("CMYK", False)):
        data = encode(draw_photo(3).convert(mode), "JPEG")
        image = Image.open(io.BytesIO(data))
        assert (jpeg.decode_jpeg(data, image) is not None) is fast, mode


def test_threads_hash_alike_and_at_once() -> None:
    """Kernels share nothing: two threads find what one finds."""
    images = [draw_photo(seed, width=700, height=500) for seed in range(4)]
    expected = [digests_of(path(image)) for image in images for path in (cpp_blocks, web_blocks)]
    found: list[object] = []

    def work() -> None:
        found.append(
            [digests_of(path(image)) for image in images for path in (cpp_blocks, web_blocks)]
        )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 4


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stderr == ""
    return result.stdout.strip()


def test_a_cache_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    """No place to write it, or a file that was cut: compiled again, without a word."""
    (tmp_path / "doubling.py").write_text(TWICE)
    places = (ROOT, tmp_path, ROOT / "tests" / "children")
    path, cache = os.pathsep.join(map(str, places)), tmp_path / "cache"
    compiled, loaded = "[0, 2, 4, 6, 8] 0", "[0, 2, 4, 6, 8] 1"

    def run_twice(place: Path, home: Path) -> str:
        return run_python(RUN_TWICE, PYTHONPATH=path, NUMBA_CACHE_DIR=str(place), HOME=str(home))

    # Neither where it is told to, nor beside the source, nor at home.
    nowhere = tmp_path / "__pycache__"
    nowhere.touch()
    assert run_twice(nowhere / "below", nowhere) == compiled
    assert run_twice(nowhere / "below", nowhere) == compiled

    assert run_twice(cache, tmp_path) == compiled
    assert run_twice(cache, tmp_path) == loaded
    (index,) = cache.rglob("*.nbi")
    index.write_bytes(b"")
    assert run_twice(cache, tmp_path) == compiled
    assert index.stat().st_size
    assert run_twice(cache, tmp_path) == loaded


def test_commands_that_hash_nothing_do_not_load_the_compiler() -> None:
    """The compiler is loaded with the first image, not with the package."""
    assert run_python("import sys, indexer.hashing; print('numba' in sys.modules)") == "False"
