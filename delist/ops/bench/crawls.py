"""``delist bench crawl``: a crawl of a site on loopback."""

import functools
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from crawler.runner import run_crawl
from crawler.settings import CrawlJob
from delist.ops.bench.timing import Comparison
from delist.ops.pictures import draw_photo, encode

_PAGE_IMAGES = 50


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
