"""What is found on a page: links, images, and what is counted instead of failing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsel import Selector

from crawler.links import PageLinks, find_links, is_image_url, parse_srcset

PAGE = "https://example.com/dir/page.html"


def links_of(html: str, **limits: int) -> PageLinks:
    return find_links(Selector(text=html), PAGE, **limits)


@pytest.mark.parametrize(
    "html",
    [
        '<img src="/a.x">',
        '<img src=" /a.x\n">',
        '<img data-src="/a.x">',
        '<img srcset="/a.x 2x">',
        '<img data-srcset="/a.x 300w">',
        '<picture><source srcset="/a.x"></picture>',
        '<meta property="og:image" content="/a.x">',
        '<meta property="og:image:secure_url" content="/a.x">',
        '<meta name="twitter:image" content="/a.x">',
        '<link rel="image_src" href="/a.x">',
        '<video poster="/a.x"></video>',
        '<input type="IMAGE" src="/a.x">',
        '<svg><image href="/a.x"/></svg>',
        '<svg><image xlink:href="/a.x"/></svg>',
        "<div style=\"background-image: url('/a.x')\"></div>",
        '<div style="background: red URL( /a.x ) no-repeat"></div>',
        '<noscript><img src="/a.x"></noscript>',
        '<base href="https://example.com/"><img src="a.x">',
        '<img src="https://EXAMPLE.com:443/a.x#part">',
        r'<img src="\a.x">',
        r'<img src="https:\\example.com\dir/..\a.x#\">',
    ],
)
def test_images_are_found_wherever_a_page_puts_them(html: str) -> None:
    """Every way of putting an image on a page that needs no script is read."""
    assert links_of(html).image_urls == ("https://example.com/a.x",)


@pytest.mark.parametrize(
    "html",
    [
        '<video src="/a.x"></video>',
        '<video data-src="/a.x"></video>',
        '<video><source src="/a.x" type="video/mp4"></video>',
        '<video><source data-src="/a.x"></video>',
        '<amp-video src="/a.x"></amp-video>',
        '<meta property="og:video" content="/a.x">',
        '<meta property="og:video:secure_url" content="/a.x">',
        '<meta name="twitter:player:stream" content="/a.x">',
        '<link rel="preload" as="video" href="/a.x">',
    ],
)
def test_videos_are_found_wherever_a_page_puts_them(html: str) -> None:
    """Every way of putting a video file on a page that needs no script is read."""
    links = links_of(html)

    assert (links.video_urls, links.image_urls) == (("https://example.com/a.x",), ())


def test_links_to_video_files_are_no_pages() -> None:
    """A link that ends like a video file is one; each URL is listed once, as one thing."""
    links = links_of('<a href="/a.MP4?x">v</a><video src="/a.MP4?x"></video><a href="/mp4">p</a>')

    assert links.video_urls == ("https://example.com/a.MP4?x",)
    assert links.page_urls == ("https://example.com/mp4",)


def test_sound_and_blobs_are_no_videos() -> None:
    """What is said to be sound alone, and what only a script could load, is left alone."""
    links = links_of(
        '<audio src="/a"><source src="/b"></audio><video src="blob:x"></video>'
        '<video><source src="/c" type="audio/mp4"></video>'
    )

    assert links.video_urls == ()


def test_videos_beyond_the_limit_are_counted() -> None:
    """A page with more videos than the limit has the first ones read, the rest counted."""
    links = links_of("".join(f"<video src=/{n}></video>" for n in range(7)), max_videos=5)

    assert len(links.video_urls) == 5
    assert links.dropped_videos == 2


def test_links_to_pages_and_to_image_files_are_told_apart() -> None:
    """A link that ends like an image file is an image; each URL is listed once."""
    links = links_of('<a href="b">b</a><a href="/b.JPG?x">i</a><a href="b#top">b</a>')

    assert links.page_urls == ("https://example.com/dir/b",)
    assert links.image_urls == ("https://example.com/b.JPG?x",)


def test_inline_images_are_kept_as_they_stand() -> None:
    """A ``data:`` image is listed whole, from src and from srcset."""
    data = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    links = links_of(f'<img src="{data}"><img srcset="{data} 1x, /a 2x">')

    assert links.image_urls == (data, "https://example.com/a")


def test_links_that_cannot_be_joined_are_counted() -> None:
    """A broken link costs one count, never the page; other schemes are no links at all."""
    links = links_of(
        '<a href="http://[::1">x</a><img src="http://h:99999999/"><a href="mailto:a@b">m</a>'
        '<a href="javascript:x()">j</a><img src="blob:x"><a href="#top">t</a><a href="ok">o</a>'
    )

    assert links.page_urls == ("https://example.com/dir/ok",)
    assert links.image_urls == ()
    assert links.broken == 2


def test_images_beyond_the_limit_are_counted() -> None:
    """A page with more images than the limit has the first ones read, the rest counted."""
    links = links_of("".join(f"<img src=/{n}>" for n in range(7)), max_images=5)

    assert len(links.image_urls) == 5
    assert links.dropped_images == 2


@pytest.mark.parametrize(
    ("srcset", "urls"),
    [
        ("a 1x, b 2x", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("a,b 2x", ["a,b"]),
        (" , a 100w 50h,, b (x, y) , c", ["a", "b", "c"]),
        ("data:image/png;base64,AA== 1x, b", ["data:image/png;base64,AA==", "b"]),
        ("a (((, b", ["a"]),
        (",,,", []),
    ],
)
def test_srcset_is_split_as_browsers_do(srcset: str, urls: list[str]) -> None:
    """Commas inside a URL or in parentheses do not split; invalid descriptors do not matter."""
    assert list(parse_srcset(srcset)) == urls


@given(st.text(max_size=200))
def test_any_text_is_read_without_failing(text: str) -> None:
    """No markup, however broken, raises; and all that is found can be fetched."""
    for html in (text, f'<img src="{text}" srcset="{text}"><a href="{text}">'):
        for url in links_of(html or " ").page_urls:
            assert url.startswith(("http://", "https://"))


def test_image_links_are_known_by_their_path() -> None:
    """The path decides, whatever the query says."""
    assert is_image_url("http://h/a.webp?size=1")
    assert not is_image_url("http://h/a?file=b.jpg")
    assert not is_image_url("http://[::1/a.jpg")
