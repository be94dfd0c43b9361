"""How near our hashes made in Chromium come to those of StopNCII's operator's own hasher.

    python -m tests.benchmarks.browser_hashes PHOTOS [--limit N]

PHOTOS holds JPEG files and ``pdq-web-reference.json``: for each file ``canvas512``, the reference
hash. Also told: how far Chromium's hashes and maps are from what our Python paths make of the same
bytes, and how long one takes.
"""

import argparse
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES
from tests.fakes.browser import find_chromium, open_page, running_browser, running_site

_HASH = """async (file) => {
  const bytes = Uint8Array.from(atob(file), (digit) => digit.charCodeAt(0));
  const start = performance.now();
  const found = await window.hasher.hash(new Blob([bytes]));
  return { ...found, milliseconds: performance.now() - start };
}"""
_LEAST_QUALITY = 50
_WEB_UPRIGHT = slice(8 * DIGEST_BYTES, 9 * DIGEST_BYTES)


def hashed(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Hash files in Chromium, one after another."""
    executable = find_chromium()
    if executable is None:
        raise SystemExit("Chromium is needed: apt-get install chromium")
    with running_site() as site, running_browser(executable) as browser:
        page = open_page(browser.new_context(), site)
        for path in paths:
            yield page.evaluate(_HASH, base64.b64encode(path.read_bytes()).decode())


def apart(one: bytes, other: bytes) -> int:
    """Count the bits in which two hashes differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def told(name: str, distances: list[int]) -> str:
    """Say what the distances come to."""
    bits: NDArray[np.int64] = np.array(distances)
    return (
        f"{name}: {bits.size} photos, mean {bits.mean():.2f} bits, 99th percentile "
        f"{np.percentile(bits, 99):.0f}, max {bits.max()}, equal {np.mean(bits == 0):.1%}"
    )


def main() -> None:
    """Hash, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    reference = json.loads((options.photos / "pdq-web-reference.json").read_text())
    paths = [options.photos / name for name in sorted(reference)][: options.limit]
    distances: dict[str, list[int]] = {"reference": [], "Python web path": [], "map": []}
    milliseconds, started, qualities, plain = [], time.perf_counter(), 0, 0
    for path, found in zip(paths, hashed(paths), strict=True):
        expected = reference[path.name]
        qualities += found["quality"] != expected["quality"]
        milliseconds.append(found["milliseconds"])
        if expected["quality"] < _LEAST_QUALITY:
            plain += 1
            continue
        ours = hash_image(path.read_bytes(), max_bytes=1 << 28, max_pixels=1 << 28)
        digest, held = bytes.fromhex(found["hex"]), bytes.fromhex(found["corroboratingHex"])
        distances["reference"].append(apart(digest, bytes.fromhex(expected["canvas512"])))
        distances["Python web path"].append(apart(digest, ours.rows[0][1][_WEB_UPRIGHT]))
        distances["map"].append(apart(held[1:], ours.traits[0][2:]))
    for name, values in distances.items():
        print(told(name, values))  # noqa: T201 - its purpose
    print(  # noqa: T201
        f"quality differs: {qualities}; below {_LEAST_QUALITY} and left out: {plain}; a hash takes "
        f"{np.median(milliseconds):.0f} ms (median), {max(milliseconds):.0f} (most); "
        f"all {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
