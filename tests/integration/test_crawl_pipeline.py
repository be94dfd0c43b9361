"""The pipeline in a Scrapy user's own spider, with their own items and settings."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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


VIDEO = video_bytes("item")
SMALL = draw_image(1, size=(64, 64))
Items = list[dict[str, Any]]


def run_spider(url: str, data_dir: Path) -> Items:
    packages = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", SPIDER, url, str(data_dir)],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([packages, os.environ["PYTHONPATH"]])},
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass
class Shopped:
    """What two runs of the spider on one page did, and where."""

    folder: Path
    first: Items
    again: Items
    asked: list[str]


@pytest.fixture(scope="module")
def shopped(tmp_path_factory: pytest.TempPathFactory) -> Shopped:
    folder = tmp_path_factory.mktemp("spider")
    with serve_site() as site:
        site.put("/a.jpg", SMALL, Content_Type="image/jpeg")
        site.put("/v.mp4", VIDEO, Content_Type="video/mp4")
        tags = "<img src=/a.jpg><img src=/missing.jpg><video src=/v.mp4></video>"
        page = site.put("/", tags)
        runs = [run_spider(page, folder / "data") for _ in range(2)]
        return Shopped(folder, *runs, site.paths())


def test_items_get_hashes_and_match_counts(shopped: Shopped) -> None:
    """``image_urls`` in, ``images`` out: outcome, hashes and matches; other fields untouched."""
    assert shopped.asked.count("/a.jpg") == 2
    (item,) = [item for item in shopped.first if item.get("price") == 3]
    images = item["images"]
    assert [(image["outcome"], image["code"]) for image in images] == [
        ("hashed", None),
        ("refused", "http_404"),
        ("refused", "invalid_url"),
    ]
    assert images[0]["matches"] == 0
    assert len(images[0]["hashes"]) == 16
    assert {"hasher", "variant", "digest"} == set(images[0]["hashes"][0])
    (again,) = [item for item in shopped.again if item.get("price") == 3]
    unchanged = again["images"][0]
    assert (unchanged["outcome"], unchanged["hashes"]) == ("unchanged", [])


def test_items_with_videos_get_their_md5(shopped: Shopped) -> None:
    """``video_urls`` in, ``videos`` out, with Scrapy's own download handler too."""
    (item,) = [item for item in shopped.first if "video_urls" in item]
    (video,) = item["videos"]
    assert item["price"] == 0
    assert (video["outcome"], video["matches"]) == ("hashed", 0)
    assert video["hashes"] == [{"hasher": "md5", "variant": "file", "digest": md5_of(VIDEO)}]


def test_bytes_never_reach_the_disk(shopped: Shopped) -> None:
    """No file under the data directory or the working directory holds the image's bytes."""
    files = [path for path in shopped.folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        held = path.read_bytes()
        assert SMALL[100:400] not in held
        assert VIDEO[100:400] not in held
