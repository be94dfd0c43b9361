"""What is read off a page as codes: labels, words, what it is. No page can make it slow."""

import json
import time

import pytest
from parsel import Selector

from crawler.abuse_words import abuse_words, parse_abuse_words
from crawler.links import find_links
from crawler.page_reader import MAX_IMAGES, PageContext, PageReader
from indexer.model import PageMark

PAGE = "https://site.example/view/12"
IMAGE = "https://site.example/a.jpg"
IMG = "<img src=/a.jpg>"
ADULT, NEWS, NEWS_IMAGE, ARTICLE = (
    PageMark.ADULT,
    PageMark.NEWS,
    PageMark.NEWS_IMAGE,
    PageMark.ARTICLE,
)
WORDS, IMAGE_WORDS, DECORATION = PageMark.ABUSE_WORDS, PageMark.IMAGE_WORDS, PageMark.DECORATION


def context_of(html: str, *, url: str = PAGE, ratings: tuple[str, ...] = ()) -> PageContext:
    selector = Selector(text=html, type="html")
    reader = PageReader(url, ratings=ratings)
    find_links(selector, url, on_image=reader.see)
    return reader.finish(selector.root)


def marks(html: str, **page: object) -> set[PageMark]:
    return set(context_of(html, **page).of(IMAGE))  # type: ignore[arg-type]


def linked_data(**node: object) -> str:
    return f'<script type="application/ld+json">{json.dumps(node)}</script>{IMG}'


RTA = "RTA-5042-1996-1400-1577-RTA"
ICRA = '(pics-1.1 "http://www.icra.org/ratingsv02.html" l gen true r ({}))'


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f'<meta name="rating" content="{RTA}">{IMG}', {ADULT}),
        (f'<META NAME="Rating" CONTENT=" Mature ">{IMG}', {ADULT}),
        (f'<meta http-equiv="rating" content="adult">{IMG}', {ADULT}),
        (f'<meta name="rating" content="general">{IMG}', set()),
        (f"<meta http-equiv='pics-label' content='{ICRA.format('na 1 sb 1')}'>{IMG}", {ADULT}),
        (f"<meta http-equiv='pics-label' content='{ICRA.format('nz 1 sz 1')}'>{IMG}", set()),
        (f'<meta itemprop="isFamilyFriendly" content="false">{IMG}', {ADULT}),
        (linked_data(isFamilyFriendly=False), {ADULT}),
        (linked_data(isFamilyFriendly=True), set()),
        (f"<title>Revenge Porn | best</title>{IMG}", {WORDS}),
        (f"<h1>Her LEAKED private <b>nudes</b></h1>{IMG}", {WORDS}),
        (f"<title>iPhone 19 leaked</title>{IMG}", set()),
        (f"<title>Leaked: nothing. Nudity in art</title>{IMG}", set()),
        (f"<title>Fotos \u00edntimas FILTRADAS de su ex</title>{IMG}", {WORDS}),
        (f"<title>su foto intima filtrada</title>{IMG}", {WORDS}),
        (f"<title>Geleakte Nacktbilder</title>{IMG}", {WORDS}),
        (f"<title>Pornovendetta, revenge-\u200bporn</title>{IMG}", {WORDS}),
        (f"<title>友達リベンジポルノまとめ</title>{IMG}", {WORDS}),
        (f"<title>СЛИВ ИНТИМА</title>{IMG}", {WORDS}),
        (f"<title>TÜRK İFŞA</title>{IMG}", {WORDS}),
        ("<img src=/a.jpg alt='my ex gf nude'>", {IMAGE_WORDS}),
        ("<a href=/big title='leaked sextape'><img src=/a.jpg></a>", {IMAGE_WORDS}),
        ("<a href=/a.jpg>upskirt 12</a>", {IMAGE_WORDS}),
        (f"<figure>{IMG}<figcaption>hidden cam, nude</figcaption></figure>", {IMAGE_WORDS}),
        ("<img src=/b.jpg alt='leaked nudes'><img src=/a.jpg alt=cat>", set()),
        (linked_data(**{"@type": "NewsArticle"}), {NEWS}),
        (linked_data(**{"@type": ["NewsArticle"], "image": {"url": IMAGE}}), {NEWS, NEWS_IMAGE}),
        (linked_data(**{"@graph": [{"@type": "ReportageNewsArticle"}]}), {NEWS}),
        (linked_data(**{"@graph": [{"@type": "NewsArticle"}, {"@type": "NewsArticle"}]}), set()),
        (f"<div itemscope itemtype='https://schema.org/NewsArticle'>{IMG}</div>", {NEWS}),
        (
            "<p itemscope itemtype='http://schema.org/NewsArticle'><img itemprop=image src=/a.jpg>",
            {NEWS, NEWS_IMAGE},
        ),
        (
            f"<meta property=og:image content=/a.jpg>{linked_data(**{'@type': 'NewsArticle'})}",
            {NEWS, NEWS_IMAGE},
        ),
        (f'<meta property="og:type" content="article">{IMG}', {ARTICLE}),
        ("<meta property=og:image content=/a.jpg><meta name=og:type content=article>", {ARTICLE}),
        ("<img src=/a.jpg class='site-logo big'>", {DECORATION}),
        ("<img src=/a.jpg width=32 height=32px>", {DECORATION}),
        ("<img src=/a.jpg width=32 height=32><img src=/a.jpg>", set()),
        (linked_data(publisher={"logo": {"url": IMAGE}}), set()),
        (f"<p>Nothing of note</p>{IMG}", set()),
    ],
)
def test_what_a_page_says(html: str, expected: set[PageMark]) -> None:
    """Each way of saying it is read; what only resembles one is not."""
    assert marks(html) == expected


