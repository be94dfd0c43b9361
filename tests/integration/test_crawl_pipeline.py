"""The pipeline in a Scrapy user's own spider, with their own items and settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.videos import md5_of, video_bytes
from tests.sites import draw_image, serve_site

SPIDER = """
import json, sys
import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.utils.reactor import install_reactor

install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")


class Shop(scrapy.Spider):
    name = "shop"

    async def start(self):
        yield scrapy.Request(sys.argv[1])

    def parse(self, response):
        urls = [response.urljoin(url) for url in response.css("img::attr(src)").getall()]
        yield {"page_url": response.url, "image_urls": [*urls, "nonsense"], "price": 3}
        yield {"page_url": "nonsense", "image_urls": urls[:1]}
        if videos := response.css("video::attr(src)").getall():
            videos = [response.urljoin(url) for url in videos]
            yield {"page_url": response.url, "video_urls": videos, "price": 0}


def show(item, response, spider):
    print(json.dumps(item), flush=True)


process = AsyncCrawlerProcess(
    {
        "ITEM_PIPELINES": {"crawler.pipelines.HashImagesPipeline": 300},
        "DELIST_DATA_DIR": sys.argv[2],
        "REMOTE_CONTROL_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
    }
)
crawler = process.create_crawler(Shop)
crawler.signals.connect(show, signal=scrapy.signals.item_scraped)
process.crawl(crawler)
process.start()
"""


def run_spider(url: str, data_dir: Path) -> list[dict[str, object]]:
    packages = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SPIDER, url, str(data_dir)],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(packages)},
        timeout=120,
    )
    items = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(items, key=lambda item: "price" not in item)


def test_items_get_hashes_and_match_counts(tmp_path: Path) -> None:
    """``image_urls`` in, ``images`` out: outcome, hashes and matches; other fields untouched."""
    with serve_site() as site:
        site.put("/a.jpg", draw_image(1), Content_Type="image/jpeg")
        page = site.put("/", "<img src=/a.jpg><img src=/missing.jpg>")
        first = run_spider(page, tmp_path)
        again = run_spider(page, tmp_path)

        assert site.paths().count("/a.jpg") == 2

    images = first[0]["images"]
    assert isinstance(images, list)
    assert [(image["outcome"], image["code"]) for image in images] == [
        ("hashed", None),
        ("refused", "http_404"),
        ("refused", "invalid_url"),
    ]
    assert first[0]["price"] == 3
    assert images[0]["matches"] == 0
    assert len(images[0]["hashes"]) == 16
    assert {"hasher", "variant", "digest"} == set(images[0]["hashes"][0])
    unchanged = again[0]["images"]
    assert isinstance(unchanged, list)
    assert (unchanged[0]["outcome"], unchanged[0]["hashes"]) == ("unchanged", [])


def test_items_with_videos_get_their_md5(tmp_path: Path) -> None:
    """``video_urls`` in, ``videos`` out, with Scrapy's own download handler too."""
    data = video_bytes("item")
    with serve_site() as site:
        site.put("/v.mp4", data, Content_Type="video/mp4")
        items = run_spider(site.put("/", "<video src=/v.mp4></video>"), tmp_path)

    (item,) = [item for item in items if "video_urls" in item]
    (video,) = item["videos"]  # type: ignore[misc] # of JSON
    assert (video["outcome"], video["matches"]) == ("hashed", 0)
    assert video["hashes"] == [{"hasher": "md5", "variant": "file", "digest": md5_of(data)}]


def test_bytes_never_reach_the_disk(tmp_path: Path) -> None:
    """No file under the data directory or the working directory holds the image's bytes."""
    data = draw_image(1, size=(64, 64))
    with serve_site() as site:
        site.put("/a.jpg", data)
        run_spider(site.put("/", "<img src=/a.jpg>"), tmp_path / "data")

    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert data[100:400] not in path.read_bytes()
