"""Mutated files as a browser shows them, against what is hashed: is a picture shown and missed?

Run with ``python -m tests.benchmarks.fuzz_shown --files 5000 --seed 7``; needs Chromium. Of the
files of ``fuzz_decode`` in formats that browsers show, those are looked at that Chromium shows as
the picture they were made of. Prints JSON: how many these are, and which of them are refused, or
hashed too far away to be found. (An animation may show another frame than is hashed.)
"""

import argparse
import base64
import io
import json
import sys
from collections.abc import Iterator
from itertools import count, islice

from PIL import Image
from playwright.sync_api import Browser

from indexer.errors import ImageRefusedError
from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES, ROW_BYTES, HashedImage
from tests.benchmarks.fuzz_decode import make_file, seeds
from tests.fakes.browser import find_chromium, running_browser

THRESHOLD_BITS, LEAST_QUALITY = 31, 50
_MAX_BYTES = _MAX_PIXELS = 1 << 20
_AT_ONCE = 200
_MIMES = {
    "jpeg": "image/jpeg", "mpo": "image/jpeg", "png": "image/png", "apng": "image/png",
    "gif": "image/gif", "webp": "image/webp", "avif": "image/avif", "bmp": "image/bmp",
    "ico": "image/x-icon",
}  # fmt: skip
_SHOW = """async (files) => {
  const shown = [];
  for (const [data, mime] of files) {
    const image = new Image();
    image.src = `data:${mime};base64,${data}`;
    const loaded = await new Promise((done) => {
      image.onload = () => done(true);
      image.onerror = () => done(false);
    });
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    if (!loaded || width < 17 || height < 17 || width * height > 40000) {
      shown.push(null);
      continue;
    }
    const context = Object.assign(document.createElement("canvas"), { width, height })
      .getContext("2d");
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, width, height).data;
    let text = "";
    for (const value of pixels) text += String.fromCharCode(value);
    shown.push([width, height, btoa(text)]);
  }
  return shown;
}"""

_File = tuple[int, str, bytes]
_Shown = tuple[int, int, str] | None


def files_of(seed: int, most: int) -> Iterator[_File]:
    """Make files in formats that browsers show: number, name of the seed file, bytes."""
    made = ((number, *make_file(seed, number)) for number in count())
    shown = ((n, name, data) for n, name, data in made if name.split()[0] in _MIMES)
    return islice((file for file in shown if file[2] != seeds()[file[1]]), most)


def show(browser: Browser, files: list[_File]) -> Iterator[_Shown]:
    """Have a browser draw files on white; None for what it does not show."""
    page = browser.new_page()
    for start in range(0, len(files), _AT_ONCE):
        part = files[start : start + _AT_ONCE]
        yield from page.evaluate(
            _SHOW,
            [[base64.b64encode(data).decode(), _MIMES[name.split()[0]]] for _, name, data in part],
        )


def hashed(data: bytes) -> HashedImage:
    """Hash under the limits of the run."""
    return hash_image(data, max_bytes=_MAX_BYTES, max_pixels=_MAX_PIXELS)


def drawn(shown: _Shown) -> HashedImage | None:
    """Hash what a browser drew; None for nothing, or nothing that a hash could tell."""
    if shown is None:
        return None
    width, height, pixels = shown
    out = io.BytesIO()
    Image.frombytes("RGBA", (width, height), base64.b64decode(pixels)).convert("RGB").save(
        out, "PNG"
    )
    found = hashed(out.getvalue())
    return found if found.quality >= LEAST_QUALITY else None


def nearest_bits(image: HashedImage, upright: bytes) -> int:
    """Return how near any hash of an image comes to a digest."""
    return min(
        (int.from_bytes(row[at : at + DIGEST_BYTES]) ^ int.from_bytes(upright)).bit_count()
        for _, row in image.rows
        for at in range(0, ROW_BYTES, DIGEST_BYTES)
    )


def run(seed: int, most: int) -> dict[str, object]:
    """Compare; see above.

    Raises:
        SystemExit: there is no Chromium.
    """
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium")
    files, missed, shown_as_made = list(files_of(seed, most)), dict[str, list[int]](), 0
    with running_browser(chromium) as browser:
        pictures = list(show(browser, files))
    for (number, name, data), shown in zip(files, pictures, strict=True):
        seen = drawn(shown)
        if seen is None:
            continue
        upright = seen.rows[0][1][:DIGEST_BYTES]
        if nearest_bits(hashed(seeds()[name]), upright) > THRESHOLD_BITS:
            continue  # another picture by now, or none
        shown_as_made += 1
        try:
            outcome = "far" if nearest_bits(hashed(data), upright) > THRESHOLD_BITS else ""
        except ImageRefusedError as error:
            outcome = error.code.value
        if outcome:
            missed.setdefault(f"{name}: {outcome}", []).append(number)
    total = sum(map(len, missed.values()))
    return {"files": len(files), "shown": shown_as_made, "missed": total, "which": missed}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = run(arguments.seed, arguments.files)
    sys.stdout.write(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
