"""Mutated files of every format through ``hash_image``: a hash or a named refusal, nothing else.

Run with ``python -m tests.benchmarks.fuzz_decode --files 100000``; prints JSON: outcomes by
format and refusal, the slowest file, memory. Every file follows from the seed and its number,
so that one can be made again with ``--only NUMBER``. The suite runs a short form.
"""

import argparse
import gc
import gzip
import io
import json
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from delist.ops.pictures import draw_photo, encode
from indexer.errors import ImageRefusedError
from indexer.hashing import hash_image
from indexer.hashing.decoders import DECODERS
from indexer.model import ROW_BYTES

TIMEOUT_S = 5.0
MAX_PIXELS = 1 << 20
_MAX_BYTES = 1 << 20
_WARM_FILES = 500
_LONGEST_MESSAGE = 100
_INTERESTING = (0, 1, 2, 16, 17, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 24,
                (1 << 31) - 1, 1 << 31, (1 << 32) - 1)  # fmt: skip

_VIDEOS = (("mpeg4", "mp4"), ("libx264", "mp4"), ("libvpx", "webm"), ("mjpeg", "avi"))

Mutation = Callable[[random.Random, bytearray], bytearray]


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        counts: by "seed file: outcome"; "hashed", "incomplete" or a refusal.
        slowest_s: seconds of the slowest file.
        slowest: its number.
        failures: what must not be, by number of the file.
        grown_bytes: memory of this process at the end, less that after the first files.
        started: decoding processes that were started.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    grown_bytes: int = 0
    started: int = 0
    seconds: float = 0.0

    @property
    def by_outcome(self) -> dict[str, int]:
        """Counts by outcome alone."""
        total: Counter[str] = Counter()
        for name, count in self.counts.items():
            total[name.partition(": ")[2]] += count
        return dict(total.most_common())


