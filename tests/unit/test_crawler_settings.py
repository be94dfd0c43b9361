"""The crawler's settings, and what Scrapy is told."""

import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from crawler.decoding import decode_data_url
from crawler.errors import CrawlSettingsError
from crawler.refusals import refusal_code
from crawler.runner import run_crawl
from crawler.settings import CrawlJob, CrawlSettings, scrapy_settings
from indexer.settings import read_section


def test_every_setting_is_explained_and_its_default_is_valid() -> None:
    """Each setting says what it is, and the defaults pass their own ranges."""
    assert all(entry.metadata["doc"] for entry in fields(CrawlSettings))
    table = {"crawler": asdict(CrawlSettings())}
    read = read_section(CrawlSettings, table, "crawler", base_dir=Path())

    assert read == CrawlSettings()


def test_scrapy_is_told_the_larger_limit_and_opens_nothing() -> None:
    """A page link may answer an image; and no console, cache, proxy or remote control is on."""
    settings = scrapy_settings(CrawlSettings(max_page_bytes=2000), max_image_bytes=5000)

    assert settings["DOWNLOAD_MAXSIZE"] == 5000
    for name in ("TELNETCONSOLE", "REMOTE_CONTROL", "HTTPCACHE", "HTTPPROXY", "COOKIES", "LOG"):
        assert settings[f"{name}_ENABLED"] is False


@pytest.mark.parametrize("job", [CrawlJob(urls=()), CrawlJob(urls=("http://h/",), depth=-1)])
def test_a_job_that_makes_no_sense_starts_nothing(job: CrawlJob) -> None:
    """A wrong job fails before a process is started."""
    with pytest.raises(CrawlSettingsError):
        run_crawl(job)


def test_job_does_not_show_its_urls() -> None:
    """A job that is logged by accident leaks no URL."""
    assert "secret" not in repr(CrawlJob(urls=("http://secret/",)))


def test_starting_a_crawl_does_not_load_scrapy() -> None:
    """A command line that does not crawl pays nothing for Scrapy."""
    code = "import crawler.runner, sys; sys.exit('scrapy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_data_urls_are_decoded_and_bounded() -> None:
    """Base64 with white space or without padding, and percent-encoding, are read."""
    assert decode_data_url("data:image/x;base64,aGVs\nbG8", max_bytes=9) == b"hello"
    assert decode_data_url("DATA:,a%20b", max_bytes=9) == b"a b"
    for url in ("data:image/png", "data:;base64,a", "data:," + "x" * 10):
        with pytest.raises(Exception, match="refused") as error:
            decode_data_url(url, max_bytes=9)
        assert refusal_code(error.value) in {"bad_encoding", "too_many_bytes"}
