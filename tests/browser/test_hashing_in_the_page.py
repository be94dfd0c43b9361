"""A picture is hashed in a real browser, as on the server, and does not leave it."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page

from delist.ops.pictures import draw_photo, encode
from indexer.hashing import hash_image
from indexer.hashing.corroboration import corroborating_hash, parse_corroborating
from indexer.hashing.modes import packed
from indexer.hashing.paths import web_blocks
from indexer.hashing.pdq import digests_of_blocks, quality_of
from indexer.model import DIGEST_BYTES
from tests.fakes.browser import Site, open_page

LOSSY_BITS = 2
"""How far apart two decoders of a JPEG or WebP may lead; what is stored exactly is hashed so."""
PERMISSIVE = "default-src * data: blob: 'unsafe-inline' 'unsafe-eval'"
PHOTO = draw_photo(1)
STILL = encode(PHOTO, "PNG")
_WEB_UPRIGHT = slice(8 * DIGEST_BYTES, 9 * DIGEST_BYTES)

Found = dict[str, Any]


def written(picture: Image.Image, form: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def on_its_side(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return written(PHOTO, "JPEG", quality=90, exif=exif)


def faded() -> Image.Image:
    """A picture that is see-through to the right: as a browser and we show it, on white."""
    picture = PHOTO.convert("RGBA")
    fading = np.linspace(255, 0, picture.width).astype(np.uint8)
    picture.putalpha(Image.fromarray(np.broadcast_to(fading, picture.size[::-1]).copy()))
    return picture


def enlarged(width: int, height: int) -> Image.Image:
    """Make a picture of any size that is soon written and sent: whole pixels are repeated."""
    return PHOTO.resize((width, height), Image.Resampling.NEAREST)


JPEG = written(PHOTO, "JPEG", quality=80)
EXACT = {
    "as drawn": lambda: STILL,
    "of odd sides, halved": lambda: written(enlarged(1501, 1101), "PNG", compress_level=1),
    "of even sides, halved": lambda: written(enlarged(1024, 1026), "PNG", compress_level=1),
    "halved twice": lambda: written(enlarged(2051, 2049), "PNG", compress_level=1),
    "wide": lambda: written(enlarged(4000, 40), "PNG"),
    "in many bands": lambda: written(enlarged(3000, 1021), "PNG", compress_level=1),
    "the smallest": lambda: written(enlarged(17, 17), "PNG"),
    "grey": lambda: written(PHOTO.convert("L"), "PNG"),
    "of a palette": lambda: written(PHOTO.quantize(64), "GIF"),
    "on white": lambda: written(faded(), "PNG"),
    "lossless WebP": lambda: written(PHOTO, "WEBP", lossless=True),
}
LOSSY = {
    "JPEG": lambda: JPEG,
    "on its side": lambda: on_its_side(6),
    "upside down": lambda: on_its_side(3),
    "mirrored": lambda: on_its_side(7),
    "progressive": lambda: written(enlarged(1200, 1100), "JPEG", progressive=True),
    "WebP": lambda: written(PHOTO, "WEBP", quality=70),
}
REFUSED = {
    "empty": (b"", "empty"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "damaged"),
    "half a PNG": (STILL[: len(STILL) // 2], "damaged"),
    "the start of a JPEG": (JPEG[:3], "damaged"),
    "8 pixels": (written(enlarged(8, 8), "PNG"), "too_small"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "heic"),
    "TIFF": (written(PHOTO, "TIFF"), "unsupported_format"),
    "broken AVIF": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(500), "unsupported_format"),
    "MP4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(500), "video"),
    "WebM": (b"\x1aE\xdf\xa3" + bytes(500), "video"),
    "SVG": (b"<?xml version='1.0'?>\n<!-- <a> -->\n<svg xmlns='a'/>", "drawing"),
    "PDF": (b"%PDF-1.7\n" + bytes(500), "document"),
    "text": (b"<p>Not a picture, <b>at all</b>", "not_an_image"),
    "noise": (np.random.default_rng(1).bytes(5000), "not_an_image"),
    "a bomb": (STILL[:16] + (60_000).to_bytes(4) * 2 + STILL[24:], "too_many_pixels"),
}  # fmt: skip


@pytest.fixture(scope="module")
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """One page for all that one page can do."""
    context = browser.new_context()
    yield open_page(context, site)
    context.close()


def choose(page: Page, data: bytes, name: str = "private-name.bin") -> None:
    """Choose a file as a person does."""
    file: FilePayload = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    page.set_input_files("#file", files=[file])


def hashed(page: Page, data: bytes, **options: Any) -> Found:  # noqa: ANN401 - of the script
    choose(page, data)
    found: Found = page.evaluate("(options) => window.hashChosen(options)", options)
    return found


def apart(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def assert_hashed_as_here(found: Found, data: bytes, *, allowed_bits: int) -> None:
    """Both hashes, the quality and the size are what our own hasher gives for these bytes."""
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")
    block = web_blocks(packed(picture)).upright
    kept = hash_image(data, max_bytes=1 << 28, max_pixels=1 << 28).rows[0][1][_WEB_UPRIGHT]
    digest, second = bytes.fromhex(found["hex"]), parse_corroborating(found["corroboratingHex"])

    assert apart(digest, kept) <= allowed_bits
    assert apart(digest, digests_of_blocks(block[np.newaxis])[0].tobytes()) <= allowed_bits
    assert apart(bytes(second), bytes(corroborating_hash(block))) <= allowed_bits
    assert abs(found["quality"] - quality_of(block)) <= (1 if allowed_bits else 0)
    assert (found["width"], found["height"]) == picture.size


@pytest.mark.parametrize("draw", EXACT.values(), ids=EXACT)
def test_what_is_stored_exactly_has_the_very_hashes(page: Page, draw: Callable[[], bytes]) -> None:
    """The same bits in a browser as on the server, however large, turned or see-through."""
    data = draw()

    assert_hashed_as_here(hashed(page, data), data, allowed_bits=0)


@pytest.mark.parametrize("draw", LOSSY.values(), ids=LOSSY)
def test_what_a_decoder_may_round_is_within_two_bits(page: Page, draw: Callable[[], bytes]) -> None:
    """JPEG and WebP; a photo that lies on its side is turned upright by its tag."""
    data = draw()

    assert_hashed_as_here(hashed(page, data), data, allowed_bits=LOSSY_BITS)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_hashed_by_its_first_picture(page: Page, form: str) -> None:
    """And says that it is one; a still of the same kind does not."""
    first, *rest = (draw_photo(seed).quantize(64).convert("RGB") for seed in range(3))
    options = {"lossless": True} if form == "WEBP" else {}
    moving = written(first, form, save_all=True, append_images=rest, duration=100, **options)

    found, still = hashed(page, moving), hashed(page, written(first, form, **options))

    assert (found["animated"], still["animated"]) == (True, False)
    assert found["format"] == form.lower()
    assert found["hex"] == still["hex"]


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_hashed_is_named(page: Page, data: bytes, code: str) -> None:
    """A code for programs, and a sentence for people that holds nothing of the file."""
    found = hashed(page, data)

    assert (found["name"], found["code"]) == ("HashingError", code)
    assert found["message"] == page.evaluate("(code) => pdq.MESSAGES[code]", code)
    assert "private-name" not in str(found)


def test_a_file_that_is_too_large_is_not_read(page: Page) -> None:
    """More than the limit is refused by its size alone; so is what the device does not give."""
    too_large = "hasher.hash(new Blob([new Uint8Array(pdq.MAX_BYTES + 1)])).catch((e) => e.code)"

    assert page.evaluate(too_large) == "too_large"


def test_what_took_too_long_or_was_cancelled_is_stopped(page: Page) -> None:
    """Never a hang: each ends with its name, and the next picture is hashed as ever."""
    assert hashed(page, STILL, timeoutMs=0)["code"] == "took_too_long"
    choose(page, STILL)
    cancelled = page.evaluate("""() => {
      const stop = new AbortController();
      const hashing = hashChosen({ signal: stop.signal });
      setTimeout(() => stop.abort());
      return hashing;
    }""")
    before = page.evaluate("hashChosen({ signal: AbortSignal.abort() })")

    assert [cancelled["code"], before["code"]] == ["cancelled", "cancelled"]
    assert_hashed_as_here(hashed(page, STILL), STILL, allowed_bits=0)


def test_the_page_answers_while_a_large_photo_is_hashed(page: Page) -> None:
    """Twelve million pixels, as phones make them: the work is done beside the page."""
    data = written(enlarged(4000, 3000), "JPEG", quality=60)
    choose(page, data)

    found = page.evaluate("""async () => {
      let ticks = 0;
      const ticking = setInterval(() => (ticks += 1), 10);
      const found = await hashChosen();
      clearInterval(ticking);
      return { ...found, ticks };
    }""")

    assert len(page.workers) == 1
    assert found["ticks"] >= 3
    assert_hashed_as_here(found, data, allowed_bits=LOSSY_BITS)


def test_no_request_leaves_the_page_while_hashing(
    context: BrowserContext, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the page is open nothing is asked for, though nothing forbids it, nor is it needed."""
    monkeypatch.setattr(site, "policy", PERMISSIVE)
    asked: list[str] = []
    page = open_page(context, site)
    page.on("websocket", lambda socket: asked.append(socket.url))
    context.on("request", lambda request: asked.append(request.url))
    site.requests.clear()

    hashed(page, REFUSED["HEIC"][0])
    found = hashed(page, JPEG)
    with page.expect_response("**/after") as last:  # a request that is made is seen
        page.evaluate("() => void fetch('/after')")
    context.set_offline(True)
    offline = hashed(page, JPEG)

    assert len(found["hex"]) == 64
    assert offline == found
    assert asked == [last.value.url]
    assert site.requests == ["GET /after"]
    assert not context.cookies()
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_the_strictest_policy_is_kept(context: BrowserContext, site: Site) -> None:
    """No eval, nothing inline, no connection, no picture address: the browser has no complaint."""
    complaints: list[str] = []

    def listen(page: Page) -> None:
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

    context.on("page", listen)
    page = open_page(context, site)

    assert_hashed_as_here(hashed(page, STILL), STILL, allowed_bits=0)
    assert len(page.workers) == 1
    assert complaints == []


def test_without_workers_the_page_does_the_work(context: BrowserContext, site: Site) -> None:
    """Old browsers: the same hashes, and the same names of what goes wrong."""
    context.add_init_script("delete window.Worker; delete window.OffscreenCanvas;")
    page = open_page(context, site)

    assert_hashed_as_here(hashed(page, STILL), STILL, allowed_bits=0)
    assert hashed(page, REFUSED["SVG"][0])["code"] == "drawing"
    assert page.workers == []


def test_pixels_that_a_browser_makes_up_are_not_hashed(context: BrowserContext, site: Site) -> None:
    """Protection against tracking gives noise: said, and how to go on, instead of a false hash."""
    context.add_init_script("""
      delete window.Worker;
      const prototype = OffscreenCanvasRenderingContext2D.prototype;
      const real = prototype.getImageData;
      prototype.getImageData = function (...where) {
        const read = real.apply(this, where);
        read.data.forEach((_, at) => (read.data[at] = Math.random() * 256));
        return read;
      };
    """)
    page = open_page(context, site)

    assert hashed(page, STILL)["code"] == "canvas_blocked"