@cache
def seeds() -> dict[str, bytes]:
    """Draw and encode a small file of every kind that is decoded, and of some that are not."""
    photo, other = draw_photo(31, width=72, height=56), draw_photo(32, width=72, height=56)
    layer = photo.convert("RGBA")
    layer.putalpha(other.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    moving = {"save_all": True, "append_images": [other, photo.rotate(90), other.rotate(180)]}
    files = {
        "jpeg": encode(photo, "JPEG", exif=exif),
        "jpeg progressive": encode(photo, "JPEG", progressive=True),
        "jpeg 4:4:4": encode(photo, "JPEG", subsampling=0, restart_marker_blocks=2),
        "jpeg grey": encode(photo.convert("L"), "JPEG"),
        "jpeg cmyk": encode(photo.convert("CMYK"), "JPEG"),
        "mpo": encode(photo, "MPO", save_all=True, append_images=[other]),
        "png": encode(photo, exif=exif),
        "png palette": encode(photo.quantize(64), transparency=bytes(range(64))),
        "png alpha": encode(layer),
        "png 16": encode(Image.fromarray(_wide(photo))),
        "png 1": encode(photo.convert("1")),
        "apng": encode(photo, **moving),
        "gif": encode(photo, "GIF"),
        "gif animated": encode(photo, "GIF", **moving),
        "gif transparent": encode(photo.quantize(64), "GIF", transparency=3, **moving),
        "webp": encode(photo, "WEBP", exif=exif.tobytes()),
        "webp lossless": encode(layer, "WEBP", lossless=True),
        "webp alpha": encode(layer, "WEBP"),
        "webp animated": encode(photo, "WEBP", **moving),
        "avif": encode(photo, "AVIF", speed=10),
        "avif alpha": encode(layer, "AVIF", speed=10),
        "avif animated": encode(photo, "AVIF", speed=10, **moving),
        "tiff": encode(photo, "TIFF"),
        "tiff 1": encode(photo.convert("1"), "TIFF", compression="group4"),
        "tiff alpha": encode(layer, "TIFF", compression="tiff_deflate"),
        "tiff float": encode(photo.convert("F"), "TIFF"),
        "bmp": encode(photo, "BMP"),
        "bmp palette": encode(photo.quantize(64), "BMP"),
        "ico": encode(layer, "ICO", sizes=[(48, 48), (32, 32)]),
        "ico bmp": encode(layer, "ICO", bitmap_format="bmp", sizes=[(48, 48)]),
        "ppm": encode(photo, "PPM"),
        "pgm 16": encode(Image.fromarray(_wide(photo)), "PPM"),
        "pbm": encode(photo.convert("1"), "PPM"),
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "svgz": gzip.compress(b"<svg/>" * 40),
        "jp2": encode(photo, "JPEG2000"),
        "html": b"<!doctype html><title>404</title>" * 4,
    }
    for compression in ("tiff_lzw", "packbits", "jpeg", "lzma", "zstd"):
        files[f"tiff {compression}"] = encode(photo, "TIFF", compression=compression)
    try:
        import av  # noqa: PLC0415 - an extra
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError:
        return files
    pillow_heif.register_heif_opener()  # type: ignore[no-untyped-call]
    files |= {"heif": encode(photo, "HEIF"), "heif alpha": encode(layer, "HEIF")}
    for codec, container in _VIDEOS:
        out = io.BytesIO()
        with av.open(out, "w", format=container) as file:
            stream = file.add_stream(codec, rate=2)
            stream.width, stream.height = photo.size
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for picture in (photo, other, photo, other):
                file.mux(stream.encode(av.VideoFrame.from_image(picture)))
            file.mux(stream.encode())
        files[f"{container} {codec}"] = out.getvalue()
    return files


def _wide(photo: Image.Image) -> "object":
    import numpy as np  # noqa: PLC0415 - once

    return np.asarray(photo.convert("L")).astype(np.uint16) * 257


def _cut(rng: random.Random, data: bytearray) -> bytearray:
    return data[: rng.randrange(len(data) + 1)]


def _flip_bits(rng: random.Random, data: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _set_bytes(rng: random.Random, data: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 254, 255))
    return data


def _set_number(rng: random.Random, data: bytearray) -> bytearray:
    """Write a 16- or 32-bit number, in the header more often than behind it."""
    reach = min(len(data), rng.choice((64, 64, 300, len(data))))
    form = rng.choice(("<H", ">H", "<I", ">I"))
    at = rng.randrange(max(1, reach - 4))
    number = struct.pack(form, rng.choice(_INTERESTING) & ((1 << 8 * struct.calcsize(form)) - 1))
    data[at : at + len(number)] = number
    return data


def _random_block(rng: random.Random, data: bytearray) -> bytearray:
    at, size = rng.randrange(len(data)), rng.choice((4, 16, 64, 256))
    data[at : at + size] = rng.randbytes(min(size, len(data) - at))
    return data


def _move_block(rng: random.Random, data: bytearray) -> bytearray:
    """Take a block out, repeat it, or put it elsewhere."""
    at, size = rng.randrange(len(data)), rng.choice((1, 4, 12, 64, 300))
    block, to = data[at : at + size], rng.randrange(len(data))
    way = rng.randrange(3)
    if way == 0:
        del data[at : at + size]
    elif way == 1:
        data[at:at] = block * rng.choice((1, 3, 50))
    else:
        data[to : to + len(block)] = block
    return data


def _splice(rng: random.Random, data: bytearray) -> bytearray:
    """Continue with a part of another file."""
    other = rng.choice(list(seeds().values()))
    at, start = rng.randrange(len(data)), rng.randrange(len(other))
    size = rng.choice((16, 200, len(other)))
    return data[:at] + other[start : start + size] + data[at + rng.choice((0, size)) :]


_MUTATIONS: tuple[Mutation, ...] = (
    _cut, _flip_bits, _flip_bits, _set_bytes, _set_number, _set_number, _random_block, _move_block,
    _splice,
)  # fmt: skip


def make_file(seed: int, number: int) -> tuple[str, bytes]:
    """Make one mutated file; returns the name of what it was made of, too."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(list(seeds()))
    data = bytearray(seeds()[name])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if data:
            data = rng.choice(_MUTATIONS)(rng, data)
    if data.startswith(b"\x89PNG") and rng.randrange(4):
        _mend_checksums(data)  # or a damaged chunk is never looked into
    return name, bytes(data)


def _mend_checksums(data: bytearray) -> None:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4


def try_file(data: bytes) -> str:
    """Hash a file and name the outcome.

    Raises:
        AssertionError: the outcome is neither a sound hash nor a refusal with a name.
        Exception: whatever else escaped.
    """
    refused: ImageRefusedError | None = None
    try:
        image = hash_image(data, max_bytes=_MAX_BYTES, max_pixels=MAX_PIXELS, timeout_s=TIMEOUT_S)
    except ImageRefusedError as error:
        refused = error
    if refused is not None:
        assert str(refused).isascii()
        assert 0 < len(str(refused)) < _LONGEST_MESSAGE, str(refused)
        return refused.code.value
    assert 17 * 17 <= image.width * image.height <= MAX_PIXELS
    assert all(len(row) == ROW_BYTES for _, row in image.rows)
    assert len(image.labels) in {0, len(image.rows)}
    return "hashed" if image.incomplete is None else f"hashed, then {image.incomplete.value}"


def run(files: int, *, seed: int = 1, threads: int = 2) -> Outcome:
    """Try so many files."""
    outcome, began, started = Outcome(), time.monotonic(), DECODERS.started
    seeds()

    def one(number: int) -> tuple[int, str, str, float]:
        name, data = make_file(seed, number)
        start = time.monotonic()
        try:
            word = try_file(data)
        except Exception as error:  # noqa: BLE001 - what must not be
            word = f"FAILED {type(error).__name__}: {error}"
        return number, name, word, time.monotonic() - start

    resident = 0
    with ThreadPoolExecutor(threads) as pool:
        for number, name, word, seconds in _in_blocks(pool, one, files):
            outcome.counts[f"{name}: {word.partition(':')[0]}"] += 1
            if word.startswith("FAILED"):
                outcome.failures[number] = f"{name}: {word}"
            if seconds > outcome.slowest_s:
                outcome.slowest_s, outcome.slowest = round(seconds, 3), number
            if number + 1 == min(_WARM_FILES, files):
                resident = _resident_bytes()
    gc.collect()
    outcome.grown_bytes = _resident_bytes() - resident
    outcome.started = DECODERS.started - started
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _in_blocks(
    pool: ThreadPoolExecutor, one: Callable[[int], tuple[int, str, str, float]], files: int
) -> Iterator[tuple[int, str, str, float]]:
    for start in range(0, files, _WARM_FILES):
        yield from pool.map(one, range(start, min(start + _WARM_FILES, files)))


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _decoders_peak_mib() -> int:
    """Most memory that a decoding process took, of those that have ended."""
    DECODERS.close()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def main() -> int:
    """Run from the command line; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", type=int, help="try one file, by number")
    options = parser.parse_args()
    if options.only is not None:
        name, data = make_file(options.seed, options.only)
        print(name, len(data), try_file(data))  # noqa: T201 - a script
        return 0
    outcome = run(options.files, seed=options.seed, threads=options.threads)
    document = {
        "files": options.files, "seed": options.seed, "seconds": outcome.seconds,
        "outcomes": outcome.by_outcome, "slowest_s": outcome.slowest_s,
        "slowest": outcome.slowest, "grown_mib": round(outcome.grown_bytes / 2**20, 1),
        "decoders_started": outcome.started, "decoders_peak_mib": _decoders_peak_mib(),
        "failures": outcome.failures,
        "by_seed": dict(sorted(outcome.counts.items())),
    }  # fmt: skip
    print(json.dumps(document, indent=1))  # noqa: T201 - a script
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