def test_a_servers_label_and_the_pages_address_count() -> None:
    """The header ``Rating``, and words in the path, unescaped."""
    assert marks(IMG, ratings=(RTA,)) == {ADULT}
    assert marks("<img src=//site.example/a.jpg>", url="https://x.example/leaked%20nudes/1") == {
        WORDS
    }


def test_no_word_is_kept() -> None:
    """What is handed on holds codes and the addresses that were there anyway."""
    found = context_of("<title>Leaked nudes of Ann</title><img src=/a.jpg alt='Ann nude leak'>")

    assert "Ann" not in repr(found)
    assert "site.example" not in repr(found)
    assert found == PageContext(page=frozenset({WORDS}), images={IMAGE: frozenset({IMAGE_WORDS})})


@pytest.mark.parametrize(
    "html",
    [
        f'<script type="application/ld+json">{"[" * 100_000}</script>',
        '<script type="application/ld+json">{"@type": {}, "image": [[1]], "publisher": 3}</script>',
        '<script type="application/ld+json">"text"</script>',
        '<script type="application/ld+json">{"@type": "NewsArticle", "image": "http://["}</script>',
        '<meta name="rating"><meta content="adult"><div itemtype></div>',
        '<script type="application/ld+json">{"@type": "NewsArticle", "image": "\\ud83d"}</script>',
        "<title></title><figure><!-- x --><img src=/a.jpg></figure>",
        "",
    ],
)
def test_broken_marks_are_no_marks(html: str) -> None:
    """Nothing that a page writes raises."""
    assert marks(html) - {NEWS} == set()


@pytest.mark.parametrize(
    "html",
    [
        f"<title>{'leaked ' * 300_000}</title>",
        f"<img src=/a.jpg alt='{'x' * 2_000_000}'>",
        f"<a href=/x>{'<b></b>' * 30_000}{'<img src=/a.jpg>' * 3_000}</a>",
        f"<figure>{'<b></b>' * 30_000}{'<img src=/a.jpg>' * 3_000}</figure>",
        "".join(f"<img src=/{n}.jpg alt='{'leak nud ' * 40}'>" for n in range(6_000)),
        f"{'<meta name=rating content=x>' * 30_000}",
        f"{'<i itemtype=http://schema.org/NewsArticle></i>' * 20_000}",
    ],
    ids=["title", "alt", "link", "figure", "images", "metas", "types"],
)
def test_a_hostile_page_takes_no_time(html: str) -> None:
    """Beside parsing and finding its links, reading a page takes a fraction of a second."""
    selector = Selector(text=html, type="html")
    started = time.process_time()
    find_links(selector, PAGE)
    without = time.process_time() - started
    reader = PageReader(PAGE)
    find_links(selector, PAGE, on_image=reader.see)
    found = reader.finish(selector.root)

    assert time.process_time() - started - 2 * without < 1.0
    assert len(found.images) <= MAX_IMAGES


def test_the_lists_are_whole() -> None:
    """Every language has its three lists, and its own phrases are found by them."""
    words = abuse_words()

    assert words.version >= 1
    assert len(words.languages) >= 15
    with pytest.raises(ValueError, match="a key is missing"):
        parse_abuse_words("version = 1\n[languages.en]\nboundaries = true\n")
