"""Reading sitemaps that strangers write."""

import gzip

import pytest

from crawler.errors import RefusedError
from crawler.sitemaps import parse_sitemap, sitemaps_of_robots, unpack

NS = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
IMAGE_NS = 'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'


def test_pages_and_their_images_are_read() -> None:
    """An image sitemap names the page of each image."""
    sitemap = parse_sitemap(
        f"""<?xml version="1.0"?><urlset {NS} {IMAGE_NS}>
        <url><loc> http://h/a </loc><image:image><image:loc>http://h/1.jpg</image:loc></image:image>
        <image:image><image:loc>http://h/2.jpg</image:loc></image:image></url>
        <url><loc>http://h/b</loc></url></urlset>""".encode()
    )

    assert sitemap is not None
    assert sitemap.page_urls == ("http://h/a", "http://h/b")
    assert sitemap.image_urls == (
        ("http://h/a", "http://h/1.jpg"),
        ("http://h/a", "http://h/2.jpg"),
    )


def test_an_index_lists_sitemaps() -> None:
    """A sitemap index yields sitemaps, no pages."""
    sitemap = parse_sitemap(
        f"<sitemapindex {NS}><sitemap><loc>http://h/s.xml</loc></sitemap></sitemapindex>".encode()
    )

    assert sitemap is not None
    assert sitemap.sitemap_urls == ("http://h/s.xml",)
    assert sitemap.page_urls == ()


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"<rss/>", b"\x00\x01", b"plain"])
def test_other_bytes_are_no_sitemap(body: bytes) -> None:
    """What is no sitemap is told apart, so that a seed may be anything."""
    assert parse_sitemap(body) is None


def test_broken_xml_yields_what_could_be_read() -> None:
    """A sitemap that is cut off keeps its complete entries."""
    sitemap = parse_sitemap(f"<urlset {NS}><url><loc>http://h/a</loc></url><url><lo".encode())

    assert sitemap is not None
    assert sitemap.page_urls == ("http://h/a",)


def test_entities_are_not_expanded() -> None:
    """A billion laughs is not laughed at, and no file is read."""
    bomb = """<?xml version="1.0"?><!DOCTYPE u [<!ENTITY a "AAAAAAAAAA"><!ENTITY b "&a;&a;&a;">
    <!ENTITY f SYSTEM "file:///etc/passwd">]>
    <urlset><url><loc>http://h/&b;&f;</loc></url></urlset>"""
    sitemap = parse_sitemap(bomb.encode())

    assert sitemap is not None
    assert not any("AAAA" in url or "root" in url for url in sitemap.page_urls)


def test_packed_sitemaps_are_bounded() -> None:
    """A packed sitemap may unpack up to the limit, inclusive, and not beyond."""
    assert unpack(gzip.compress(b"x" * 100), max_bytes=100) == b"x" * 100
    with pytest.raises(RefusedError, match="too_many_bytes"):
        unpack(gzip.compress(b"x" * 101), max_bytes=100)
    with pytest.raises(RefusedError, match="bad_encoding"):
        unpack(gzip.compress(b"x" * 100)[:-9], max_bytes=100)


def test_robots_names_sitemaps() -> None:
    """Sitemap lines count wherever they stand, in any case."""
    body = b"\xef\xbb\xbfsitemap: http://h/1\nUser-agent: *\r\nSITEMAP :http://h/2\nSitemap:\n\xff"

    assert sitemaps_of_robots(body) == ("http://h/1", "http://h/2")
