"""``delist bench``: rates here, and the peer's beside it when it is installed, in one run.

Rates are medians over repeats; the machine is noisy, so ratios are what counts.
"""

import functools
import importlib.util
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from crawler.runner import run_crawl
from crawler.settings import CrawlJob
from delist.ops.pictures import draw_photo, encode
from indexer.ann import choose_index
from indexer.hashing import hash_image
from indexer.model import DIGEST_BYTES
from indexer.settings import HashingSettings, MatchingSettings

SIZES = ((300, 200), (800, 600), (1920, 1080), (4000, 3000))
_PEER_HASH = "threatexchange PdqSignal"
_PEER_INDEX = "threatexchange PDQIndex"
_SEED = 1
_PAGE_IMAGES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One rate, and what others reach at the same in the same run.

    Attributes:
        rate: per second, here.
        peers: the same, by name of the peer.
    """

    what: str
    rate: float
    peers: Mapping[str, float] = field(default_factory=dict)


def compare_hashing(repeats: int) -> Iterator[Comparison]:
    """Time JPEG bytes to hashes for several sizes: sixteen digests here, one at the peer's."""
    limits = HashingSettings()
    for width, height in SIZES:
        images = [
            encode(draw_photo(seed, width=width, height=height), "JPEG", quality=85)
            for seed in range(min(repeats, 4))
        ]

        def ours(data: bytes) -> object:
            return hash_image(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)

        peers = {}
        if _peer_is_installed():
            from threatexchange.signal_type.pdq.signal import PdqSignal  # noqa: PLC0415 - optional

            peers[_PEER_HASH] = _rate(PdqSignal.hash_from_bytes, images, repeats)
        yield Comparison(
            what=f"hash JPEG {width}x{height}", rate=_rate(ours, images, repeats), peers=peers
        )


def compare_lookups(sizes: Sequence[int], batch: int) -> Iterator[Comparison]:
    """Time exact look-ups of random digests, a batch at once, on one index."""
    rng = np.random.default_rng(_SEED)
    threshold_bits = MatchingSettings().threshold_bits
    queries = rng.integers(0, 256, (batch, DIGEST_BYTES), dtype=np.uint8)
    for size in sizes:
        digests = rng.integers(0, 256, (size, DIGEST_BYTES), dtype=np.uint8)
        index = choose_index(digests)
        find = functools.partial(index.find, threshold_bits=threshold_bits)
        peers = {}
        if _peer_is_installed():
            peers[_PEER_INDEX] = batch * _rate(_peer_index(digests), [queries], 5)
        yield Comparison(
            what=f"look-ups in {size:,} signals, batches of {batch}",
            rate=batch * _rate(find, [queries], 5),
            peers=peers,
        )


def compare_crawls(images: int) -> Iterator[Comparison]:
    """Time a crawl of a loopback site: images that are new, then the same unchanged."""
    with tempfile.TemporaryDirectory(prefix="delist-bench-") as folder:
        site, data_dir = Path(folder, "site"), Path(folder, "data")
        site.mkdir()
        _write_site(site, images)
        with _served(site) as url:
            job = CrawlJob(urls=(url,), allow_private_addresses=True)
            for what in ("new", "unchanged"):
                result = run_crawl(job, data_dir=data_dir)
                rate = result.images / result.seconds
                yield Comparison(what=f"crawl 800x600 JPEG, {what}", rate=rate)


def _peer_is_installed() -> bool:
    return importlib.util.find_spec("threatexchange") is not None


def _peer_index(digests: Any) -> Callable[[Any], object]:  # noqa: ANN401 - a NumPy array
    from threatexchange.signal_type.pdq.pdq_index import PDQIndex  # noqa: PLC0415 - optional

    entries = [(digest.tobytes().hex(), position) for position, digest in enumerate(digests)]
    index = PDQIndex.build(entries)
    return lambda queries: [index.query(query.tobytes().hex()) for query in queries]


def _rate(call: Callable[[Any], object], inputs: Sequence[Any], repeats: int) -> float:
    """Return calls per second: the median over repeats, after one call to warm up."""
    call(inputs[0])
    seconds = []
    for turn in range(repeats):
        started = time.perf_counter()
        call(inputs[turn % len(inputs)])
        seconds.append(time.perf_counter() - started)
    return 1 / statistics.median(seconds)


def _write_site(site: Path, images: int) -> None:
    names = [f"{number}.jpg" for number in range(images)]
    for number, name in enumerate(names):
        picture = draw_photo(number, width=800, height=600)
        (site / name).write_bytes(encode(picture, "JPEG", quality=85))
    pages = [names[start : start + _PAGE_IMAGES] for start in range(0, images, _PAGE_IMAGES)]
    for number, page in enumerate(pages):
        tags = "".join(f'<img src="{name}">' for name in page)
        (site / f"page{number}.html").write_text(f"<html><body>{tags}</body></html>")
    links = "".join(f'<a href="page{number}.html">more</a>' for number in range(len(pages)))
    (site / "index.html").write_text(f"<html><body>{links}</body></html>")


@contextmanager
def _served(site: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        """Write nothing."""
