"""Reading a page that has come, from the web or out of an archive: its links and its marks."""

from parsel import Selector
from scrapy.http import HtmlResponse, Response

from crawler.links import PageLinks, find_links
from crawler.page_reader import PageContext, PageReader
from crawler.settings import CrawlSettings

_MOST_RATINGS = 8


def read_page(
    page: HtmlResponse, page_url: str, limits: CrawlSettings
) -> tuple[PageLinks, PageContext]:
    """Read what a page refers to, and what it says of itself and of its images.

    Args:
        page: the answer.
        page_url: its canonical URL.
        limits: how many links and images count.
    """
    # Not page.selector: Scrapy fails on a <base> that it cannot read.
    selector = Selector(text=page.text, type="html")
    reader = PageReader(page_url, ratings=_ratings(page))
    links = find_links(
        selector,
        page_url,
        max_links=limits.max_links_per_page,
        max_images=limits.max_images_per_page,
        max_videos=limits.max_videos_per_page,
        on_image=reader.see,
    )
    return links, reader.finish(selector.root)


def _ratings(response: Response) -> tuple[str, ...]:
    """Return the values of the header by which a server labels a page as for adults."""
    return tuple(
        value.decode("latin-1") for value in response.headers.getlist(b"Rating")[:_MOST_RATINGS]
    )
